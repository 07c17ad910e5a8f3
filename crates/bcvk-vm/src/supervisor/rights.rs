//! What a process may do: as little as its work takes.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// Gives up every capability but `kept`, for the calling thread and all that it starts or
/// executes from now on. Of `kept`, only what it has can be kept.
pub(super) fn keep_only(kept: CapabilitySet) -> io::Result<()> {
    let had = capabilities(None)?.permitted;
    let kept = kept & had;
    for capability in (had - kept).iter() {
        // Fails without CAP_SETPCAP; the sets below and no_new_privs hold in any case.
        let _ = remove_capability_from_bounding_set(capability);
    }
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
