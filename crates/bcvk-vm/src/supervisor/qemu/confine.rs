//! What QEMU may do: as little as running a guest takes.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::thread::CapabilitySet;

use crate::supervisor::rights::keep_only;

/// Gives up every capability, for this process and all that it could execute, and becomes
/// `program`. QEMU's files come as descriptors or belong to the user it runs as.
///
/// Returns only on failure.
#[must_use]
pub fn exec_confined(program: &Path, args: &[OsString]) -> io::Error {
    match keep_only(CapabilitySet::empty()) {
        Ok(()) => Command::new(program).args(args).exec(),
        Err(e) => e,
    }
}
