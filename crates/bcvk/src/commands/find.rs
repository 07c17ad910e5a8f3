//! Search for the VM that a name means. The VM's directory tells, so podman is asked only about a
//! VM that has ended.

use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::spec::VmSpec;
use bcvk_host::podman::Podman;
use bcvk_host::{Tool, VmDir, find_tool};

use super::{Context, vm_dirs};
use crate::error::{CommandError, RequestError};

/// Limit for a container that podman calls running to take its supervisor's lock, and the interval
/// between two looks. It takes milliseconds, and until then there is nothing to wait on.
const BEGIN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// A VM that has a directory.
pub(super) struct Found {
    pub(super) dir: VmDir,
    pub(super) spec: VmSpec,
    /// True if the VM's supervisor lives.
    pub(super) running: bool,
}

impl Found {
    /// Returns what ssh needs to reach the VM.
    pub(super) fn address(&self) -> (&VmDir, &str) {
        (&self.dir, self.spec.name.as_str())
    }
}

/// Finds the running VM with this name or container ID.
pub(super) fn running(name: &str) -> Result<Found, CommandError> {
    let found = look(name)?.ok_or_else(|| none(name))?;
    if found.running {
        Ok(found)
    } else {
        Err(RequestError::NotRunning {
            name: name.to_owned(),
        }
        .into())
    }
}

/// Finds the VM with this name or container ID, which may have ended and been kept.
pub(super) fn any(name: &str) -> Result<Found, CommandError> {
    let mut found = look(name)?;
    if found.as_ref().is_some_and(|vm| !vm.running) {
        // This also removes the directory of a VM whose container is gone.
        Context::open()?;
        found = look(name)?;
    }
    Ok(found.ok_or_else(|| none(name))?)
}

/// Returns true if a VM without a supervisor gets one: `podman start` returns before the supervisor
/// has begun.
pub(super) fn begins(dir: &VmDir) -> Result<bool, CommandError> {
    let podman = Podman::new(find_tool(Tool::Podman)?);
    let Some(id) = dir.container_id() else {
        return Ok(false);
    };
    let deadline = Instant::now() + BEGIN;
    while podman.find(&id)?.is_some_and(|c| c.is_running()) && Instant::now() < deadline {
        if dir.shared().supervisor_lives() {
            return Ok(true);
        }
        thread::sleep(LOOK);
    }
    Ok(dir.shared().supervisor_lives())
}

/// Looks for a VM by its directory. Names are unique among containers, but a directory may outlive
/// its container for a while.
fn look(name: &str) -> Result<Option<Found>, CommandError> {
    let mut ended = None;
    for dir in vm_dirs()?.list().map_err(CommandError::io("list VMs"))? {
        let Ok(spec) = dir.read_spec() else { continue };
        let is_id = name.len() >= 4 && dir.container_id().is_some_and(|id| id.starts_with(name));
        if spec.name.as_str() == name || is_id {
            let running = dir.shared().supervisor_lives();
            let found = Found { dir, spec, running };
            if running {
                return Ok(Some(found));
            }
            ended = Some(found);
        }
    }
    Ok(ended)
}

fn none(name: &str) -> RequestError {
    RequestError::NoSuchVm {
        name: name.to_owned(),
    }
}
