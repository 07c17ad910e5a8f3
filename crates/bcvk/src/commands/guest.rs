//! Commands in a guest whose output bcvk reads.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bcvk_host::ssh;
use bcvk_host::{HostError, Session, Tool, VmDir, WatchEvent, Watcher, find_tool};

/// Grace period in which ssh may notice that its VM is gone.
const SSH_GRACE: Duration = Duration::from_secs(3);

/// ssh's own exit code for a connection that failed or was lost (`ssh(1)`, EXIT STATUS).
const SSH_LOST: i32 = 255;

/// Bytes of a command's stderr that are read, which is enough for an error.
const MAX_STDERR_BYTES: u64 = 4096;

/// A command that runs in a guest, over SSH and without a terminal.
#[derive(Debug)]
pub(super) struct GuestCommand<W> {
    ssh: Session,
    stdout: JoinHandle<W>,
    stderr: JoinHandle<Vec<u8>>,
}

/// End of a command in a guest, or the reason for not waiting for it any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The command exited with this code.
    Exited(i32),
    /// The connection was lost, or never came about, while the VM ran.
    Lost,
    /// The VM ended.
    VmEnded,
    /// The user sent a signal.
    Signal(i32),
    /// The command was still running at the deadline.
    Deadline,
}

impl<W: Write + Send + 'static> GuestCommand<W> {
    /// Starts `words` in a VM that is ready, by its directory and name; what they write goes to `out`.
    pub(super) fn start(
        (dir, name): (&VmDir, &str),
        words: &[&str],
        mut out: W,
        watcher: &Watcher,
    ) -> Result<Self, HostError> {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let options = ["-T".to_owned()];
        let mut child = ssh::command(&find_tool(Tool::Ssh)?, dir, name, &options, &words)
            // A Ctrl-C is for bcvk, which then ends ssh.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(HostError::io("run ssh"))?;
        let pipes = (child.stdout.take(), child.stderr.take());
        let (Some(mut stdout), Some(stderr)) = pipes else {
            unreachable!("both are piped");
        };
        let ssh = watcher.watch_session(child)?;
        Ok(Self {
            ssh,
            stdout: thread::spawn(move || {
                // If the reader has gone away, the command ends by its next write.
                let _ = io::copy(&mut stdout, &mut out);
                out
            }),
            stderr: thread::spawn(move || {
                let mut text = Vec::new();
                let mut stderr = stderr.take(MAX_STDERR_BYTES);
                let _ = stderr.read_to_end(&mut text);
                // Output beyond the bound is thrown away, so that the command does not block on it.
                let _ = io::copy(&mut stderr.into_inner(), &mut io::sink());
                text
            }),
        })
    }

    /// Waits for the command's end; returns its output and what it said on stderr. If the
    /// connection is lost, the VM may take `grace` to end, which would explain it.
    pub(super) fn wait(
        self,
        watcher: &mut Watcher,
        deadline: Option<Instant>,
        grace: Duration,
    ) -> (End, W, String) {
        let end = match await_end(&self.ssh, watcher, deadline) {
            End::Exited(SSH_LOST) => explain(watcher, grace),
            end => end,
        };
        let stdout = self.stdout.join();
        let stderr = self.stderr.join().unwrap_or_default();
        let Ok(stdout) = stdout else {
            unreachable!("copying does not panic");
        };
        (
            end,
            stdout,
            String::from_utf8_lossy(&stderr).trim().to_owned(),
        )
    }
}

/// Waits for the end of `ssh`, and ends it if nothing else does.
fn await_end(ssh: &Session, watcher: &mut Watcher, deadline: Option<Instant>) -> End {
    let mut vm_ended = false;
    let mut until = deadline;
    loop {
        let end = match watcher.next(until) {
            Some(WatchEvent::Session(_)) if vm_ended => return End::VmEnded,
            Some(WatchEvent::Session(status)) => {
                let signal = || 128 + status.signal().unwrap_or_default();
                return End::Exited(status.code().unwrap_or_else(signal));
            }
            Some(WatchEvent::SupervisorEnded) => {
                vm_ended = true;
                until = Some(Instant::now() + SSH_GRACE);
                continue;
            }
            Some(WatchEvent::Status(_)) => continue,
            Some(WatchEvent::Signal(signal)) => End::Signal(signal),
            None if vm_ended => End::VmEnded,
            None => End::Deadline,
        };
        ssh.end();
        return end;
    }
}

/// Explains why a connection was lost: ssh sees the end of a guest's sshd before the VM's end is known.
fn explain(watcher: &mut Watcher, grace: Duration) -> End {
    let deadline = Instant::now() + grace;
    loop {
        match watcher.next(Some(deadline)) {
            Some(WatchEvent::SupervisorEnded) => return End::VmEnded,
            Some(WatchEvent::Signal(signal)) => return End::Signal(signal),
            Some(_) => {}
            None => return End::Lost,
        }
    }
}
