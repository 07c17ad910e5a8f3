//! Reasons of the image's sshd for letting nobody in, as its journal has them.

use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};

use bcvk_contract::control::Message;

use crate::port::tell;

/// Programs of OpenSSH's server, by their names in the kernel: since 9.8 each connection has its own.
const PROGRAMS: [&str; 3] = ["_COMM=sshd", "_COMM=sshd-session", "_COMM=sshd-auth"];

/// Beginnings of what sshd says of users whom it does not refuse, or beside the reason.
const USUAL: [&str; 16] = [
    "Accepted ",
    "Close session",
    "Connection ",
    "Disconnected ",
    "Disconnecting ",
    "Exiting on signal",
    "Postponed ",
    "Received ",
    "Session ",
    "Starting session",
    "Timeout before authentication",
    "User child",
    "banner exchange",
    "error: kex_exchange_identification",
    "kex_exchange_identification",
    "pam_unix(sshd:session)",
];

/// Tells the host of each reason for as long as the system runs.
///
/// # Errors
/// If the journal cannot be read.
pub fn report_refusals() -> io::Result<()> {
    let mut journal = Command::new("journalctl")
        .args(["--boot", "--follow", "--no-tail", "--output=cat", "--quiet"])
        .args([PROGRAMS[0], "+", PROGRAMS[1], "+", PROGRAMS[2]])
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = journal.stdout.take().map(BufReader::new);
    for line in lines.into_iter().flat_map(BufReader::lines) {
        if let Some(reason) = reason(&line?) {
            tell(&Message::Refused(reason));
        }
    }
    journal.wait().map(drop)
}

/// Returns the reason in a line of sshd's: without the client's port, so that each is told once.
fn reason(line: &str) -> Option<String> {
    let line = line.trim();
    // Where it listens is a reason if nobody looks for it there.
    let listens = line.starts_with("Server listening");
    let expected = listens && line.ends_with(" port 22.");
    if line.is_empty() || expected || USUAL.iter().any(|usual| line.starts_with(usual)) {
        return None;
    }
    if listens {
        return Some(line.to_owned());
    }
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let port = words.iter().position(|word| *word == "port");
    if let Some(port) = port
        && words
            .get(port + 1)
            .is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
    {
        words.drain(port..port + 2);
    }
    Some(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reasons_are_told() {
        for (line, told) in [
            ("Server listening on 0.0.0.0 port 22.", None),
            (
                "Server listening on :: port 2222.",
                Some("Server listening on :: port 2222."),
            ),
            (
                "Accepted publickey for root from 10.0.2.2 port 5 ssh2: ED25519 SHA256:x",
                None,
            ),
            (
                "Connection closed by authenticating user root 10.0.2.2 port 5 [preauth]",
                None,
            ),
            (
                "pam_unix(sshd:session): session opened for user root(uid=0) by root(uid=0)",
                None,
            ),
            (
                "ROOT LOGIN REFUSED FROM 10.0.2.2 port 38924 [preauth]",
                Some("ROOT LOGIN REFUSED FROM 10.0.2.2 [preauth]"),
            ),
            (
                "User root from 10.0.2.2 not allowed because not listed in AllowUsers",
                Some("User root from 10.0.2.2 not allowed because not listed in AllowUsers"),
            ),
            (
                "pam_unix(sshd:account): account root has expired (account expired)",
                Some("pam_unix(sshd:account): account root has expired (account expired)"),
            ),
            ("", None),
        ] {
            assert_eq!(reason(line).as_deref(), told, "{line}");
        }
    }
}
