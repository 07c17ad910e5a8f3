//! Children that have a limit and do not outlive their handle.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::error::{Error, Result};
use super::interrupt;

/// Interval at which a wait looks whether the user has asked to stop.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Grace period for a child that is asked to end.
const GRACE: Duration = Duration::from_secs(10);

/// A child in a process group of its own. Dropping it ends the whole group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    end: OwnedFd,
    what: String,
    ended: Option<ExitStatus>,
}

/// A child that ran to its end.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Time from before the start of the child to its end.
    pub took: Duration,
}

/// Effect of Ctrl-C on a wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnInterrupt {
    Stop,
    GoOn,
}

impl Running {
    /// Starts `command`. A terminal's Ctrl-C does not reach it; its handle ends it.
    pub fn start(command: &mut Command) -> Result<Self> {
        let what = describe(command);
        let failed = || Error::io(format!("run {what}"));
        let mut child = command.process_group(0).spawn().map_err(failed())?;
        let end = match watch(child.id()) {
            Ok(end) => end,
            Err(e) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(e);
            }
        };
        Ok(Self {
            child,
            end,
            what,
            ended: None,
        })
    }

    /// Its process ID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the child itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Returns the child's exit status if it has ended within `patience`.
    pub fn poll(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() && ended_within(&self.end, patience)? {
            let status = self.child.wait();
            self.ended = Some(status.map_err(Error::io(format!("wait for {}", self.what)))?);
        }
        Ok(self.ended)
    }

    /// Waits for the child's end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.wait_until(Instant::now() + limit, OnInterrupt::Stop)?
            .ok_or_else(|| {
                let what = &self.what;
                Error::other(format!("{what} was not done after {} s", limit.as_secs()))
            })
    }

    /// Returns an error if the child has ended, though nobody asked it to.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.poll(Duration::ZERO)? {
            None => Ok(()),
            Some(status) => Err(Error::other(format!("{} ended: {status}", self.what))),
        }
    }

    /// Ends the child and every process of its group: they are asked first, then forced.
    pub fn end(&mut self) {
        let Some(group) = pid(self.child.id()) else {
            return;
        };
        if self.ended.is_none() {
            // If the group is gone already, all is well, here and below.
            let _ = kill_process_group(group, Signal::TERM);
            let _ = self.wait_until(Instant::now() + GRACE, OnInterrupt::GoOn);
        }
        if self.ended.is_none() {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.wait_until(Instant::now() + GRACE, OnInterrupt::GoOn);
        }
    }

    fn wait_until(&mut self, deadline: Instant, on: OnInterrupt) -> Result<Option<ExitStatus>> {
        loop {
            if on == OnInterrupt::Stop {
                interrupt::check()?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let status = self.poll(left.min(LOOK_UP))?;
            if status.is_some() || left.is_zero() {
                return Ok(status);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Finished {
    /// Returns an error with the child's output unless it succeeded.
    pub fn success(self, action: &str) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        let said = self.stderr.trim();
        Err(Error::other(format!(
            "cannot {action} ({}){}{said}",
            self.status,
            if said.is_empty() { "" } else { ": " },
        )))
    }
}

/// Runs `command` to its end, with nothing on stdin.
pub fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    run_with(command, limit, OnInterrupt::Stop)
}

/// Runs a command that undoes something to its end, even after Ctrl-C.
pub fn clean_up(command: &mut Command, limit: Duration) -> Result<Finished> {
    run_with(command, limit, OnInterrupt::GoOn)
}

fn run_with(command: &mut Command, limit: Duration, on: OnInterrupt) -> Result<Finished> {
    // The output goes to files and not to pipes: a process that a command leaves running may keep a
    // pipe open.
    let (stdout, stderr) = (scratch()?, scratch()?);
    command
        .stdin(Stdio::null())
        .stdout(writer(&stdout)?)
        .stderr(writer(&stderr)?);
    let started = Instant::now();
    let mut running = Running::start(command)?;
    let Some(status) = running.wait_until(started + limit, on)? else {
        let what = &running.what;
        return Err(Error::other(format!(
            "{what} was not done after {} s",
            limit.as_secs()
        )));
    };
    let took = started.elapsed();
    Ok(Finished {
        status,
        stdout: text(&stdout),
        stderr: text(&stderr),
        took,
    })
}

/// Makes a file without a name.
pub fn scratch() -> Result<File> {
    tempfile::tempfile().map_err(Error::io("make a temporary file"))
}

/// Returns the file for a child to write into.
pub fn writer(file: &File) -> Result<Stdio> {
    let copy = file.try_clone().map_err(Error::io("share a file"))?;
    Ok(copy.into())
}

/// Returns all that was written so far. The child shares the file's position, so that stays where
/// it is.
#[must_use]
pub fn text(file: &File) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    // Output that cannot be read is not shown; the exit status tells what matters.
    while let Ok(n @ 1..) = file.read_at(&mut buffer, bytes.len() as u64) {
        bytes.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns a descriptor that is readable once the process has ended.
pub fn watch(id: u32) -> Result<OwnedFd> {
    let pid = pid(id).ok_or_else(|| Error::other("no such process"))?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(Error::io(format!("watch process {id}")))
}

/// Returns true if the watched process has ended, or does within `patience`.
pub fn ended_within(end: &OwnedFd, patience: Duration) -> Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN)];
    let timeout = Timespec::try_from(patience).map_err(|e| Error::other(e.to_string()))?;
    match poll(&mut fds, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(Error::io("wait for a process")(e)),
    }
}

fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

/// Names the program and its first words, for messages.
fn describe(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut text = program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    for word in command.get_args().take(3) {
        text.push(' ');
        text.push_str(&word.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_a_limit_and_its_group_ends_with_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo $!; wait"]);
        let error = run(&mut command, Duration::from_millis(200)).expect_err("limit");
        assert!(error.to_string().contains("not done after"), "{error}");

        let out = scratch().expect("file");
        command.stdout(writer(&out).expect("stdout"));
        let mut running = Running::start(&mut command).expect("start");
        let sleeper = loop {
            assert_eq!(running.poll(Duration::from_millis(5)).expect("poll"), None);
            if let Ok(id) = text(&out).trim().parse::<u32>() {
                break watch(id).expect("the sleeper runs");
            }
        };
        drop(running);
        assert!(ended_within(&sleeper, Duration::from_secs(1)).expect("ended"));
    }

    #[test]
    fn failures_say_what_the_command_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo why >&2; exit 3"]);
        let finished = run(&mut command, Duration::from_secs(5)).expect("runs");
        assert_eq!(finished.stdout, "out\n");
        let error = finished
            .success("do it")
            .expect_err("exit code")
            .to_string();
        assert_eq!(error, "cannot do it (exit status: 3): why");
    }
}
