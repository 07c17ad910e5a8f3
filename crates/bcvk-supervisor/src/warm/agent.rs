//! The host's end of the agent's port.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bcvk_contract::status::printable;
use bcvk_guest::agent::{DONE, FAILED, HELLO, HERE, KNOWN, Personal, Renewal};

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

    /// Returns another handle for the same agent.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            port: self.port.try_clone()?,
        })
    }

    /// Waits until somebody answers.
    pub(crate) fn is_there(&self, patience: Duration) -> io::Result<()> {
        self.port.set_read_timeout(Some(patience))?;
        greet(&mut BufReader::new(&self.port), &self.port)
    }

    /// Lets a guest go on that waits before it mounts its image.
    pub(crate) fn lets_go_on(&self, patience: Duration, with: &Renewal) -> io::Result<()> {
        self.is_there(patience)?;
        let mut text = serde_json::to_vec(with)?;
        text.push(b'\n');
        (&self.port).write_all(&text)
    }

    /// Tells the agent what to do, and waits until it has done it. `what` is asked for once the agent
    /// listens, so that the time in it is that of now. `known` is called once the guest has its names
    /// and keys.
    pub(super) fn obeys(
        &self,
        patience: Duration,
        what: impl FnOnce() -> Personal,
        known: impl FnOnce(),
    ) -> io::Result<()> {
        self.port.set_read_timeout(Some(patience))?;
        talk(BufReader::new(&self.port), &self.port, what, known)
    }
}

/// Waits until somebody listens.
fn greet(answers: &mut impl BufRead, mut port: impl Write) -> io::Result<()> {
    writeln!(port, "{HELLO}")?;
    while answer(answers)? != HERE {}
    Ok(())
}

fn answer(answers: &mut impl BufRead) -> io::Result<String> {
    read_line(answers)
        .map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => io::Error::other("its agent does not answer"),
            _ => e,
        })?
        .ok_or_else(|| io::Error::other("its agent's port was closed"))
}

fn talk(
    mut answers: impl BufRead,
    mut port: impl Write,
    what: impl FnOnce() -> Personal,
    known: impl FnOnce(),
) -> io::Result<()> {
    let mut known = Some(known);
    greet(&mut answers, &mut port)?;
    let mut text = serde_json::to_vec(&what())?;
    text.push(b'\n');
    port.write_all(&text)?;
    loop {
        let said = answer(&mut answers)?;
        if said == KNOWN
            && let Some(known) = known.take()
        {
            known();
        }
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

    use super::{BufReader, DONE, HELLO, HERE, KNOWN, Personal, talk};

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
        let (mut said, mut known) = (Vec::new(), 0);
        let result = talk(
            BufReader::with_capacity(7, data),
            &mut said,
            || personal.clone(),
            || known += 1,
        );
        let said = String::from_utf8(said).expect("text");
        let mut lines = said.lines();
        assert_eq!(lines.next(), Some(HELLO));
        // Nothing is told before somebody is there, and then all of it in one line.
        let told = lines.next().map(|line| serde_json::from_str(line).ok());
        assert_eq!(lines.next(), None);
        let answers = String::from_utf8_lossy(data);
        let answered = |word| answers.lines().any(|line| line == word);
        // However often it says so.
        assert!(known <= usize::from(answered(HERE) && answered(KNOWN)));
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

    /// Returns also whether the guest was known before the end.
    fn with_guest<const N: usize>(answers: [&'static str; N]) -> (io::Result<()>, bool) {
        let (ours, guests) = UnixStream::pair().expect("a pair");
        let guest = thread::spawn(move || {
            let mut lines = BufReader::new(&guests).lines();
            for answer in answers {
                let _ = lines.next();
                let _ = writeln!(&guests, "{answer}");
            }
        });
        let identity = bcvk_guest::OpenIdentity::default();
        let mut known = false;
        let result = Agent::new(ours).obeys(
            Duration::from_millis(300),
            || bcvk_guest::personal(&example(), &identity, None, &[0; 64], 1),
            || known = true,
        );
        guest.join().expect("no panic");
        (result, known)
    }

    #[test]
    fn a_guest_that_waits_is_told_to_go_on_once_it_answers() {
        let (ours, guests) = UnixStream::pair().expect("a pair");
        let agent = Agent::new(ours);
        let patience = Duration::from_millis(300);
        let go_on = Renewal::new(7, &[1; 64]);
        assert!(agent.lets_go_on(patience, &go_on).is_err());
        let guest = thread::spawn(move || {
            let mut lines = BufReader::new(&guests).lines();
            let mut next = || lines.next().expect("a line").expect("text");
            // The first is of the attempt that was not answered.
            let heard = (next(), next());
            writeln!(&guests, "{HERE}").expect("written");
            (heard, next())
        });
        agent.lets_go_on(patience, &go_on).expect("told");
        let (heard, last) = guest.join().expect("no panic");
        assert_eq!(heard, (HELLO.to_owned(), HELLO.to_owned()));
        let told: Renewal = serde_json::from_str(&last).expect("JSON");
        assert_eq!(told, go_on);
    }

    #[test]
    fn what_a_guest_answers_counts() {
        for (answers, known) in [
            (["here", "done"], false),
            (["rubbish\nhere", "done"], false),
            (["here", "known\nknown\ndone"], true),
            (["known\nhere", "done"], false),
        ] {
            let (result, was_known) = with_guest(answers);
            assert!(result.is_ok(), "{answers:?}");
            assert_eq!(was_known, known, "{answers:?}");
        }
        let (failed, known) = with_guest(["here", "known\nfailed cannot \u{1b}[31mmount"]);
        assert_eq!(failed.expect_err("failed").to_string(), "cannot mount");
        assert!(known);
        assert!(with_guest(["here"]).0.is_err());
    }
}
