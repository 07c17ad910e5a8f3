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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    /// The container and Landlock forbid new privileges too, but neither is there everywhere.
    #[test]
    fn a_thread_that_gave_up_its_rights_can_gain_none() {
        // A thread of its own gives them up, since they are a thread's.
        let status = thread::spawn(|| {
            keep_only(CapabilitySet::empty()).expect("given up");
            fs::read_to_string("/proc/thread-self/status").expect("its state")
        });
        let status = status.join().expect("no panic");
        let field = |name: &str| {
            let mut lines = status.lines().filter_map(|line| line.split_once(':'));
            let found = lines.find(|(field, _)| *field == name);
            found.expect(name).1.trim().to_owned()
        };
        assert_eq!(field("NoNewPrivs"), "1");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
    }
}
