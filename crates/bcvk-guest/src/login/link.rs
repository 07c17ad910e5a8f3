//! The link between the supervisor and the guest that carries all sessions.
//!
//! It is a virtio-serial port, whose two ends come and go by themselves: a guest that soft-reboots
//! starts its program anew, and a guest that is resumed has another supervisor. Neither end is told,
//! and what was on its way stays in the port. So before anything else, the ends agree on where their
//! conversation begins. After that the link is multiplexed (yamux), and each session is a stream.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, Mode};

/// Beginning of the lines with which the ends agree.
const WORD: &str = "bcvk-sessions";

/// Time after which the supervisor calls again, at first and at most; it doubles with each call. The
/// guest answers at once, but for the call that ends an earlier conversation of its own.
const AGAIN: Duration = Duration::from_millis(50);
const AGAIN_AT_MOST: Duration = Duration::from_secs(2);

/// Bytes of a frame of the multiplexer that a guest may still wait for when its supervisor has broken
/// off: as much as yamux puts into one, and a header.
const REST_OF_A_FRAME: usize = 16 * 1024 + 12;

/// Longest line that counts.
const MAX_LINE: usize = 64;

/// Most sessions at once. Each may have 256 KiB that its reader has not taken yet (yamux's window), and
/// no more: the other side is not trusted.
const MAX_SESSIONS: usize = 256;
const WINDOW: usize = 256 * 1024;

/// A link whose ends have agreed.
pub type Link<S> = Connection<Compat<BufReader<S>>>;

/// A line of the agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// The supervisor asks whether anybody is there. The number is that of this conversation.
    Call(u64),
    /// The same, of a guest that is to be saved.
    Still(u64),
    /// The guest is, and has dropped all that was before.
    Here(u64),
    /// The supervisor has heard it; the conversation begins with the next byte.
    Go(u64),
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (word, verb, number) = (words.next()?, words.next()?, words.next()?);
        let number = u64::from_str_radix(number, 16).ok()?;
        match (word, verb, words.next()) {
            (WORD, "call", None) => Some(Self::Call(number)),
            (WORD, "still", None) => Some(Self::Still(number)),
            (WORD, "here", None) => Some(Self::Here(number)),
            (WORD, "go", None) => Some(Self::Go(number)),
            _ => None,
        }
    }

    /// Returns the line, after the end of whatever was on its way before.
    fn text(self) -> String {
        let (verb, number) = match self {
            Self::Call(number) => ("call", number),
            Self::Still(number) => ("still", number),
            Self::Here(number) => ("here", number),
            Self::Go(number) => ("go", number),
        };
        format!("\n{WORD} {verb} {number:x}\n")
    }
}

/// A port from which lines are read until the agreement is complete.
struct Lines<S> {
    port: BufReader<S>,
    line: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lines<S> {
    fn new(port: S) -> Self {
        Self {
            port: BufReader::with_capacity(64 * 1024, port),
            line: Vec::new(),
        }
    }

    /// Reads until the next line of the agreement. What is between such lines is dropped. Nothing is
    /// lost if the caller stops waiting.
    async fn next(&mut self) -> io::Result<Line> {
        loop {
            let buffer = self.port.fill_buf().await?;
            if buffer.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let text = &buffer[..end.unwrap_or(buffer.len())];
            let room = MAX_LINE.saturating_sub(self.line.len()) + 1;
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.port.consume(used);
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                if let Some(line) = std::str::from_utf8(&line).ok().and_then(Line::parse) {
                    return Ok(line);
                }
            }
        }
    }

    async fn say(&mut self, line: Line) -> io::Result<()> {
        self.port.write_all(line.text().as_bytes()).await?;
        self.port.flush().await
    }

    fn multiplexed(self, mode: Mode) -> Link<S> {
        let mut config = Config::default();
        config.set_max_num_streams(MAX_SESSIONS);
        config.set_max_connection_receive_window(Some(MAX_SESSIONS * WINDOW));
        Connection::new(self.port.compat(), config, mode)
    }
}

/// A guest that has answered a call, and waits for the conversation to begin: it does nothing else
/// meanwhile, and answers another call as well.
pub struct Answered<S> {
    lines: Lines<S>,
    number: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Answered<S> {
    /// Begins the conversation.
    ///
    /// # Errors
    /// If the port is closed.
    pub async fn go(mut self) -> io::Result<Link<S>> {
        self.lines.say(Line::Go(self.number)).await?;
        Ok(self.lines.multiplexed(Mode::Client))
    }
}

/// Calls the guest behind `port` until it answers. The conversation has a number near this random one:
/// each call has its own, so that no answer to an earlier call is still on its way.
///
/// # Errors
/// If the port is closed.
pub async fn call<S: AsyncRead + AsyncWrite + Unpin>(
    port: S,
    number: u64,
) -> io::Result<Answered<S>> {
    call_with(port, number, Line::Call).await
}

/// Calls a guest that is to be saved before another call.
///
/// # Errors
/// If the port is closed.
pub async fn call_still<S: AsyncRead + AsyncWrite + Unpin>(port: S, number: u64) -> io::Result<()> {
    call_with(port, number, Line::Still).await.map(drop)
}

async fn call_with<S: AsyncRead + AsyncWrite + Unpin>(
    port: S,
    mut number: u64,
    call: fn(u64) -> Line,
) -> io::Result<Answered<S>> {
    let mut lines = Lines::new(port);
    let mut again = AGAIN;
    loop {
        lines.say(call(number)).await?;
        let here = async {
            while lines.next().await? != Line::Here(number) {}
            io::Result::Ok(())
        };
        if let Ok(heard) = timeout(again, here).await {
            heard?;
            return Ok(Answered { lines, number });
        }
        number = number.wrapping_add(1);
        again = AGAIN_AT_MOST.min(again * 2);
    }
}

/// Ends a conversation whose link has been dropped, for a guest that waits for the rest of a frame.
///
/// # Errors
/// If the port is closed.
pub async fn break_off<S: AsyncWrite + Unpin>(mut port: S) -> io::Result<()> {
    port.write_all(&vec![b'\n'; REST_OF_A_FRAME]).await
}

/// Agrees with the supervisor behind `port`, whenever it calls. `still` is called before it hears that
/// the guest may be saved.
///
/// # Errors
/// If nobody has opened the other end.
pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    port: S,
    mut still: impl FnMut(),
) -> io::Result<Link<S>> {
    let mut lines = Lines::new(port);
    let mut called = None;
    loop {
        match lines.next().await? {
            Line::Call(number) => {
                lines.say(Line::Here(number)).await?;
                called = Some(number);
            }
            Line::Still(number) => {
                still();
                lines.say(Line::Here(number)).await?;
            }
            Line::Go(number) if called == Some(number) => {
                return Ok(lines.multiplexed(Mode::Server));
            }
            Line::Here(_) | Line::Go(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, duplex};
    use tokio_util::compat::FuturesAsyncReadCompatExt;

    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        for line in [
            Line::Call(0),
            Line::Still(7),
            Line::Here(u64::MAX),
            Line::Go(0xab),
        ] {
            assert_eq!(Line::parse(line.text().trim()), Some(line));
        }
        for other in [
            "",
            "bcvk-sessions go",
            "bcvk-sessions go x",
            "x go 1",
            "bcvk-sessions go 1 2",
        ] {
            assert_eq!(Line::parse(other), None, "{other}");
        }
    }

    /// A session through a link, on which both ends still find what others have left.
    #[tokio::test]
    async fn a_conversation_begins_where_both_ends_know_it() {
        let (host, guest) = duplex(1000);
        let (mut host, mut guest) = (host, guest);
        let old = [
            vec![0; 300],
            vec![b'x'; 200],
            Line::Go(7).text().into_bytes(),
        ]
        .concat();
        host.write_all(&old).await.expect("room");
        host.write_all(Line::Call(6).text().as_bytes())
            .await
            .expect("room");
        guest.write_all(&old[..400]).await.expect("room");
        let guest = tokio::spawn(async move {
            let mut link = answer(guest, || {}).await.expect("agreed");
            let session = poll_fn(|cx| link.poll_next_inbound(cx)).await;
            let mut session = session.expect("open").expect("a session").compat();
            let echo = async {
                let mut said = [0; 5];
                session.read_exact(&mut said).await.expect("read");
                session.write_all(&said).await.expect("written");
                session.shutdown().await.expect("closed");
            };
            tokio::select! {
                () = echo => {}
                _ = poll_fn(|cx| link.poll_next_inbound(cx)) => panic!("no second one"),
            }
            let _ = poll_fn(|cx| link.poll_next_inbound(cx)).await;
        });
        let answered = call(host, 8).await.expect("answered");
        let mut link = answered.go().await.expect("agreed");
        let session = poll_fn(|cx| link.poll_new_outbound(cx)).await;
        let mut session = session.expect("a session").compat();
        let talk = async {
            session.write_all(b"hello").await.expect("written");
            let mut heard = String::new();
            session.read_to_string(&mut heard).await.expect("read");
            heard
        };
        let heard = tokio::select! {
            heard = talk => heard,
            _ = poll_fn(|cx| link.poll_next_inbound(cx)) => panic!("the guest opens none"),
        };
        assert_eq!(heard, "hello");
        drop(link);
        guest.await.expect("no panic");
    }

    /// The host has broken off within a frame, so that its calls are the rest of it.
    #[tokio::test]
    async fn a_guest_that_waits_for_the_rest_of_a_frame_hears_the_next_call() {
        let (mut host, guest) = duplex(1 << 16);
        let guest = tokio::spawn(async move {
            let mut guest = guest;
            let mut conversations = 0;
            while conversations < 2 {
                let mut link = answer(&mut guest, || {}).await.expect("agreed");
                conversations += 1;
                while let Some(Ok(_)) = poll_fn(|cx| link.poll_next_inbound(cx)).await {}
            }
        });
        let answered = call(&mut host, 1).await.expect("answered");
        drop(answered.go().await.expect("agreed"));
        // The header of 16 KiB of data for stream 1, which begins with them (yamux's specification).
        let header = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0x40, 0];
        host.write_all(&header).await.expect("written");
        break_off(&mut host).await.expect("written");
        let answered = timeout(Duration::from_secs(20), call(&mut host, 7)).await;
        let answered = answered.expect("in time").expect("answered");
        drop(answered.go().await.expect("agreed"));
        drop(host);
        guest.await.expect("no panic");
    }

    #[tokio::test]
    async fn an_end_that_nobody_has_opened_is_an_error() {
        let (host, guest) = duplex(100);
        drop(host);
        let error = answer(guest, || {}).await.map(drop).expect_err("an error");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_line_without_an_end_takes_no_memory() {
        let (host, guest) = duplex(1 << 16);
        let writer = tokio::spawn(async move {
            let mut host = host;
            for _ in 0..100 {
                host.write_all(&[b'x'; 10_000]).await.expect("taken");
            }
        });
        let mut lines = Lines::new(guest);
        assert!(lines.next().await.is_err());
        assert!(lines.line.capacity() <= 256);
        writer.await.expect("no panic");
    }
}
