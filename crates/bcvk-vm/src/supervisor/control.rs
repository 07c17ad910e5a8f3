//! The control port: what bcvk's units in the guest tell the supervisor.
//!
//! One message a line, `WORD` or `WORD REST`. The guest is not trusted: lines are bounded, unknown
//! words are ignored, and nothing said here can do more than describe or end this VM.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::thread;

use super::Event;
use crate::status::printable;

/// Name of the virtio-serial port, under `/dev/virtio-ports/` in the guest.
pub(crate) const PORT: &str = "org.bcvk.control";

/// Longest line that is read; longer ones end the conversation.
const MAX_LINE_BYTES: u64 = 4096;

/// What the guest can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// The initramfs has prepared the root.
    Initrd,
    /// The image's systemd runs.
    Userspace,
    /// The system is up: all that starts with it has started.
    Up,
    /// A unit has failed; the rest of the line names it and says why.
    Failed(String),
    /// All failed units have been said.
    Reported,
}

impl Message {
    fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "initrd" => Some(Self::Initrd),
            "userspace" => Some(Self::Userspace),
            "up" => Some(Self::Up),
            "failed" => Some(Self::Failed(printable(rest))),
            "reported" => Some(Self::Reported),
            _ => None,
        }
    }
}

/// Reads messages until QEMU closes the port or the guest breaks the rules.
pub(super) fn follow(port: UnixStream, events: Sender<Event>) {
    thread::spawn(move || {
        let mut port = BufReader::new(port);
        while let Ok(Some(line)) = read_line(&mut port) {
            if let Some(message) = Message::parse(line.trim_end())
                && events.send(Event::Control(message)).is_err()
            {
                return;
            }
        }
        // Keep draining: a guest that writes into a full port would block.
        let _ = io::copy(&mut port, &mut io::sink());
    });
}

fn read_line(port: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    port.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        Ok(Some(String::from_utf8_lossy(&line).into_owned()))
    } else {
        Ok(None)
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
        assert_eq!(Message::parse("rm -rf /"), None);
        assert_eq!(Message::parse(""), None);
    }

    #[test]
    fn a_line_without_end_is_not_read_to_its_end() {
        let mut endless = BufReader::new(io::repeat(b'x'));
        assert_eq!(read_line(&mut endless).expect("read"), None);
    }
}
