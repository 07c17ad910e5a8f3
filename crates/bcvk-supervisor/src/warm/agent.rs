//! The host's end of the agent's port.

use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bcvk_contract::status::printable;
use bcvk_guest::agent::{DONE, FAILED, HELLO, HERE, Personal};

use crate::control::read_line;

/// The agent of one guest. It is not trusted: what it says ends the wait for it, and that is all.
#[derive(Debug)]
pub(crate) struct Agent {
    port: UnixStream,
}

impl Agent {
    pub(super) fn new(port: UnixStream) -> Self {
        Self { port }
    }

    /// Tells the agent what to do, and waits until it has done it. `what` is asked for once the agent
    /// listens, so that the time in it is that of now.
    pub(super) fn obeys(
        &self,
        patience: Duration,
        what: impl FnOnce() -> Personal,
    ) -> io::Result<()> {
        self.port.set_read_timeout(Some(patience))?;
        let mut answers = BufReader::new(&self.port);
        let mut answer = || {
            read_line(&mut answers)
                .map_err(|e| match e.kind() {
                    io::ErrorKind::WouldBlock => io::Error::other("its agent does not answer"),
                    _ => e,
                })?
                .ok_or_else(|| io::Error::other("its agent's port was closed"))
        };
        writeln!(&self.port, "{HELLO}")?;
        while answer()? != HERE {}
        let mut text = serde_json::to_vec(&what())?;
        text.push(b'\n');
        (&self.port).write_all(&text)?;
        loop {
            let said = answer()?;
            if said == DONE {
                return Ok(());
            }
            if let Some(what) = said.strip_prefix(FAILED) {
                return Err(io::Error::other(printable(what)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::thread;

    use super::*;
    use bcvk_contract::examples::example;

    fn with_guest(answers: &'static [&'static str]) -> io::Result<()> {
        let (ours, guests) = UnixStream::pair().expect("a pair");
        let guest = thread::spawn(move || {
            let mut lines = BufReader::new(&guests).lines();
            for answer in answers {
                let _ = lines.next();
                let _ = writeln!(&guests, "{answer}");
            }
        });
        let result = Agent::new(ours).obeys(Duration::from_millis(300), || {
            let identity = bcvk_guest::OpenIdentity::default();
            bcvk_guest::personal(&example(), &identity, None, &[0; 64], 1)
        });
        guest.join().expect("no panic");
        result
    }

    #[test]
    fn what_a_guest_answers_counts() {
        assert!(with_guest(&["here", "done"]).is_ok());
        assert!(with_guest(&["rubbish\nhere", "done"]).is_ok());
        let error = with_guest(&["here", "failed cannot \u{1b}[31mmount"]).expect_err("failed");
        assert_eq!(error.to_string(), "cannot mount");
        assert!(with_guest(&["here"]).is_err());
    }
}
