//! The ways into the supervisor: of a container, of a Pod, and for a shell in its place.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;

use bcvk_contract::bounded;
use bcvk_contract::exit;
use bcvk_contract::spec::{CONTAINER_SPEC, MAX_SPEC_BYTES, VmSpec};

use super::Supervisor;
use crate::container::Container;

/// Runs the VM of this container, whose part of the file system is below `root`; returns the exit
/// code. QEMU comes from a `runner`'s image, or from below `root` too.
#[must_use]
pub fn run(root: &Path, runner: bool) -> u8 {
    let entered = Container::enter(root, runner);
    live(entered.and_then(|container| Ok((container, read_spec(Path::new(CONTAINER_SPEC))?))))
}

/// Runs the VM `spec` in this container of a Pod; returns the exit code.
#[must_use]
pub fn run_in_pod(spec: VmSpec) -> u8 {
    live(Ok((Container::of_a_pod(), spec)))
}

fn live(begun: io::Result<(Container, VmSpec)>) -> u8 {
    match begun.and_then(|(container, spec)| Supervisor::start(container, spec)) {
        Ok(mut supervisor) => supervisor.live(),
        Err(error) => {
            // Without a status file there is nowhere else to say it.
            tracing::error!(%error, "the supervisor could not start");
            exit::HOST
        }
    }
}

fn read_spec(path: &Path) -> io::Result<VmSpec> {
    let text = bounded::read(File::open(path)?, MAX_SPEC_BYTES)?;
    Ok(serde_json::from_slice(&text.unwrap_or_default())?)
}

/// Gives the user a shell in place of the supervisor below `root`, with the programs of QEMU's root.
///
/// Returns only on failure.
#[must_use]
pub fn shell(root: &Path, runner: bool) -> io::Error {
    match Container::enter(root, runner).and_then(|_| Container::furnish()) {
        Ok(()) => std::process::Command::new("/usr/bin/bash").exec(),
        Err(error) => error,
    }
}
