//! The directory of a user's snapshots on this host.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bcvk_contract::missing::if_exists;
use rustix::process::geteuid;
use sha2::{Digest, Sha256};

/// Names of the directories below the user's cache directory.
const DIRS: [&str; 2] = ["bcvk", "snapshots"];

/// Bits of a mode that let other users write.
const OTHERS: u32 = 0o002;
const GROUP_OR_OTHERS: u32 = 0o022;

/// Number of bytes of a digest that name a host.
const HOST_BYTES: usize = 8;

/// Makes the directory under `cache`, such as `~/.cache`. Only its owner may enter it, because it has
/// a guest's memory. Nothing is made in a directory of another user: `sudo -E` leaves such a
/// directory in the environment.
///
/// # Errors
/// If the directory cannot be made, or others could change what is in it.
pub(super) fn open(cache: &Path) -> io::Result<PathBuf> {
    check_owner(existing_part(cache), |uid| uid == 0 || is_own(uid))?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(cache)?;
    let mut path = cache.to_owned();
    for (dir, writers) in DIRS.into_iter().zip([OTHERS, GROUP_OR_OTHERS]) {
        path.push(dir);
        make_own(&path, writers)?;
    }
    path.push(host()?);
    make_own(&path, GROUP_OR_OTHERS)?;
    Ok(path)
}

/// Returns the same directory, whether it exists or not. Nothing is made.
pub(super) fn existing(cache: &Path) -> PathBuf {
    let mut path = cache.join(DIRS[0]).join(DIRS[1]);
    // If the host has no name, no snapshots of it can exist.
    path.push(host().unwrap_or_default());
    path
}

/// Returns true if `path` is a directory of this user's that others cannot change.
pub(super) fn is_own_dir(path: &Path) -> io::Result<bool> {
    let found = if_exists(fs::symlink_metadata(path))?;
    Ok(found.is_some_and(|found| {
        found.is_dir() && is_own(found.uid()) && found.mode() & GROUP_OR_OTHERS == 0
    }))
}

/// Returns the time at which this host booted, to a second.
pub(super) fn booted_at() -> io::Result<SystemTime> {
    let text = fs::read_to_string("/proc/stat")?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "));
    let seconds = seconds.and_then(|text| text.trim().parse().ok());
    let seconds = seconds.ok_or_else(|| io::Error::other("/proc/stat has no btime"))?;
    Ok(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn make_own(path: &Path, writers: u32) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() {
        return Err(unusable(path, "is not a directory"));
    }
    check_owner(path, is_own)?;
    if found.mode() & writers != 0 {
        return Err(unusable(path, "can be written to by other users"));
    }
    Ok(())
}

fn check_owner(path: &Path, allowed: impl FnOnce(u32) -> bool) -> io::Result<()> {
    if allowed(fs::metadata(path)?.uid()) {
        Ok(())
    } else {
        Err(unusable(path, "belongs to another user"))
    }
}

fn unusable(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{} {why}", path.display()))
}

fn is_own(uid: u32) -> bool {
    uid == geteuid().as_raw()
}

fn existing_part(path: &Path) -> &Path {
    let mut parts = path.ancestors();
    parts.find(|part| part.exists()).unwrap_or(Path::new("/"))
}

/// Returns a name for this host among those that share a home. It is a digest, because the machine ID
/// must not be disclosed (machine-id(5)).
fn host() -> io::Result<String> {
    let id = if_exists(fs::read("/etc/machine-id"))?.unwrap_or_default();
    let digest = Sha256::new_with_prefix("bcvk snapshots ")
        .chain_update(id.trim_ascii())
        .finalize();
    let hex = digest[..HOST_BYTES].iter();
    Ok(hex.map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("set");
    }

    #[test]
    fn a_directory_is_made_for_its_owner() {
        let cache = tempfile::tempdir().expect("a directory");
        let path = open(&cache.path().join("new/cache")).expect("made");
        assert_eq!(path, existing(&cache.path().join("new/cache")));
        for dir in path.ancestors().take(5) {
            assert_eq!(fs::metadata(dir).expect("there").mode() & 0o777, 0o700);
        }
        assert!(is_own_dir(&path).expect("looked at"));
    }

    #[test]
    fn what_others_could_change_is_refused() {
        type Change = fn(&Path);
        let cases: [(Change, &str); 4] = [
            (|cache| set_mode(&cache.join("bcvk"), 0o707), "other users"),
            (
                |cache| set_mode(&cache.join("bcvk/snapshots"), 0o770),
                "other users",
            ),
            (|cache| set_mode(&existing(cache), 0o720), "other users"),
            (
                |cache| {
                    fs::rename(cache.join("bcvk/snapshots"), cache.join("s")).expect("moved");
                    symlink("../s", cache.join("bcvk/snapshots")).expect("linked");
                },
                "is not a directory",
            ),
        ];
        for (change, why) in cases {
            let cache = tempfile::tempdir().expect("a directory");
            open(cache.path()).expect("made");
            change(cache.path());
            let error = open(cache.path()).expect_err("refused").to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn nothing_is_made_for_another_user() {
        // Only root can give a directory away.
        if !geteuid().is_root() {
            return;
        }
        for part in ["", "bcvk", "bcvk/snapshots"] {
            let cache = tempfile::tempdir().expect("a directory");
            fs::create_dir_all(cache.path().join(part)).expect("made");
            chown(cache.path().join(part), Some(65_534), None).expect("given away");
            let error = open(&cache.path().join("x/..")).expect_err("refused");
            let error = error.to_string();
            assert!(error.contains("belongs to another user"), "{error}");
            assert!(!is_own_dir(&cache.path().join(part)).expect("looked at"));
        }
    }
}
