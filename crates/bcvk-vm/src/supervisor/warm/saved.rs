//! The files of a snapshot, written and read.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::stand_in::stand_in;
use crate::bounded;
use crate::snapshot::{KERNEL, MEMORY, Meta, STATE, SnapshotError, copy, sum};
use crate::spec::CONTAINER_SNAPSHOT;
use crate::supervisor::qemu::monitor::Monitor;

/// More than any kernel has.
const MAX_KERNEL_BYTES: u64 = 1 << 30;

/// A VM that will be saved once it is ready.
#[derive(Debug)]
pub(in crate::supervisor) struct Unsaved {
    memory: File,
    bytes: u64,
    named: bool,
}

impl Unsaved {
    /// Keeps what saving takes: the guest's `memory`, a file of this many `bytes`, and what QEMU has
    /// for a kernel.
    pub(in crate::supervisor) fn new(
        memory: &OwnedFd,
        bytes: u64,
        kernel: &[u8],
        named: bool,
    ) -> io::Result<Self> {
        fs::write(Path::new(CONTAINER_SNAPSHOT).join(KERNEL), stand_in(kernel))?;
        Ok(Self {
            memory: memory.try_clone()?.into(),
            bytes,
            named,
        })
    }

    /// Stops the guest, saves it, and lets it go on, whatever has come of it.
    pub(in crate::supervisor) fn save(&self, monitor: &Monitor) -> io::Result<()> {
        let saved = monitor.save().and_then(|()| self.write());
        monitor.go_on()?;
        saved?.write(Path::new(CONTAINER_SNAPSHOT))
    }

    fn write(&self) -> io::Result<Meta> {
        let dir = Path::new(CONTAINER_SNAPSHOT);
        let memory = new_file(&dir.join(MEMORY))?;
        let memory = copy(&self.memory, &memory, self.bytes)?;
        let state = File::open(dir.join(STATE))?;
        let state = sum(&state, state.metadata()?.len())?;
        Meta::new(memory, state, self.named)
    }
}

/// Whether an earlier start of this container has made the snapshot.
pub(in crate::supervisor) fn is_made() -> bool {
    Meta::read(Path::new(CONTAINER_SNAPSHOT)).is_ok()
}

/// The file into which QEMU writes the state of its machine.
pub(in crate::supervisor) fn new_state() -> io::Result<OwnedFd> {
    new_file(&Path::new(CONTAINER_SNAPSHOT).join(STATE)).map(Into::into)
}

fn new_file(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// A VM that was saved.
#[derive(Debug)]
pub(in crate::supervisor) struct Saved {
    meta: Meta,
    kernel: File,
    /// The state of its machine.
    pub(in crate::supervisor) state: OwnedFd,
    memory: File,
}

impl Saved {
    /// Opens the snapshot that the container has.
    pub(in crate::supervisor) fn open() -> Result<Self, SnapshotError> {
        let dir = Path::new(CONTAINER_SNAPSHOT);
        let meta = Meta::read(dir)?;
        let open = |name| File::open(dir.join(name)).map_err(|e| SnapshotError::File(name, e));
        let state = open(STATE)?;
        let found = sum(&state, meta.state.length).map_err(|e| SnapshotError::File(STATE, e))?;
        if found != meta.state {
            return Err(SnapshotError::Damaged(STATE));
        }
        Ok(Self {
            meta,
            kernel: open(KERNEL)?,
            // Not the one that was read: QEMU begins where that stands.
            state: open(STATE)?.into(),
            memory: open(MEMORY)?,
        })
    }

    /// What QEMU has for a kernel.
    pub(in crate::supervisor) fn kernel(&self) -> io::Result<Vec<u8>> {
        let content = bounded::read(&self.kernel, MAX_KERNEL_BYTES)?;
        content.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Whether the guest is named after its VM.
    pub(in crate::supervisor) fn named(&self) -> bool {
        self.meta.named
    }

    /// Fills `memory`, an empty file, with a copy of the guest's.
    pub(in crate::supervisor) fn copy_memory(&self, memory: &File) -> Result<(), SnapshotError> {
        let copied = copy(&self.memory, memory, self.meta.memory.length)
            .map_err(|e| SnapshotError::File(MEMORY, e))?;
        if copied == self.meta.memory {
            Ok(())
        } else {
            Err(SnapshotError::Damaged(MEMORY))
        }
    }
}
