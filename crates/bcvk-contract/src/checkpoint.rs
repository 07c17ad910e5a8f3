//! Requests for checkpoints of a running VM: what the command line asks the supervisor for, and what
//! it answers.
//!
//! Each connection to the supervisor's socket carries one request and one answer, each a line of JSON.
//! The host does not trust the answer, because the container may have been taken over by its guest.

use std::io::{self, BufRead, BufReader, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::spec::VmName;

/// Longest line of either side.
const MAX_LINE: u64 = 4096;

/// Most checkpoints of one VM. Each takes up as much of the host's disk as its guest uses memory.
pub const MAX_CHECKPOINTS: usize = 64;

/// Wish of the VM's user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Save the VM as it is.
    Checkpoint {
        /// Name of the checkpoint; the supervisor chooses one if there is none.
        name: Option<VmName>,
        /// True if a checkpoint of that name may be replaced.
        replace: bool,
    },
    /// Take the VM back.
    Reset {
        /// Name of the checkpoint; the newest if there is none.
        name: Option<VmName>,
    },
    /// Remove a checkpoint.
    Remove {
        /// Name of the checkpoint.
        name: VmName,
    },
}

/// The supervisor's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// It has been done, with the checkpoint of this name.
    Done(VmName),
    /// It was not done; the VM goes on as before.
    Refused(Refusal),
}

/// Reason for which a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Refusal {
    /// The VM is not ready yet, or about to end.
    NotReady,
    /// The VM has no checkpoint of that name, or none at all.
    NoSuch,
    /// The VM has a checkpoint of that name.
    Exists,
    /// The VM has [`MAX_CHECKPOINTS`] already.
    TooMany,
    /// bcvk's own way in is closed: the program behind it prepares a guest.
    NoWayIn,
    /// The VM runs commands, which cannot be taken back.
    RunsCommands,
    /// A disk is the user's, whose content no checkpoint holds.
    UsersDisk(String),
    /// The guest sees the host's images, whose file server cannot be saved.
    HostImages,
    /// It was tried and did not work.
    Failed(String),
}

/// Sends a line.
///
/// # Errors
/// As write(2).
pub fn send<T: Serialize>(mut to: impl Write, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Receives a line; `None` if the other side has closed the connection before.
///
/// # Errors
/// As read(2); [`io::ErrorKind::InvalidData`] for what is no message.
pub fn receive<T: DeserializeOwned>(from: impl Read) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    BufReader::new(from.take(MAX_LINE)).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    Ok(serde_json::from_slice(&line)?)
}

/// Fuzzing of both sides. See [`crate::fuzzing`].
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    #![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

    use super::{Answer, Request, receive, send};

    /// Receives what a stranger says, on either side.
    pub fn checkpoint(data: &[u8]) {
        if let Ok(Some(request)) = receive::<Request>(data) {
            let mut line = Vec::new();
            send(&mut line, &request).expect("sent");
            assert_eq!(receive(&*line).ok(), Some(Some(request)));
        }
        if let Ok(Some(answer)) = receive::<Answer>(data) {
            let mut line = Vec::new();
            send(&mut line, &answer).expect("sent");
            assert_eq!(receive(&*line).ok(), Some(Some(answer)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> VmName {
        text.parse().expect("a name")
    }

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let (checkpoint, reset) = (
            Request::Checkpoint {
                name: Some(name("clean")),
                replace: true,
            },
            Request::Reset { name: None },
        );
        for request in [checkpoint, reset] {
            let mut line = Vec::new();
            send(&mut line, &request).expect("sent");
            assert_eq!(receive(&*line).expect("received"), Some(request));
        }
        for answer in [
            Answer::Done(name("clean")),
            Answer::Refused(Refusal::NoSuch),
            Answer::Refused(Refusal::Failed("why".to_owned())),
        ] {
            let mut line = Vec::new();
            send(&mut line, &answer).expect("sent");
            assert_eq!(receive(&*line).expect("received"), Some(answer));
        }
    }

    #[test]
    fn a_stranger_is_heard_for_one_line_and_believed_nothing_else() {
        assert_eq!(receive::<Answer>(&b""[..]).expect("the end"), None);
        for said in [
            &b"{}\n"[..],
            b"{\"done\":\"../x\"}\n",
            b"{\"done\":\"x\",\"more\":1}\n",
            b"\"done\"\n",
        ] {
            assert!(receive::<Answer>(said).is_err());
        }
        let endless = io::repeat(b' ');
        assert!(receive::<Answer>(endless).is_err());
    }
}
