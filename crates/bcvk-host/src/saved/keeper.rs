//! The process that turns a VM's saved state into a snapshot.
//!
//! The keeper is a process of its own because the command that starts a VM may return before the
//! guest is up, or end before the copy does.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::snapshot::Outcome;
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
    let made = if is_saved(|| staging.outcome(), dir) {
        staging.seal().map(drop)
    } else {
        Ok(())
    };
    let emptied = staging.empty();
    let replaced = match entry.check() {
        Ok(_) => replace_earlier(&entry),
        Err(_) => Ok(()),
    };
    drop((working, held));
    if entry.check().is_err() {
        entry.remove_if_unused()?;
    }
    made.and(emptied).and(replaced)
}

/// Waits until the VM reports that it has been saved; returns false once no such report can come.
fn is_saved(outcome: impl Fn() -> Option<Outcome>, dir: &VmDir) -> bool {
    let begun = Instant::now();
    let mut has_lived = false;
    while begun.elapsed() < READY {
        // This is asked before `outcome` is: a VM reports that it has been saved before it ends.
        let lives = dir.shared().supervisor_lives();
        has_lived |= lives;
        let over = !lives && (has_lived || begun.elapsed() > STARTED || !dir.path().exists());
        match outcome() {
            Some(outcome) => return outcome == Outcome::Saved,
            None if over => return false,
            None => {}
        }
        thread::sleep(PAUSE);
    }
    false
}

/// Removes the snapshots of earlier images of the same name, whose place `entry` takes.
fn replace_earlier(entry: &SnapshotEntry) -> io::Result<()> {
    for earlier in entry.earlier()? {
        earlier.remove_if_unused()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_vm_that_is_gone_says_nothing_more() {
        let dir = tempfile::tempdir().expect("a directory");
        let gone = VmDir::at(dir.path().join("gone"));
        assert!(!is_saved(|| None, &gone));
        assert!(!is_saved(|| Some(Outcome::Abandoned), &gone));
        assert!(
            is_saved(|| Some(Outcome::Saved), &gone),
            "its last word counts"
        );
    }

    #[test]
    fn a_vm_is_waited_for_until_it_says_what_has_become_of_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let vm = VmDir::at(dir.path());
        for outcome in [Outcome::Saved, Outcome::Abandoned] {
            let looks = Cell::new(0);
            let told = || {
                looks.set(looks.get() + 1);
                (looks.get() == 3).then_some(outcome)
            };
            assert_eq!(is_saved(told, &vm), outcome == Outcome::Saved);
            assert_eq!(looks.get(), 3);
        }
    }
}
