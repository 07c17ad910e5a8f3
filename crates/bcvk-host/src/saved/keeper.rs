//! The process that turns a VM's saved state into a snapshot.
//!
//! The keeper is a process of its own because the command that starts a VM may return before the
//! guest is up, or end before the copy does.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::status::Phase;
use rustix::process::setsid;

use super::entry::SnapshotEntry;
use crate::vm::dir::VmDir;

/// Pause between two looks at the VM. The VM reports by files that it replaces and that may vanish
/// with their directory, and a tenth of a second is nothing to a VM that boots.
const PAUSE: Duration = Duration::from_millis(100);

/// Limit for the time that a container takes to start its supervisor.
const STARTED: Duration = Duration::from_secs(60);

/// Limit for the time that a guest takes to become ready. Emulated guests on a busy host take
/// minutes.
const READY: Duration = Duration::from_secs(3600);

/// Starts the keeper of the snapshot `entry` of the VM in `dir`, by the bcvk at `exe`.
pub(crate) fn start(exe: &Path, entry: &SnapshotEntry, dir: &VmDir) -> io::Result<()> {
    let mut keeper = Command::new(exe)
        .args(["internal", "keep-snapshot"])
        .args([entry.path(), dir.path()])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    thread::spawn(move || {
        // Nobody needs the keeper's exit status. It is waited for so that this command leaves no
        // zombie while it runs.
        let _ = keeper.wait();
    });
    Ok(())
}

/// Waits until the VM in `dir` reports that it has been saved to the snapshot in `path`, and makes
/// the snapshot. If the VM does not report that, the snapshot's directory is removed when the VM has
/// ended, is ready or takes too long.
///
/// # Errors
/// If the snapshot cannot be made. Nothing of it is left then.
pub fn keep_snapshot(path: PathBuf, dir: &VmDir) -> io::Result<()> {
    // The terminal's signals are not meant for the keeper.
    setsid()?;
    let entry = SnapshotEntry { path };
    let held = entry.hold()?;
    let working = entry.lock_as_keeper()?;
    let staging = entry.staging()?;
    let made = if is_saved(|| staging.is_saved(), dir) {
        staging.seal().map(drop)
    } else {
        Ok(())
    };
    let emptied = staging.empty();
    drop((working, held));
    if entry.check().is_err() {
        entry.remove_if_unused()?;
    }
    made.and(emptied)
}

/// Waits until the VM reports that it has been saved; returns false once no such report can come.
fn is_saved(saved: impl Fn() -> bool, dir: &VmDir) -> bool {
    let begun = Instant::now();
    let mut has_lived = false;
    while begun.elapsed() < READY {
        // This is asked before `saved` is: a VM reports that it has been saved before it is ready,
        // and before it ends.
        let over = is_decided(dir) || {
            let lives = dir.shared().supervisor_lives();
            has_lived |= lives;
            !lives && (has_lived || begun.elapsed() > STARTED || !dir.path().exists())
        };
        if saved() {
            return true;
        }
        if over {
            return false;
        }
        thread::sleep(PAUSE);
    }
    false
}

/// Returns true if the VM has been saved or will not be.
fn is_decided(dir: &VmDir) -> bool {
    let status = dir.shared().status().ok().flatten();
    status.is_some_and(|status| {
        status.cold.is_some() || status.was_ready() || status.phase == Phase::Exited
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use bcvk_contract::status::StatusWriter;

    #[test]
    fn a_vm_that_is_gone_says_nothing_more() {
        let dir = tempfile::tempdir().expect("a directory");
        let gone = VmDir::at(dir.path().join("gone"));
        assert!(!is_saved(|| false, &gone));
        assert!(is_saved(|| true, &gone), "its last word counts");
    }

    #[test]
    fn a_vm_is_waited_for_until_it_is_ready() {
        let dir = tempfile::tempdir().expect("a directory");
        let vm = VmDir::at(dir.path());
        let shared = vm.shared().paths().dir().to_owned();
        std::fs::create_dir_all(&shared).expect("made");
        let mut status = StatusWriter::create(&shared).expect("made");
        let looks = Cell::new(0);
        let saved = || {
            looks.set(looks.get() + 1);
            looks.get() == 3
        };
        assert!(is_saved(saved, &vm));
        assert_eq!(looks.get(), 3);
        status.enter(Phase::Ready).expect("written");
        assert!(!is_saved(|| false, &vm));
    }
}
