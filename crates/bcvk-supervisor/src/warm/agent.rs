//! The host's end of the agent's port.

use std::io::{self, BufRead, BufReader, Write};
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
        talk(BufReader::new(&self.port), &self.port, what)
    }
}

fn talk(
    mut answers: impl BufRead,
    mut port: impl Write,
    what: impl FnOnce() -> Personal,
) -> io::Result<()> {
    let mut answer = || {
        read_line(&mut answers)
            .map_err(|e| match e.kind() {
                io::ErrorKind::WouldBlock => io::Error::other("its agent does not answer"),
                _ => e,
            })?
            .ok_or_else(|| io::Error::other("its agent's port was closed"))
    };
    writeln!(port, "{HELLO}")?;
    while answer()? != HERE {}
    let mut text = serde_json::to_vec(&what())?;
    text.push(b'\n');
    port.write_all(&text)?;
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

/// Fuzzing of a guest's answers. See [`crate::fuzzing`].
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    #![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

    use bcvk_contract::status::steers;

    use super::{BufReader, DONE, HELLO, HERE, Personal, talk};

    /// Tells a guest what it is, whatever it answers.
    pub fn agent(data: &[u8]) {
        let personal = Personal {
            clock: 1,
            entropy: String::new(),
            hostname: Some("vm".to_owned()),
            machine_id: None,
            host_key: None,
            files: Vec::new(),
            aged: vec!["usr/bin".into()],
            environment: "A=\"\n\"\n".to_owned(),
            manager_environment: Vec::new(),
            units: Vec::new(),
            kept: Vec::new(),
            wanted: Vec::new(),
            mounts: Vec::new(),
            disks: Vec::new(),
            start: None,
        };
        let mut said = Vec::new();
        let result = talk(BufReader::with_capacity(7, data), &mut said, || {
            personal.clone()
        });
        let said = String::from_utf8(said).expect("text");
        let mut lines = said.lines();
        assert_eq!(lines.next(), Some(HELLO));
        // Nothing is told before somebody is there, and then all of it in one line.
        let told = lines.next().map(|line| serde_json::from_str(line).ok());
        assert_eq!(lines.next(), None);
        let answers = String::from_utf8_lossy(data);
        let answered = |word| answers.lines().any(|line| line == word);
        match told {
            Some(told) => assert!(answered(HERE) && told == Some(personal)),
            None => assert!(result.is_err()),
        }
        match result {
            Ok(()) => assert!(answered(HERE) && answered(DONE)),
            Err(error) => assert!(!error.to_string().contains(steers), "{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
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
