//! The guest's sshd, which has read a host key that is to be replaced.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use bcvk_contract::missing::if_exists;

use super::until;

/// Puts the private `key` in place of all host keys in `dir`. Those were made before the guest was
/// saved, and would be the same in all VMs.
pub(super) fn set_host_key(dir: &Path, key: &str) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("ssh_host_") {
            if_exists(fs::remove_file(entry.path()))?;
        }
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(dir.join("ssh_host_ed25519_key"))?
        .write_all(key.as_bytes())
}

/// Waits until somebody listens on the port. Not every service that has been restarted does.
pub(super) fn await_listening(port: u16, deadline: Instant) -> io::Result<()> {
    until(deadline, || {
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let text = if_exists(fs::read_to_string(table))?;
            if text.is_some_and(|text| has_listener(&text, port)) {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

/// Returns true if a line of the kernel's table has a socket that listens on the port (proc_net_tcp(5);
/// states are in Linux, include/net/tcp_states.h).
fn has_listener(table: &str, port: u16) -> bool {
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let local = words.next().unwrap_or_default();
        local.ends_with(&port) && words.nth(1) == Some(LISTEN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_seen() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue\n";
        for (line, listens) in [
            (
                "   0: 00000000:0016 00000000:0000 0A 00000000:00000000\n",
                true,
            ),
            (
                "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0\n",
                true,
            ),
            (
                "   0: 0F02000A:0016 0202000A:8AE2 01 00000000:00000000\n",
                false,
            ),
            (
                "   0: 00000000:0017 00000000:0016 0A 00000000:00000000\n",
                false,
            ),
            ("", false),
        ] {
            assert_eq!(
                has_listener(&format!("{head}{line}"), 22),
                listens,
                "{line}"
            );
        }
    }

    #[test]
    fn no_other_host_key_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in [
            "ssh_host_ed25519_key",
            "ssh_host_rsa_key",
            "ssh_host_rsa_key.pub",
            "sshd_config",
        ] {
            fs::write(dir.path().join(name), "old").expect("written");
        }
        set_host_key(dir.path(), "new").expect("set");
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .expect("read")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["ssh_host_ed25519_key", "sshd_config"]);
        let key = fs::read_to_string(dir.path().join("ssh_host_ed25519_key"));
        assert_eq!(key.expect("text"), "new");
    }
}
