//! The user that QEMU runs as.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

use rustix::thread::{CapabilitySet, capabilities};

/// First of the IDs that nothing else on a host uses: systemd hands out none of them (UIDS-GIDS.md of
/// systemd calls those above 0x70000000 unused).
const UNUSED: u32 = 0x7000_0000;

/// Number of those IDs that VMs choose from.
const CHOICE: u32 = 1 << 24;

/// A user and a group of the container that nothing else in it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QemuUser {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl QemuUser {
    /// Chooses a user for the VM whose directory in the container is `root`; `None` if the container
    /// has no other user, or this process may not become it.
    ///
    /// # Errors
    /// If procfs does not say which IDs there are.
    pub(super) fn choose(root: &Path) -> io::Result<Option<Self>> {
        let needed = CapabilitySet::SETUID
            | CapabilitySet::SETGID
            | CapabilitySet::CHOWN
            | CapabilitySet::KILL;
        if !capabilities(None)?.permitted.contains(needed) {
            return Ok(None);
        }
        let mut hasher = DefaultHasher::new();
        root.hash(&mut hasher);
        let number = hasher.finish();
        let of =
            |map: &str| -> io::Result<Option<u32>> { Ok(pick(&fs::read_to_string(map)?, number)) };
        let (uid, gid) = (of("/proc/self/uid_map")?, of("/proc/self/gid_map")?);
        Ok(uid.zip(gid).map(|(uid, gid)| Self { uid, gid }))
    }
}

/// Picks an ID that is mapped (user_namespaces(7): lines of first ID here, first ID outside, and how
/// many) and not root's.
fn pick(map: &str, number: u64) -> Option<u32> {
    let ranges = map.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u32>);
        let (first, _, count) = (fields.next()?.ok()?, fields.next()?, fields.next()?.ok()?);
        Some((first, first.saturating_add(count.saturating_sub(1))))
    });
    let (first, last) = ranges.max_by_key(|(_, last)| *last)?;
    let choice = |from: u32, count: u32| {
        let offset = number % u64::from(count.max(1));
        from + u32::try_from(offset).unwrap_or_default()
    };
    if last >= UNUSED + CHOICE && first <= UNUSED {
        return Some(choice(UNUSED, CHOICE));
    }
    // The choice is from the last quarter of the user's IDs: images hardly have files of these.
    let first = first.max(1);
    if last < first {
        return None;
    }
    let quarter = (last - first) / 4;
    Some(choice(last - quarter, quarter + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_mapped_and_not_root() {
        for number in [0, 1, 7, u64::MAX] {
            let whole = pick("         0          0 4294967295\n", number).expect("one");
            assert!((UNUSED..UNUSED + CHOICE).contains(&whole));
            let rootless = "0 1000 1\n1 100000 65536\n";
            let sub = pick(rootless, number).expect("one");
            assert!((49_153..=65_536).contains(&sub), "{sub}");
            assert_eq!(pick("0 1000 2\n", number), Some(1));
            // This user has no subordinate IDs.
            assert_eq!(pick("0 1000 1\n", number), None);
            assert_eq!(pick("", number), None);
        }
    }

    #[test]
    fn two_vms_have_different_users() {
        let map = "0 0 4294967295\n";
        assert_ne!(pick(map, 1), pick(map, 2));
    }
}
