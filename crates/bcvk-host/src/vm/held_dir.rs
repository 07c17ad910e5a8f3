//! Directories that live as long as somebody holds them.
//!
//! A holder has a shared lock (`flock(2)`) on the file `lock` in the directory, because the kernel
//! drops a lock however its holder ends.

#![allow(
    clippy::disallowed_methods,
    reason = "opens lock files in directories of this user's"
)]

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use bcvk_contract::lock::{Lock, lock_file};
use bcvk_contract::missing::if_exists;

/// Name of the file in a directory on which every process that needs the directory has a lock.
const HELD: &str = "lock";

/// Suffix of a directory that is about to be removed and has nothing but its lock's file any more.
const REMOVED: &str = ".removed";

/// Makes a directory in `parent` (mode 0700) and holds it. Its name is `prefix` and 16 random
/// hexadecimal digits.
pub(crate) fn create_held(parent: &Path, prefix: &str) -> io::Result<(PathBuf, Lock)> {
    loop {
        let mut random = [0_u8; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let path = parent.join(format!("{prefix}{:016x}", u64::from_be_bytes(random)));
        DirBuilder::new().mode(0o700).create(&path)?;
        // Another bcvk may sweep the directory before it is locked.
        if let Some(held) = if_exists(hold(&path))? {
            return Ok((path, held));
        }
    }
}

/// Keeps a directory from being removed. [`io::ErrorKind::NotFound`] means that it has been removed.
pub(crate) fn hold(dir: &Path) -> io::Result<Lock> {
    lock_at(&dir.join(HELD), lock_file, Lock::shared)
}

/// Takes a directory that nobody holds. A directory whose maker died before making the lock's file
/// counts as free.
pub(crate) fn try_take(dir: &Path) -> io::Result<Option<Lock>> {
    lock_at(&dir.join(HELD), lock_file, Lock::try_exclusive)
}

/// Opens the file at `path` and locks it, and again if the path has another file or none by then: the
/// previous holder of the lock may have removed the directory, and a lock on a file without a name
/// keeps nothing.
fn lock_at<T>(
    path: &Path,
    open: impl Fn(&Path) -> io::Result<File>,
    lock: impl Fn(File) -> io::Result<T>,
) -> io::Result<T> {
    loop {
        let file = open(path)?;
        let opened = file.metadata()?;
        let locked = lock(file)?;
        let named = if_exists(fs::symlink_metadata(path))?;
        if named.is_some_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino())) {
            return Ok(locked);
        }
    }
}

/// Number of tries to take a directory that is to be removed, and the pause between them: a sweep of
/// another process takes each directory for a moment, and may leave it to whoever made it.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(10);

/// Removes a directory unless a process holds it; returns true if the directory is gone. Several
/// processes may do so at once.
pub(crate) fn remove_unless_held(dir: &Path) -> io::Result<bool> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            thread::sleep(PAUSE);
        }
        let removed = match try_take(dir) {
            Ok(Some(_alone)) => remove_taken(dir).map(|()| true),
            Ok(None) => Ok(false),
            Err(e) => Err(e),
        };
        if if_exists(removed)?.unwrap_or(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes a directory that the caller has taken. The lock's file keeps its name until the directory
/// has lost its own, or somebody could make and hold another one in a directory that is half gone.
fn remove_taken(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() == HELD {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    let mut removed = dir.as_os_str().to_owned();
    removed.push(REMOVED);
    fs::rename(dir, &removed)?;
    fs::remove_dir_all(&removed)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// Time in which a thread that can go on has done so.
    const SOON: Duration = Duration::from_millis(200);

    fn made() -> (tempfile::TempDir, PathBuf) {
        let parent = tempfile::tempdir().expect("temporary directory");
        let (dir, _held) = create_held(parent.path(), "").expect("a directory");
        (parent, dir)
    }

    /// Returns the result of a `take` that waits while the directory's lock loses its name.
    fn overtaken<T: Send>(
        dir: &Path,
        by: fn(&Path),
        take: fn(&Path) -> io::Result<T>,
    ) -> io::Result<T> {
        let remover = try_take(dir).expect("a lock").expect("nobody has it");
        thread::scope(|scope| {
            let (sender, results) = channel();
            scope.spawn(move || sender.send(take(dir)));
            assert!(results.recv_timeout(SOON).is_err(), "the lock is taken");
            by(dir);
            drop(remover);
            results.recv().expect("it goes on")
        })
    }

    #[test]
    fn a_directory_that_was_removed_meanwhile_is_not_held() {
        let (_parent, dir) = made();
        let held = overtaken(&dir, |dir| fs::remove_dir_all(dir).expect("remove"), hold);
        let error = held.expect_err("nothing to hold");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_lock_whose_file_was_replaced_meanwhile_is_the_new_one() {
        let (_parent, dir) = made();
        let replace = |dir: &Path| fs::remove_file(dir.join(HELD)).expect("remove");
        let _held = overtaken(&dir, replace, hold).expect("held");
        assert!(try_take(&dir).expect("a lock").is_none());
        assert!(!remove_unless_held(&dir).expect("no error"));
        assert!(dir.exists());
    }

    #[test]
    fn a_sweep_that_looks_at_a_directory_does_not_keep_it() {
        let (_parent, dir) = made();
        let sweep = try_take(&dir).expect("a lock").expect("nobody has it");
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(PAUSE);
                drop(sweep);
            });
            assert!(remove_unless_held(&dir).expect("removed"));
        });
        assert!(!dir.exists());
    }

    #[test]
    fn what_is_held_has_lost_nothing() {
        for _ in 0..200 {
            let (_parent, dir) = made();
            let files: Vec<PathBuf> = (0..40).map(|n| dir.join(n.to_string())).collect();
            for file in &files {
                fs::write(file, "").expect("write");
            }
            thread::scope(|scope| {
                let remover = scope.spawn(|| remove_unless_held(&dir).expect("no error"));
                let held = if_exists(hold(&dir)).expect("no error");
                assert_eq!(held.is_some(), files.iter().all(|file| file.exists()));
                drop(held);
                remover.join().expect("no panic");
            });
        }
    }
}
