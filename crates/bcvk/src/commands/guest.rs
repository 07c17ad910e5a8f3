//! Commands in a guest whose output bcvk reads.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bcvk_contract::status::Timestamp;
use bcvk_host::ssh;
use bcvk_host::{Session, SessionEnd, Tool, VmDir, Watcher, find_tool};

use crate::error::CommandError;

/// Bytes of a command's stderr that are read, which is enough for an error.
const MAX_STDERR_BYTES: u64 = 4096;

/// A command that runs in a guest, over SSH and without a terminal.
#[derive(Debug)]
pub(super) struct GuestCommand<W> {
    ssh: Session,
    stdout: JoinHandle<W>,
    stderr: JoinHandle<Vec<u8>>,
}

impl<W: Write + Send + 'static> GuestCommand<W> {
    /// Starts `words` in a VM that is ready, by its directory and name; what they write goes to `out`.
    pub(super) fn start(
        (dir, name): (&VmDir, &str),
        words: &[&str],
        mut out: W,
        watcher: &Watcher,
    ) -> Result<Self, CommandError> {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let options = ["-T".to_owned()];
        let mut child = ssh::command(&find_tool(Tool::Ssh)?, dir, name, &options, &words)
            // A Ctrl-C is for bcvk, which then ends ssh.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(CommandError::io("run ssh"))?;
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
    ) -> (SessionEnd, W, String) {
        let end = watcher.await_session(&self.ssh, deadline, grace);
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

/// Answer of a guest, up to a bound, with the time at which it began to come.
#[derive(Debug)]
pub(super) struct AnswerBuffer {
    limit: u64,
    pub(super) first: Option<Timestamp>,
    pub(super) text: Vec<u8>,
}

impl AnswerBuffer {
    /// Makes room for an answer of `limit` bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            first: None,
            text: Vec::new(),
        }
    }

    /// Returns true if the answer may be longer than what was read.
    pub(super) fn is_full(&self) -> bool {
        self.text.len() as u64 >= self.limit
    }
}

impl Write for AnswerBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_full() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.first.get_or_insert_with(Timestamp::now);
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
