//! The files of a snapshot, written and read.

use std::fs::{self, File};
use std::io::{self, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::bounded;
use bcvk_contract::lock::Lock;
use bcvk_contract::snapshot::{
    KERNEL, MAX_TRACE, MEMORY, Outcome, STATE, SnapshotError, TRACE, copy, copy_roughly, sum, tell,
    update,
};
use bcvk_contract::spec::{SavedFile, SavedFiles, SnapshotStage};

use crate::boot::pvh::stand_in;
use crate::qemu::monitor::Monitor;
use crate::threads;
use crate::trace::Trace;

/// Limit for the time in which a file server looks for what its guest has seen: some 10,000 names and
/// a hundred megabytes, on a busy host.
const TRACED: Duration = Duration::from_secs(60);

/// Pause between two looks whether it has. A lock's end is polled, because waiting for a lock has no
/// time-out (flock(2)).
const PAUSE: Duration = Duration::from_millis(20);

/// More than any kernel has.
const MAX_KERNEL_BYTES: u64 = 1 << 30;

/// A VM that will be saved at one stage of its boot.
#[derive(Debug)]
pub(crate) struct Unsaved {
    stage: SnapshotStage,
    memory: File,
    bytes: u64,
    /// Set by the one that lets the guest go on: once it does, its memory is no snapshot any more.
    over: AtomicBool,
}

impl Unsaved {
    /// Keeps what saving takes: the guest's `memory`, a file of this many `bytes`, and the kernel that
    /// QEMU has.
    pub(crate) fn new(
        stage: SnapshotStage,
        memory: &OwnedFd,
        bytes: u64,
        kernel: &[u8],
    ) -> io::Result<Self> {
        fs::write(staged(stage, KERNEL), stand_in(kernel))?;
        Ok(Self {
            stage,
            memory: memory.try_clone()?.into(),
            bytes,
            over: AtomicBool::new(false),
        })
    }

    /// Returns the stage at which the VM is saved.
    pub(crate) fn stage(&self) -> SnapshotStage {
        self.stage
    }

    /// Stops the guest, saves it, and lets it go on, whatever has come of it. The host makes a snapshot
    /// of the files then. Most of the memory is copied before: while the guest stands still, it is only
    /// compared.
    pub(crate) fn save(&self, monitor: &Monitor) -> io::Result<()> {
        let memory = File::options()
            .read(true)
            .write(true)
            .truncate(true)
            .open(staged(self.stage, MEMORY))?;
        copy_roughly(&self.memory, &memory, self.bytes)?;
        let begun = Instant::now();
        let saved = monitor.save(self.stage);
        let saved = saved.and_then(|()| update(&self.memory, &memory, self.bytes));
        if !self.claim() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        monitor.go_on()?;
        tracing::info!(took = ?begun.elapsed(), "the guest stood still");
        saved?;
        let stage = self.stage;
        threads::spawn(move || {
            await_trace(stage);
            if let Err(error) = tell(Path::new(stage.staging()), Outcome::Saved) {
                tracing::warn!(%error, "nobody hears that the VM was saved");
            }
        });
        Ok(())
    }

    /// Returns true for the first who asks: it has to let the guest go on.
    pub(crate) fn claim(&self) -> bool {
        !self.over.swap(true, Ordering::SeqCst)
    }
}

/// Opens the files into which QEMU writes the state of its machine at these stages.
pub(crate) fn new_states(stages: Vec<SnapshotStage>) -> io::Result<Vec<(SnapshotStage, OwnedFd)>> {
    let files = stages.into_iter();
    files.map(|stage| Ok((stage, new_state(stage)?))).collect()
}

fn new_state(stage: SnapshotStage) -> io::Result<OwnedFd> {
    // QEMU looks for a descriptor of just this kind among those that it has been given.
    let file = File::options()
        .write(true)
        .truncate(true)
        .open(staged(stage, STATE))?;
    Ok(file.into())
}

/// Path of a file that the host has made for this VM to be saved to at this stage.
fn staged(stage: SnapshotStage, name: &str) -> PathBuf {
    Path::new(stage.staging()).join(name)
}

/// Waits until the file server has written all that the guest has looked at. Without that, the
/// snapshot serves the VM's own image only.
fn await_trace(stage: SnapshotStage) {
    let until = Instant::now() + TRACED;
    let at_work = || File::open(staged(stage, TRACE)).and_then(Lock::is_exclusive);
    while Instant::now() < until && at_work().unwrap_or(false) {
        thread::sleep(PAUSE);
    }
}

/// Reads the trace of the snapshot in `dir`, which has to consist of `files`.
pub(crate) fn read_trace(dir: &Path, files: &SavedFiles) -> io::Result<Trace> {
    let file = checked(dir, TRACE, &files.trace).map_err(io::Error::other)?;
    let text = bounded::read(file, MAX_TRACE)?;
    Trace::parse(&text.unwrap_or_default())
}

/// A VM that was saved.
#[derive(Debug)]
pub(crate) struct Saved {
    files: SavedFiles,
    kernel: File,
    /// The state of its machine.
    pub(crate) state: OwnedFd,
    memory: File,
}

impl Saved {
    /// Opens the snapshot in `dir`, which has to consist of `files`.
    pub(crate) fn open(dir: &Path, files: &SavedFiles) -> Result<Self, SnapshotError> {
        Ok(Self {
            files: *files,
            kernel: checked(dir, KERNEL, &files.kernel)?,
            state: checked(dir, STATE, &files.state)?.into(),
            memory: open(dir, MEMORY)?,
        })
    }

    /// The kernel that QEMU had.
    pub(crate) fn kernel(&self) -> io::Result<Vec<u8>> {
        let content = bounded::read(&self.kernel, MAX_KERNEL_BYTES)?;
        content.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Fills `memory`, an empty file, with a copy of the guest's.
    pub(crate) fn copy_memory(&self, memory: &File) -> Result<(), SnapshotError> {
        let expected = &self.files.memory;
        expect(
            expected,
            MEMORY,
            copy(&self.memory, memory, expected.length),
        )
    }
}

fn open(dir: &Path, name: &'static str) -> Result<File, SnapshotError> {
    File::open(dir.join(name)).map_err(|e| SnapshotError::File(name, e))
}

/// Opens a file that QEMU reads, at its beginning, and which has the right content.
fn checked(dir: &Path, name: &'static str, expected: &SavedFile) -> Result<File, SnapshotError> {
    let mut file = open(dir, name)?;
    expect(expected, name, sum(&file, expected.length))?;
    file.rewind().map_err(|e| SnapshotError::File(name, e))?;
    Ok(file)
}

fn expect(
    expected: &SavedFile,
    name: &'static str,
    found: io::Result<SavedFile>,
) -> Result<(), SnapshotError> {
    let found = found.map_err(|e| SnapshotError::File(name, e))?;
    if found == *expected {
        Ok(())
    } else {
        Err(SnapshotError::Damaged(name))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use bcvk_contract::snapshot::example;

    use super::*;

    /// Opens a snapshot, of which the file `changed` has another byte, as a resume does.
    fn open_with(changed: Option<&str>) -> Result<(), SnapshotError> {
        let dir = tempfile::tempdir().expect("a directory");
        let files = example(dir.path()).files;
        let sealed = dir.path().join("sealed");
        if let Some(name) = changed {
            let file = File::options().write(true).open(sealed.join(name));
            file.and_then(|file| file.write_all_at(b"x", 2))
                .expect("written");
        }
        let saved = Saved::open(&sealed, &files)?;
        assert_eq!(saved.kernel().expect("read"), b"kernel");
        assert_eq!(
            io::read_to_string(File::from(saved.state.try_clone().expect("a clone")))
                .expect("read"),
            "state"
        );
        let memory = tempfile::tempfile().expect("a file");
        saved.copy_memory(&memory)?;
        assert_eq!(io::read_to_string(memory).expect("read"), "memory");
        Ok(())
    }

    #[test]
    fn a_byte_of_a_snapshot_that_has_changed_is_seen_before_the_guest_runs() {
        open_with(None).expect("whole");
        for name in [MEMORY, STATE, KERNEL] {
            let error = open_with(Some(name)).expect_err(name);
            assert!(
                matches!(error, SnapshotError::Damaged(damaged) if damaged == name),
                "{name}: {error}"
            );
        }
    }
}
