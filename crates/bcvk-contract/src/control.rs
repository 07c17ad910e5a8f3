//! Messages of the guest on the control port. Each is a line, `WORD` or `WORD REST`.

use std::fmt;

use crate::listening::Listening;
use crate::status::printable;

/// Message of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The initramfs is about to mount the image, and waits for the host to let it.
    Unmounted,
    /// The initramfs has prepared the root.
    Initrd,
    /// The image's systemd runs.
    Userspace,
    /// Sessions are possible; repeated when the program that takes them starts again.
    Sessions,
    /// A host that was deployed from the image would answer a login.
    Answers,
    /// The system is up: all that starts with it has started.
    Up,
    /// The commands to execute have ended, with this exit code.
    Executed(u8),
    /// A unit has failed; the rest of the line names it and says why.
    Failed(String),
    /// All failed units have been reported.
    Reported,
    /// The image's sshd has refused somebody; the rest of the line says why.
    Refused(String),
    /// Something listens on these ports of the guest, and on no others.
    Listening(Listening),
    /// The guest cannot get as far as its system; the rest of the line says why.
    GaveUp(String),
}

impl Message {
    /// Parses a line without its end; `None` if its word is unknown. Texts are safe to print.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "unmounted" => Some(Self::Unmounted),
            "initrd" => Some(Self::Initrd),
            "userspace" => Some(Self::Userspace),
            "sessions" => Some(Self::Sessions),
            "answers" => Some(Self::Answers),
            "up" => Some(Self::Up),
            "executed" => rest.parse().ok().map(Self::Executed),
            "failed" => Some(Self::Failed(printable(rest))),
            "reported" => Some(Self::Reported),
            "refused" => Some(Self::Refused(printable(rest))),
            "listening" => Listening::parse(rest).map(Self::Listening),
            "gave-up" => Some(Self::GaveUp(printable(rest))),
            _ => None,
        }
    }
}

/// The line without its end.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmounted => f.write_str("unmounted"),
            Self::Initrd => f.write_str("initrd"),
            Self::Userspace => f.write_str("userspace"),
            Self::Sessions => f.write_str("sessions"),
            Self::Answers => f.write_str("answers"),
            Self::Up => f.write_str("up"),
            Self::Executed(code) => write!(f, "executed {code}"),
            Self::Failed(unit) => write!(f, "failed {unit}"),
            Self::Reported => f.write_str("reported"),
            Self::Refused(why) => write!(f, "refused {why}"),
            Self::Listening(ports) => write!(f, "listening {ports}"),
            Self::GaveUp(why) => write!(f, "gave-up {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        for message in [
            Message::Unmounted,
            Message::Initrd,
            Message::Userspace,
            Message::Sessions,
            Message::Answers,
            Message::Up,
            Message::Executed(7),
            Message::Failed("web.service: no such file".to_owned()),
            Message::Reported,
            Message::Refused("not listed in AllowUsers".to_owned()),
            Message::Listening(Listening::parse("tcp/80").expect("ports")),
            Message::Listening(Listening::default()),
            Message::GaveUp("no image".to_owned()),
        ] {
            assert_eq!(Message::parse(&message.to_string()), Some(message));
        }
    }
}
