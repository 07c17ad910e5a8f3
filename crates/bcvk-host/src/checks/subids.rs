//! Subordinate user and group IDs, without which rootless podman maps nobody but the user.

#![allow(clippy::disallowed_methods, reason = "opens files of the system's")]

use std::fs;

use crate::HostError;
use crate::checks::account;

/// Number of IDs that an image needs: those of its system users, and `nobody`'s 65534.
const NEEDED: u64 = 65_536;

const FILES: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

/// Makes sure that the calling user has enough of both kinds of IDs. Root needs none.
///
/// Only files are read. A user's IDs may come from a directory service instead (subid in
/// nsswitch.conf), which is not known here, so an error is only a suspicion where containers start
/// all the same.
///
/// # Errors
/// [`HostError::FewSubIds`].
pub fn check_sub_ids() -> Result<(), HostError> {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return Ok(());
    }
    let user = account::name().unwrap_or_default();
    for file in FILES {
        let text = fs::read_to_string(file).unwrap_or_default();
        if count(&text, &user, uid.as_raw()) < NEEDED {
            return Err(HostError::FewSubIds { user, file });
        }
    }
    Ok(())
}

/// Counts the IDs that a user has in subuid(5): lines NAME-OR-UID:FIRST:COUNT.
fn count(text: &str, user: &str, uid: u32) -> u64 {
    let of_line = |line: &str| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let is_theirs = (!user.is_empty() && owner == user) || owner.parse() == Ok(uid);
        let count: u64 = fields.nth(1)?.trim().parse().ok()?;
        is_theirs.then_some(count)
    };
    text.lines().filter_map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_counted_by_name_and_by_number() {
        let text = "bob:100000:65536\nann:165536:65536\n1000:300000:10\nnonsense\nann:x:y\n";
        assert_eq!(count(text, "ann", 1000), 65_546);
        assert_eq!(count(text, "", 1001), 0);
    }
}
