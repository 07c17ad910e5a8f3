//! The journal, as it is sent to the host.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::port;

/// Directories that have journals, each in a directory of its machine (systemd-journald.service(8)).
const JOURNALS: [&str; 2] = ["/run/log/journal", "/var/log/journal"];

/// Sends the journal of this boot to the host through a port, from its first message on: this process
/// becomes journalctl. Returns only if that cannot be.
#[must_use]
pub fn send_journal(port: u8) -> io::Error {
    /// Pause between two looks for the journal, which is short against a boot.
    const PAUSE: Duration = Duration::from_millis(50);
    // journalctl does not notice that the first file of all comes into being.
    while !JOURNALS.iter().any(|dir| has_journal(dir)) {
        thread::sleep(PAUSE);
    }
    match port::open(port) {
        Ok(port) => Command::new("journalctl")
            .args(["--boot", "--follow", "--no-tail", "--output=json"])
            .args(["--no-pager", "--quiet"])
            .stdout(port)
            .exec(),
        Err(error) => error,
    }
}

fn has_journal(dir: &str) -> bool {
    let machines = fs::read_dir(dir).into_iter().flatten().flatten();
    machines
        .map(|machine| machine.path().join("system.journal"))
        .any(|journal| journal.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_a_machines() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().to_str().expect("text");
        assert!(!has_journal(&format!("{path}/missing")));
        let machine = dir.path().join("0123");
        fs::create_dir(&machine).expect("made");
        assert!(!has_journal(path));
        fs::write(machine.join("system.journal"), "").expect("written");
        assert!(has_journal(path));
    }
}
