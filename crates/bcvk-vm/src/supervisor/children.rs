//! The supervisor's child processes.

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{WaitOptions, wait};

/// What a child is for, in the user's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// The virtual machine.
    Qemu,
    /// The file server behind a virtiofs tag.
    FileServer {
        /// The tag.
        tag: String,
        /// What it serves: `the image` or a host directory.
        serves: String,
    },
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Qemu => f.write_str("QEMU"),
            Self::FileServer { serves, .. } => write!(f, "the file server of {serves}"),
        }
    }
}

/// Children by process ID.
#[derive(Debug, Default)]
pub(super) struct Children {
    roles: HashMap<u32, Role>,
}

impl Children {
    /// Starts `command`, which inherits exactly `fds` besides its standard streams, under their
    /// present numbers.
    pub(super) fn spawn(
        &mut self,
        role: Role,
        command: &mut Command,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<u32> {
        // The supervisor has one thread that spawns, so nobody else can inherit these meanwhile.
        for fd in fds {
            fcntl_setfd(fd, FdFlags::empty())?;
        }
        let spawned = command.spawn();
        for fd in fds {
            fcntl_setfd(fd, FdFlags::CLOEXEC)?;
        }
        let pid = spawned?.id();
        self.roles.insert(pid, role);
        Ok(pid)
    }

    /// Forgets a child that has ended and says what it was for; `None` for strangers, which PID 1
    /// inherits.
    pub(super) fn ended(&mut self, pid: u32) -> Option<Role> {
        self.roles.remove(&pid)
    }
}

/// Collects every child that has ended. Called on SIGCHLD, of which several may arrive as one.
pub(super) fn reap() -> Vec<(u32, ExitStatus)> {
    let mut ended = Vec::new();
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        ended.push((
            pid.as_raw_nonzero().get().unsigned_abs(),
            ExitStatus::from_raw(status.as_raw()),
        ));
    }
    ended
}

/// How a process ended, in words.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(9)) => "killed (SIGKILL)".to_owned(),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}
