//! Threads of the supervisor.

use std::thread::{self, JoinHandle};

use rustix::thread::CapabilitySet;

use crate::rights::keep_only;

/// Starts a thread without any capability.
///
/// The supervisor's first thread has the capabilities that starting children takes, until all of them
/// run. The other threads read the output of the guest and QEMU, so they have none.
pub(super) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::spawn(move || {
        if let Err(error) = keep_only(CapabilitySet::empty()) {
            tracing::warn!(%error, "a thread keeps its capabilities");
        }
        work()
    })
}

/// Starts a thread with the capabilities of the supervisor's first thread, for work on files of which
/// some belong to other users.
pub(super) fn spawn_with_rights(work: impl FnOnce() + Send + 'static) {
    thread::spawn(work);
}
