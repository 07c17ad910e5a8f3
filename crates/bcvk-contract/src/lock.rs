//! Locks that a process has for as long as it lives: the kernel drops a `flock(2)` however its holder
//! ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A held lock; dropping it, or dying, releases it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes it together with others, once nobody has it alone.
    pub fn shared(file: File) -> io::Result<Self> {
        flock(&file, FlockOperation::LockShared)?;
        Ok(Self { _file: file })
    }

    /// Takes it alone, at once or not at all.
    pub fn exclusive(file: File) -> io::Result<Self> {
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { _file: file })
    }

    /// Takes it alone, once nobody has it.
    pub fn once_free(file: File) -> io::Result<Self> {
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Self { _file: file })
    }

    /// As [`Lock::exclusive`]; `None` when somebody holds it.
    pub fn try_exclusive(file: File) -> io::Result<Option<Self>> {
        Self::try_to(file, FlockOperation::NonBlockingLockExclusive)
    }

    /// Returns true if somebody has it alone. Any number of processes may ask at once: none of them
    /// looks like a holder to the others.
    pub fn is_exclusive(file: File) -> io::Result<bool> {
        Ok(Self::try_to(file, FlockOperation::NonBlockingLockShared)?.is_none())
    }

    fn try_to(file: File, operation: FlockOperation) -> io::Result<Option<Self>> {
        match flock(&file, operation) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// Opens the file of a lock, and makes it if it is missing.
pub fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}
