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
