//! The supervisor's child processes.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, wait};

use crate::tail::Tail;
use crate::threads;

/// Most bytes of a child's output that are taken for one line.
const MAX_LINE: u64 = 64 << 10;

/// Role of a child, in the user's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// The virtual machine.
    Qemu,
    /// The file server behind a virtiofs tag.
    FileServer {
        /// The tag.
        tag: String,
        /// Tree that it serves: `the image` or a host directory.
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
    /// Role of the child.
    pub(super) role: Role,
    /// The process itself: once it is collected, another may have its process ID.
    process: OwnedFd,
    /// Last lines on its standard error.
    stderr: Tail,
}

impl Child {
    /// How it ended, and what it said before.
    pub(super) fn how_it_ended(&self, status: ExitStatus) -> Vec<String> {
        let mut words = vec![describe(status)];
        words.extend(self.stderr.lines());
        words
    }

    fn kill(&self) {
        // Already gone is what is wanted.
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
    }
}

/// Children by process ID.
#[derive(Debug, Default)]
pub(super) struct Children {
    running: HashMap<u32, Child>,
    /// Children that were killed together and have not been collected.
    leaving: HashSet<u32>,
    reaper: Reaper,
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
        let collecting = self.reaper.pause();
        // What podman has put into the environment, none of them has any use for.
        let spawned = command.env_clear().stderr(Stdio::piped()).spawn();
        for fd in fds {
            fcntl_setfd(fd, FdFlags::CLOEXEC)?;
        }
        let mut spawned = spawned?;
        let process = pidfd_open(Pid::from_child(&spawned), PidfdFlags::empty());
        if process.is_err() {
            spawned.kill()?;
        }
        drop(collecting);
        let process = process?;
        let stderr = Tail::default();
        if let Some(pipe) = spawned.stderr.take() {
            pass_on(pipe, stderr.clone());
        }
        let child = Child {
            role,
            process,
            stderr,
        };
        self.running.insert(spawned.id(), child);
        Ok(spawned.id())
    }

    /// Collects children that have ended.
    pub(super) fn reaper(&self) -> Reaper {
        self.reaper.clone()
    }

    /// Kills a child, unless it has ended.
    pub(super) fn kill(&self, pid: u32) {
        if let Some(child) = self.running.get(&pid) {
            child.kill();
        }
    }

    /// Forgets a child that has ended and returns it; `None` for one that [`Self::kill_all`] has
    /// killed, and for strangers, which PID 1 inherits.
    pub(super) fn ended(&mut self, pid: u32) -> Option<Child> {
        self.leaving.remove(&pid);
        self.running.remove(&pid)
    }

    /// Kills all of them, and waits for nothing: see [`Self::have_left`].
    pub(super) fn kill_all(&mut self) {
        for (pid, child) in self.running.drain() {
            child.kill();
            self.leaving.insert(pid);
        }
    }

    /// Returns true once all that [`Self::kill_all`] has killed have ended.
    pub(super) fn have_left(&self) -> bool {
        self.leaving.is_empty()
    }
}

fn pass_on(pipe: ChildStderr, tail: Tail) {
    threads::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        while let Some(line) = next_line(&mut pipe) {
            tail.push(&String::from_utf8_lossy(&line));
            // For `podman logs`; nobody may be listening.
            let _ = io::stderr().write_all(&[line.as_slice(), b"\n"].concat());
        }
    });
}

/// Reads a line without its end; `None` at the end of the output. A longer line than [`MAX_LINE`] comes
/// in parts: whoever has taken over a child cannot fill the supervisor's memory.
fn next_line(output: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    match output.take(MAX_LINE).read_until(b'\n', &mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => {
            line.pop_if(|last| *last == b'\n');
            Some(line)
        }
    }
}

/// Collects children, but none that is just being started: it would be gone before there is a
/// descriptor of it, and before `spawn` has collected it itself that could not execute its program.
#[derive(Debug, Clone, Default)]
pub(super) struct Reaper(Arc<Mutex<()>>);

impl Reaper {
    /// Collects every child that has ended. Called on SIGCHLD, of which several may arrive as one.
    pub(super) fn reap(&self) -> Vec<(u32, ExitStatus)> {
        let _collecting = self.pause();
        let mut ended = Vec::new();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            ended.push((
                pid.as_raw_nonzero().get().unsigned_abs(),
                ExitStatus::from_raw(status.as_raw()),
            ));
        }
        ended
    }

    fn pause(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    /// Runs `body` while another thread collects children without a pause.
    fn while_reaping(children: &mut Children, body: impl FnOnce(&mut Children)) {
        let done = AtomicBool::new(false);
        let reaper = children.reaper();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = reaper.reap();
                }
            });
            body(children);
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_whoever_collects() {
        while_reaping(&mut Children::default(), |children| {
            for _ in 0..300 {
                let mut command = Command::new("/nonexistent/program");
                let error = children.spawn(Role::Qemu, &mut command, &[]);
                let error = error.expect_err("not there");
                assert_eq!(error.kind(), io::ErrorKind::NotFound);
            }
        });
    }

    #[test]
    fn a_line_without_an_end_comes_in_parts() {
        let endless = format!("one\n\ntwo{}", "x".repeat(3 << 16));
        let mut output = endless.as_bytes();
        let lines: Vec<Vec<u8>> = std::iter::from_fn(|| next_line(&mut output)).collect();
        let lengths: Vec<usize> = lines.iter().map(Vec::len).collect();
        assert_eq!(lengths, [3, 0, 1 << 16, 1 << 16, 1 << 16, 3]);
        assert_eq!(lines[0], b"one");
    }

    #[test]
    fn a_child_that_was_collected_is_not_killed_by_its_number() {
        let mut children = Children::default();
        let mut command = Command::new("/bin/true");
        let pid = children
            .spawn(Role::Qemu, &mut command, &[])
            .expect("a child");
        let ended = loop {
            if let Some(ended) = children.reaper().reap().pop() {
                break ended;
            }
        };
        assert_eq!(ended, (pid, ExitStatus::from_raw(0)));
        let process = &children.running[&pid].process;
        let signalled = pidfd_send_signal(process, Signal::KILL);
        assert_eq!(signalled, Err(rustix::io::Errno::SRCH));
        children.kill(pid);
        children.kill_all();
        assert!(!children.have_left());
        assert!(children.ended(pid).is_none() && children.have_left());
    }
}
