//! A command that runs while the test goes on.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::autopsy::ObservedVm;
use crate::limit;
use crate::output::Output;
use crate::wait::within;

/// A running command. Dropped before its end, it is killed with all of its process group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Stream,
    stderr: Stream,
    shown: String,
    /// The VM that the command talks to.
    observed_vm: Option<ObservedVm>,
    started: Instant,
    ended: bool,
}

/// Time for an answer, after which the question is asked again.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// Bytes that have come out of a pipe so far.
#[derive(Debug)]
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Running {
    #[track_caller]
    pub(crate) fn start(
        mut command: Command,
        shown: String,
        input: Option<Vec<u8>>,
        observed_vm: Option<ObservedVm>,
    ) -> Self {
        let started = Instant::now();
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run `{shown}`: {e}"));
        let stdout = Stream::follow(child.stdout.take().expect("a pipe"));
        let stderr = Stream::follow(child.stderr.take().expect("a pipe"));
        let mut stdin = child.stdin.take();
        if let Some(input) = input
            && let Some(mut pipe) = stdin.take()
        {
            // Errors do not matter: a command need not read what it is given.
            thread::spawn(move || pipe.write_all(&input));
        }
        Self {
            child,
            stdin,
            stdout,
            stderr,
            shown,
            observed_vm,
            started,
            ended: false,
        }
    }

    /// Waits for the command's end; fails the test after `limit`.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Output {
        let status = within(limit, || self.child.try_wait().expect("wait for a child"));
        let Some(status) = status else {
            let vm = self.observed_vm.as_ref().map(ObservedVm::report);
            self.kill_group();
            panic!(
                "`{}` still runs after {limit:?}; so far:\n{}{}",
                self.shown,
                self.so_far(),
                vm.unwrap_or_default()
            );
        };
        let took = self.started.elapsed();
        self.ended = true;
        self.stdin = None;
        // A process that inherited the streams and lives on would keep a shell's `$(…)` waiting too.
        let readers = [&self.stdout.reader, &self.stderr.reader];
        let closed = within(limit::GONE, || {
            readers.iter().all(|r| r.is_finished()).then_some(())
        });
        assert!(
            closed.is_some(),
            "`{}` has ended, but a process that it left behind holds its output open\n{}",
            self.shown,
            self.so_far()
        );
        Output {
            shown: std::mem::take(&mut self.shown),
            status,
            stdout: self.stdout.bytes(),
            stderr: self.stderr.bytes(),
            took,
        }
    }

    /// Waits until stdout has `text`; fails the test after `limit`, or when the command ends.
    #[track_caller]
    pub fn await_stdout(&mut self, text: &str, limit: Duration) {
        self.await_text("stdout", text, limit, |running| running.stdout.bytes());
    }

    /// Waits until stderr has `text`; fails the test after `limit`, or when the command ends.
    #[track_caller]
    pub fn await_stderr(&mut self, text: &str, limit: Duration) {
        self.await_text("stderr", text, limit, |running| running.stderr.bytes());
    }

    #[track_caller]
    fn await_text(
        &mut self,
        stream: &str,
        text: &str,
        limit: Duration,
        read: impl Fn(&Self) -> Vec<u8>,
    ) {
        let mut ended = false;
        let found = within(limit, || {
            // This comes first, so that the last look at the output comes after the end.
            ended = ended || matches!(self.child.try_wait(), Ok(Some(_)));
            if String::from_utf8_lossy(&read(self)).contains(text) {
                return Some(true);
            }
            (ended && self.stdout.reader.is_finished() && self.stderr.reader.is_finished())
                .then_some(false)
        });
        assert!(
            found == Some(true),
            "no {text:?} on the {stream} of `{}`{}\n{}",
            self.shown,
            if ended {
                ", which has ended"
            } else {
                " in time"
            },
            self.so_far()
        );
    }

    /// Writes to the command's stdin.
    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("Cmd::open_stdin was called");
        stdin.write_all(text.as_bytes()).expect("write to stdin");
        stdin.flush().expect("write to stdin");
    }

    /// Types `text` until stdout has `answer`: what is typed before somebody listens is lost.
    #[track_caller]
    pub fn type_until(&mut self, text: &str, answer: &str, limit: Duration) {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            self.type_in(text);
            let answered = within(BETWEEN_TRIES, || {
                let so_far = self.stdout.bytes();
                String::from_utf8_lossy(&so_far)
                    .contains(answer)
                    .then_some(())
            });
            if answered.is_some() {
                return;
            }
        }
        panic!("no {answer:?} after {text:?}\n{}", self.so_far());
    }

    /// Closes the command's stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: Signal) {
        // If the process has ended already, the test will notice.
        let _ = kill_process(self.pid(), signal);
    }

    /// Sends a signal to the command's process group, as a terminal's Ctrl-C does.
    pub fn signal_group(&self, signal: Signal) {
        let _ = kill_process_group(self.pid(), signal);
    }

    /// Returns the command's process ID.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Returns true if the command has not ended yet.
    #[must_use]
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn kill_group(&mut self) {
        self.signal_group(Signal::KILL);
        let _ = self.child.wait();
        self.ended = true;
    }

    fn so_far(&self) -> String {
        format!(
            "--- stdout\n{}\n--- stderr\n{}\n",
            String::from_utf8_lossy(&self.stdout.bytes()),
            String::from_utf8_lossy(&self.stderr.bytes())
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.kill_group();
        }
    }
}

impl Stream {
    fn follow(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                sink.extend_from_slice(&buffer[..length]);
            }
        });
        Self { bytes, reader }
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
