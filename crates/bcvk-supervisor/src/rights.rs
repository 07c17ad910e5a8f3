//! Reduction of a process's rights to as little as its work takes.

use std::io;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
};

/// Leaves all supplementary groups.
pub(super) fn leave_groups() -> io::Result<()> {
    match set_thread_groups(&[]) {
        // A user namespace can forbid that (user_namespaces(7), setgroups).
        Err(Errno::PERM) => Ok(()),
        left => Ok(left?),
    }
}

/// Removes `capabilities` from the bounding set. This process can use them as before, but executing a
/// program cannot bring them back.
pub(super) fn unbind(capabilities: CapabilitySet) {
    for capability in capabilities.iter() {
        // This fails without CAP_SETPCAP; empty sets and no_new_privs hold in any case.
        let _ = remove_capability_from_bounding_set(capability);
    }
}

/// Gives up every capability but `kept`, for the calling thread and all that it starts or executes
/// from now on. Capabilities in `kept` that the thread does not have are ignored.
pub(super) fn keep_only(kept: CapabilitySet) -> io::Result<()> {
    let had = capabilities(None)?.permitted;
    let kept = kept & had;
    unbind(had - kept);
    clear_ambient_capability_set()?;
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    // Otherwise executing a file as root would bring the capabilities back.
    Ok(set_no_new_privs(true)?)
}
