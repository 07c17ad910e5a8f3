//! Directories that live as long as somebody holds them.
//!
//! A holder has a shared lock (`flock(2)`) on the file `lock` in the directory, because the kernel
//! drops a lock however its holder ends.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::missing::if_exists;

/// Whoever needs a directory holds this file in it.
const HELD: &str = "lock";

/// A held lock; dropping it, or dying, releases it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes it together with others, once nobody has it alone.
    pub(crate) fn shared(file: File) -> io::Result<Self> {
        flock(&file, FlockOperation::LockShared)?;
        Ok(Self { _file: file })
    }

    /// Takes it alone, at once or not at all.
    pub(crate) fn exclusive(file: File) -> io::Result<Self> {
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { _file: file })
    }

    /// Takes it alone, once nobody has it.
    pub(crate) fn once_free(file: File) -> io::Result<Self> {
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Self { _file: file })
    }

    /// As [`Lock::exclusive`]; `None` when somebody holds it.
    pub(super) fn try_exclusive(file: File) -> io::Result<Option<Self>> {
        match Self::exclusive(file) {
            Err(e) if e.raw_os_error() == Some(Errno::WOULDBLOCK.raw_os_error()) => Ok(None),
            result => result.map(Some),
        }
    }
}

/// Opens the file of a lock, and makes it if it is missing.
pub(crate) fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Makes a directory in `parent` (mode 0700) and holds it. Its name is `prefix` and 16 random
/// hexadecimal digits.
pub(super) fn create_held(parent: &Path, prefix: &str) -> io::Result<(PathBuf, Lock)> {
    loop {
        let mut random = [0_u8; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let path = parent.join(format!("{prefix}{:016x}", u64::from_be_bytes(random)));
        DirBuilder::new().mode(0o700).create(&path)?;
        // Another bcvk may sweep it before it is locked.
        if let Some(held) = if_exists(hold(&path))? {
            return Ok((path, held));
        }
    }
}

/// Keeps a directory from being removed.
pub(super) fn hold(dir: &Path) -> io::Result<Lock> {
    Lock::shared(lock_file(&dir.join(HELD))?)
}

/// Keeps a directory, in which nothing can be written, from being removed.
pub(crate) fn hold_read_only(dir: &Path) -> io::Result<Lock> {
    Lock::shared(File::open(dir.join(HELD))?)
}

/// Takes a directory that nobody holds. One whose maker died before making the lock's file counts
/// as free.
pub(super) fn try_take(dir: &Path) -> io::Result<Option<Lock>> {
    Lock::try_exclusive(lock_file(&dir.join(HELD))?)
}

/// Removes a directory unless a process holds it; says whether it is gone.
///
/// Several processes may do so at once. One that comes when another has removed the lock's file
/// makes a new one, and the other then finds the directory not empty: somebody will succeed.
pub(super) fn remove_unless_held(dir: &Path) -> io::Result<bool> {
    loop {
        let removed = match try_take(dir) {
            Ok(Some(_lock)) => fs::remove_dir_all(dir).map(|()| true),
            Ok(None) => Ok(false),
            Err(e) => Err(e),
        };
        match removed {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            other => return other,
        }
    }
}
