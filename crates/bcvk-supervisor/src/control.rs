//! The control port, on which bcvk's units in the guest report to the supervisor.
//!
//! The guest is not trusted: lines are bounded, unknown words are ignored, and no message can do more than
//! describe or end this VM.

use std::io::{self, BufRead, BufReader};
use std::mem::{Discriminant, discriminant};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;

use bcvk_contract::control::Message;
use bcvk_contract::listening::Listening;

use crate::Event;
use crate::threads;

/// Longest line that is kept; the rest of a longer line is passed over.
pub(super) const MAX_LINE_BYTES: usize = 4096;

/// Most failed units that are reported.
pub(super) const MAX_FAILED: usize = 50;

/// Most reasons of the image's sshd that are passed on.
const MAX_REFUSED: usize = 50;

/// Most starts of the program that takes sessions.
const MAX_SESSIONS: usize = 1000;

/// Messages that have been passed on, and how often. A guest can repeat itself faster than the
/// supervisor handles messages, and the supervisor's queue has no bound; a repetition has no news either.
#[derive(Debug, Default)]
struct Heard(Vec<(Discriminant<Message>, usize)>);

impl Heard {
    fn is_news(&mut self, message: &Message) -> bool {
        let most = match message {
            Message::Failed(_) => MAX_FAILED,
            Message::Refused(_) => MAX_REFUSED,
            // A program that starts again has to be heard again.
            Message::Sessions => MAX_SESSIONS,
            _ => 1,
        };
        let word = discriminant(message);
        if let Some((_, times)) = self.0.iter_mut().find(|(known, _)| *known == word) {
            *times += 1;
            return *times <= most;
        }
        self.0.push((word, 1));
        true
    }
}

/// Reads messages until QEMU closes the port. On which ports the guest listens, `listening` is told.
pub(super) fn follow(
    port: UnixStream,
    listening: impl Fn(Listening) + Send + 'static,
    events: Sender<Event>,
) {
    threads::spawn(move || {
        let mut heard = Heard::default();
        let mut port = BufReader::new(port);
        while let Ok(Some(line)) = read_line(&mut port) {
            let news = match Message::parse(line.trim_end()) {
                Some(Message::Listening(ports)) => {
                    listening(ports);
                    continue;
                }
                message => message.filter(|message| heard.is_news(message)),
            };
            if let Some(message) = news
                && events.send(Event::Control(message)).is_err()
            {
                return;
            }
        }
    });
}

/// Returns the next line, without its end; `None` when there is no more.
pub(super) fn read_line(port: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        let buffer = port.fill_buf()?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let (text, used, ended) = match buffer.iter().position(|&byte| byte == b'\n') {
            Some(end) => (&buffer[..end], end + 1, true),
            None => (buffer, buffer.len(), false),
        };
        let room = MAX_LINE_BYTES - line.len();
        line.extend_from_slice(&text[..text.len().min(room)]);
        port.consume(used);
        if ended {
            return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_words_count_and_text_is_cleaned() {
        assert_eq!(Message::parse("initrd"), Some(Message::Initrd));
        assert_eq!(
            Message::parse("failed ssh.service: \u{1b}[31mbad\u{1b}[0m key"),
            Some(Message::Failed("ssh.service: bad key".into()))
        );
        assert_eq!(Message::parse("executed 7"), Some(Message::Executed(7)));
        assert_eq!(Message::parse("executed 256"), None);
        assert_eq!(Message::parse("rm -rf /"), None);
        assert_eq!(Message::parse(""), None);
    }

    #[test]
    fn a_guest_that_repeats_itself_does_not_fill_the_queue() {
        use std::io::Write;

        let (ours, mut guests) = UnixStream::pair().expect("a pair");
        let (sender, events) = std::sync::mpsc::channel();
        follow(ours, drop, sender);
        let storm = "failed x.service: no\nup\ninitrd\nreported\nexecuted 1\nuserspace\nsessions\n";
        guests
            .write_all(storm.repeat(10_000).as_bytes())
            .expect("write");
        drop(guests);
        // The events end when the port does.
        let heard = events.iter().count();
        assert_eq!(heard, MAX_FAILED + MAX_SESSIONS + 5);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let text = format!("{}\ninitrd\nunfinished", "x".repeat(3 * MAX_LINE_BYTES));
        let mut port = BufReader::new(text.as_bytes());
        let cut = read_line(&mut port).expect("read").expect("a line");
        assert_eq!(cut.len(), MAX_LINE_BYTES);
        let next = read_line(&mut port).expect("read").expect("a line");
        assert_eq!(next, "initrd");
        assert_eq!(read_line(&mut port).expect("read"), None);
    }
}
