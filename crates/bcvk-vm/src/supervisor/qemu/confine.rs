//! What QEMU may do: as little as running a guest takes.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// Gives up every capability, for this process and all that it could execute, and becomes
/// `program`. QEMU's files come as descriptors or belong to the user it runs as.
///
/// Returns only on failure.
#[must_use]
pub fn exec_confined(program: &Path, args: &[OsString]) -> io::Error {
    match confine() {
        Ok(()) => Command::new(program).args(args).exec(),
        Err(e) => e,
    }
}

fn confine() -> io::Result<()> {
    let bounding = capabilities(None)?.permitted;
    for capability in bounding.iter() {
        // Fails for those that are not in the set, and for all without CAP_SETPCAP; the empty
        // sets below and no_new_privs hold in any case.
        let _ = remove_capability_from_bounding_set(capability);
    }
    clear_ambient_capability_set()?;
    set_capabilities(
        None,
        CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        },
    )?;
    // Otherwise executing a file as root would bring the capabilities back.
    Ok(set_no_new_privs(true)?)
}
