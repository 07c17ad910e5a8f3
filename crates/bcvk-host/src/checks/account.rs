//! The calling user in passwd(5).

#![allow(clippy::disallowed_methods, reason = "opens a file of the system's")]

use std::fs;
use std::path::PathBuf;

/// Fields of a user's line.
const UID: usize = 2;
const HOME: usize = 5;

/// Returns the calling user's name, if the file has it.
pub(crate) fn name() -> Option<String> {
    own_field(0)
}

/// Returns the calling user's home, for a process without `HOME`, such as a service of systemd's.
#[must_use]
pub fn home() -> Option<PathBuf> {
    own_field(HOME).map(PathBuf::from)
}

fn own_field(index: usize) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let uid = rustix::process::geteuid().as_raw();
    field(&passwd, uid, index).map(str::to_owned)
}

fn field(passwd: &str, uid: u32, index: usize) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_theirs = fields.get(UID)?.parse() == Ok(uid);
        is_theirs.then(|| fields.get(index).copied())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_their_number() {
        let passwd = "broken\nroot:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(field(passwd, 1000, 0), Some("ann"));
        assert_eq!(field(passwd, 1000, HOME), Some("/home/ann"));
        assert_eq!(field(passwd, 0, HOME), Some("/root"));
        assert_eq!(field(passwd, 1001, 0), None);
    }
}
