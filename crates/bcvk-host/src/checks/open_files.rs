//! Limit for the number of open files.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::HostError;

/// Number of open files that podman, its helpers and bcvk need; with fewer, one of them fails in
/// words of its own. Every system has more by default: the kernel's hard limit is 4096.
const NEEDED: u64 = 1024;

/// Makes sure that this process and those it starts may open the files that they need.
///
/// # Errors
/// [`HostError::FewOpenFiles`] if the hard limit is too low; a soft one is raised.
pub fn allow_open_files() -> Result<(), HostError> {
    let limit = getrlimit(Resource::Nofile);
    // `None` means that there is no limit.
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= NEEDED);
    if let Some(allowed) = limit.maximum.filter(|_| !enough(limit.maximum)) {
        return Err(HostError::FewOpenFiles {
            allowed,
            needed: NEEDED,
        });
    }
    if enough(limit.current) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(NEEDED),
        ..limit
    };
    setrlimit(Resource::Nofile, raised)
        .map_err(|e| HostError::io("raise the limit of open files")(io::Error::from(e)))
}
