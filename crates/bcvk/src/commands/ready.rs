//! Waiting until a VM is ready, with the user watching.

use std::time::Duration;

use bcvk_contract::spec::Timeout;
use bcvk_contract::status::{Phase, Status};
use bcvk_host::{BootKind, BootTimes, Target, VmDir, WatchError, Watcher};

use super::base_directory;
use crate::error::{CommandError, RequestError};
use crate::ui::{Progress, Ui};

/// Waits until the VM in `dir` is ready, telling `told` how far it has come, and remembers how long that
/// took. When this returns, the terminal is free again.
pub(super) fn await_ready(
    dir: &VmDir,
    watcher: &mut Watcher,
    timeout: Duration,
    mut progress: Progress,
    told: &mut dyn FnMut(&Status),
    ui: &Ui,
) -> Result<Status, WatchError> {
    let cache = base_directory("XDG_CACHE_HOME", ".cache");
    let mut times = BootTimes::read(cache.as_deref());
    // If the spec cannot be read, there is no earlier boot to compare with, which does not matter
    // to the VM.
    let spec = dir.read_spec().ok();
    let kind = |status: &Status| spec.as_ref().map(|spec| BootKind::of(spec, status));
    progress.listen_to(dir);
    let mut seen_booting = false;
    let ready = watcher.wait(Target::Phase(Phase::Ready), Some(timeout), &mut |status| {
        seen_booting |= status.phase < Phase::Ready;
        let last = kind(status).and_then(|kind| times.last(&kind).cloned());
        progress.show(status, last.as_ref());
        ui.follow(status);
        told(status);
    });
    progress.finish();
    // A VM that was ready before this command came is not the last one that booted.
    if let Ok(status) = &ready
        && seen_booting
        && let Some(kind) = kind(status)
    {
        times.remember(kind, status);
    }
    ready
}

/// Adds the VM's name to the error, for a user who has not started it with this command.
pub(super) fn not_ready(error: WatchError, name: &str, timeout: Timeout) -> CommandError {
    match error {
        WatchError::ReadyTimeout {
            phase,
            starting,
            console_tail,
            ..
        } => RequestError::Timeout {
            name: name.to_owned(),
            state: "was not ready".to_owned(),
            phase: Some(phase),
            timeout,
            starting,
            console_tail,
        }
        .into(),
        other => other.into(),
    }
}
