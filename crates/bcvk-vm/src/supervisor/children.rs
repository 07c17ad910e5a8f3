//! The supervisor's child processes.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{WaitOptions, wait};

use super::tail::Tail;
use super::threads;

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

/// A child process.
#[derive(Debug)]
pub(super) struct Child {
    /// What it is for.
    pub(super) role: Role,
    /// What it said last on standard error.
    stderr: Tail,
}

impl Child {
    /// How it ended, and what it said before.
    pub(super) fn how_it_ended(&self, status: ExitStatus) -> Vec<String> {
        let mut words = vec![describe(status)];
        words.extend(self.stderr.lines());
        words
    }
}

/// Children by process ID.
#[derive(Debug, Default)]
pub(super) struct Children {
    running: HashMap<u32, Child>,
}

impl Children {
    /// Starts `command`, which inherits exactly `fds` besides its standard streams, under their
    /// present numbers. What it says on standard error is kept and passed on.
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
        // What podman has put into the environment, none of them has any use for.
        let spawned = command.env_clear().stderr(Stdio::piped()).spawn();
        for fd in fds {
            fcntl_setfd(fd, FdFlags::CLOEXEC)?;
        }
        let mut spawned = spawned?;
        let stderr = Tail::default();
        if let Some(pipe) = spawned.stderr.take() {
            pass_on(pipe, stderr.clone());
        }
        self.running.insert(spawned.id(), Child { role, stderr });
        Ok(spawned.id())
    }

    /// Forgets a child that has ended and says what it was for; `None` for strangers, which PID 1
    /// inherits.
    pub(super) fn ended(&mut self, pid: u32) -> Option<Child> {
        self.running.remove(&pid)
    }

    /// Forgets all of them; returns their process IDs.
    pub(super) fn forget(&mut self) -> Vec<u32> {
        self.running.drain().map(|(pid, _)| pid).collect()
    }
}

fn pass_on(pipe: ChildStderr, tail: Tail) {
    threads::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            tail.push(&String::from_utf8_lossy(&line));
            // For `podman logs`; nobody may be listening.
            let _ = io::stderr().write_all(&[line.as_slice(), b"\n"].concat());
        }
    });
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
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(9)) => "killed (SIGKILL)".to_owned(),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}
