//! Signals by their names in the protocol (RFC 4254, sections 6.9 and 6.10).

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;

use crate::login::server::wire::Message;

const SIGNALS: [(&str, Signal); 13] = [
    ("ABRT", Signal::ABORT),
    ("ALRM", Signal::ALARM),
    ("FPE", Signal::FPE),
    ("HUP", Signal::HUP),
    ("ILL", Signal::ILL),
    ("INT", Signal::INT),
    ("KILL", Signal::KILL),
    ("PIPE", Signal::PIPE),
    ("QUIT", Signal::QUIT),
    ("SEGV", Signal::SEGV),
    ("TERM", Signal::TERM),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
];

pub(super) fn named(name: &str) -> Option<Signal> {
    let found = SIGNALS.iter().find(|(known, _)| *known == name);
    found.map(|(_, signal)| *signal)
}

/// Completes a request to a channel with the way in which a process has ended.
pub(in super::super) fn exit_message(channel: Message, status: ExitStatus) -> Message {
    match (status.code(), status.signal()) {
        (Some(code), _) => channel
            .bytes("exit-status")
            .flag(false)
            .number(code.cast_unsigned()),
        (None, signal) => {
            let known = SIGNALS
                .iter()
                .find(|(_, known)| signal == Some(known.as_raw()));
            // Names of our own have this form; OpenSSH's server calls all others so too.
            let name = known.map_or("SIG@openssh.com", |(name, _)| name);
            channel
                .bytes("exit-signal")
                .flag(false)
                .bytes(name)
                .flag(status.core_dumped())
                .bytes("")
                .bytes("")
        }
    }
}
