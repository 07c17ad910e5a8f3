//! Limits of what a process may have.

#![allow(clippy::disallowed_methods, reason = "opens a file of the kernel's")]

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::HostError;
use crate::podman::Ulimits;

/// Number of open files that a VM needs at least: the file server of a small image was seen to have
/// 1700 open in a guest that had booted. Every system has more by default: the kernel's hard limit is
/// 4096. With fewer, services of the guest fail, and podman and its helpers in words of their own.
const NEEDED: u64 = 4096;

/// Number of open files that a container gets if possible, which is podman's own default. A file server
/// opens each file that its guest knows.
const WANTED: u64 = 1 << 20;

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

/// Returns the limits of a VM's container: as high as this user may set them.
#[must_use]
pub fn ulimits() -> Ulimits {
    let files = getrlimit(Resource::Nofile);
    let may_raise = || {
        let raised = Rlimit {
            maximum: Some(WANTED),
            ..files
        };
        let may = setrlimit(Resource::Nofile, raised).is_ok();
        // This process keeps its own limit; lowering one is never refused.
        let _ = setrlimit(Resource::Nofile, files);
        may
    };
    Ulimits {
        open_files: match files.maximum {
            Some(allowed) if allowed < WANTED && !may_raise() => allowed,
            _ => WANTED,
        },
        processes: getrlimit(Resource::Nproc)
            .maximum
            .map_or_else(most_processes, |allowed| allowed.min(most_processes())),
    }
}

/// Returns the number of processes that the system can have. podman lowers its own limit to that.
fn most_processes() -> u64 {
    /// The kernel's own default (Linux, include/linux/threads.h: `PID_MAX_DEFAULT`).
    const DEFAULT: u64 = 32_768;

    let text = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap_or_default();
    text.trim().parse().unwrap_or(DEFAULT)
}
