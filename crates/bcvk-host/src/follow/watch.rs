//! Waiting for a VM: for its status to change, its supervisor to end, or the user to interrupt.

use std::io;
use std::mem::MaybeUninit;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::status::{Failure, Phase, Status};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::HostError;
use crate::follow::activity::Activity;
use crate::follow::session::Session;
use crate::vm::dir::VmDir;
use crate::vm::shared_dir::SharedDir;

/// Limit for the time from the return of `podman run` to the supervisor's first status. It takes
/// milliseconds; if it takes longer, the supervisor never ran.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// Most events that wait to be handled. A container that has been taken over may cause new ones
/// without end; it then waits for the command that follows it.
const QUEUED: usize = 64;

/// Number of lines of the console that an error shows.
const CONSOLE_LINES: usize = 15;

/// Something that a waiting command reacts to.
#[derive(Debug)]
pub enum WatchEvent {
    /// The status changed.
    Status(Box<Status>),
    /// The supervisor's lock is free: no supervisor runs any more.
    SupervisorEnded,
    /// The user sent a signal.
    Signal(i32),
    /// The session's process has ended.
    Session(ExitStatus),
}

/// Target of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The phase, or any later one that is not the end.
    Phase(Phase),
    /// The end of the VM.
    End,
}

/// Receives everything that can happen to one VM while a command waits for it.
#[derive(Debug)]
pub struct Watcher {
    dir: VmDir,
    events: Receiver<WatchEvent>,
    sender: SyncSender<WatchEvent>,
    last: Option<Status>,
}

/// Delivers SIGINT, SIGTERM and SIGHUP to a watcher from the moment it exists, so that no signal
/// can end the process between making something and being able to undo it.
#[derive(Debug)]
pub struct SignalSource {
    signals: Signals,
}

impl SignalSource {
    /// Takes the signals over from their default action.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            signals: Signals::new([SIGINT, SIGTERM, SIGHUP])?,
        })
    }

    /// Returns the signal that arrived since, if one did.
    pub fn pending(&mut self) -> Option<i32> {
        self.signals.pending().next()
    }
}

impl Watcher {
    /// Watches the VM in `dir`.
    pub fn new(dir: &VmDir, signals: SignalSource) -> io::Result<Self> {
        let (sender, events) = sync_channel(QUEUED);
        let watcher = Self {
            dir: dir.clone(),
            events,
            sender,
            last: None,
        };
        watcher.forward_signals(signals);
        watcher.forward_status()?;
        Ok(watcher)
    }

    /// Reports the end of the container too, for the time before its supervisor holds its lock. The
    /// caller must make sure that podman has started the container.
    pub fn watch_container(&self) -> io::Result<()> {
        let process = self.dir.container_process()?;
        let sender = self.sender.clone();
        thread::spawn(move || {
            if let Some(process) = process {
                let mut fds = [PollFd::new(&process, PollFlags::IN)];
                while let Err(Errno::INTR) = poll(&mut fds, None) {}
            }
            let _ = sender.send(WatchEvent::SupervisorEnded);
        });
        Ok(())
    }

    /// Reports the end of a session's process.
    ///
    /// # Errors
    /// If the process cannot be watched; it is ended then.
    pub fn watch_session(&self, session: Child) -> Result<Session, HostError> {
        let sender = self.sender.clone();
        let session = Session::watch(session, move |status| {
            let _ = sender.send(WatchEvent::Session(status));
        });
        session.map_err(HostError::io("watch the session"))
    }

    /// Returns the reason why the VM ended, if it ended and gave one.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.last_word()?.failure
    }

    /// Returns true if the VM has ended in order or is about to.
    ///
    /// # Errors
    /// The VM's own failure; [`HostError::SupervisorVanished`].
    pub fn is_over(&self) -> Result<bool, HostError> {
        match self.last_word() {
            Some(Status {
                failure: Some(failure),
                ..
            }) => Err(HostError::Vm(Box::new(failure))),
            Some(status) if status.phase >= Phase::Stopping => Ok(true),
            _ if self.dir.shared().supervisor_lives() => Ok(false),
            status => Err(self.vanished(status.map_or(Phase::Preparing, |status| status.phase))),
        }
    }

    /// Reads the supervisor's last status, which may have been written after the last event was read.
    fn last_word(&self) -> Option<Status> {
        let status = self.dir.shared().status().ok().flatten();
        status.or_else(|| self.last.clone())
    }

    /// Returns the next event; `None` at the deadline.
    pub fn next(&mut self, deadline: Option<Instant>) -> Option<WatchEvent> {
        let event = match deadline {
            None => self.events.recv().ok(),
            Some(deadline) => self
                .events
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
                .ok(),
        };
        if let Some(WatchEvent::Status(status)) = &event {
            self.last = Some(Status::clone(status));
        }
        event
    }

    /// Waits for `target`, showing each state on the way to `progress`.
    ///
    /// # Errors
    /// The VM's own failure; its end; [`HostError::ReadyTimeout`]; [`HostError::Interrupted`].
    pub fn wait(
        &mut self,
        target: Target,
        timeout: Option<Duration>,
        progress: &mut dyn FnMut(&Status),
    ) -> Result<Status, HostError> {
        let started = Instant::now();
        let deadline = timeout.map(|t| started + t);
        loop {
            let first_word = self.last.is_none().then(|| started + FIRST_WORD);
            let until = match (deadline, first_word) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            match self.next(until) {
                Some(WatchEvent::Status(status)) => {
                    progress(&status);
                    if target == Target::End {
                        continue;
                    }
                    if let Some(done) = reached(&status, target)? {
                        return Ok(done);
                    }
                }
                Some(WatchEvent::SupervisorEnded) => return self.ended(target),
                Some(WatchEvent::Signal(signal)) => return Err(HostError::Interrupted { signal }),
                Some(WatchEvent::Session(_)) => {
                    // `podman attach` ends with its container, or when the user detaches from the
                    // container.
                    if self.dir.shared().supervisor_lives() {
                        return Err(HostError::Detached);
                    }
                }
                None if self.last.is_none() => return Err(self.never_started()),
                None => {
                    return Err(HostError::ReadyTimeout {
                        seconds: started.elapsed().as_secs_f64(),
                        phase: self
                            .last
                            .as_ref()
                            .map_or("nothing", |s| s.phase.describe())
                            .to_owned(),
                        starting: Activity::starting(&self.dir),
                        console_tail: super::log::tail(&self.dir, CONSOLE_LINES),
                    });
                }
            }
        }
    }

    fn ended(&self, target: Target) -> Result<Status, HostError> {
        match self.last_word() {
            Some(Status {
                failure: Some(failure),
                ..
            }) => Err(HostError::Vm(Box::new(failure))),
            Some(status) if status.phase == Phase::Exited => match target {
                Target::End => Ok(status),
                Target::Phase(_) => Err(HostError::Stopped),
            },
            Some(status) => Err(self.vanished(status.phase)),
            None => Err(self.never_started()),
        }
    }

    fn vanished(&self, phase: Phase) -> HostError {
        HostError::SupervisorVanished {
            phase,
            console_tail: super::log::tail(&self.dir, CONSOLE_LINES),
        }
    }

    fn never_started(&self) -> HostError {
        let spec = self.dir.read_spec();
        HostError::SupervisorNotStarted {
            reference: spec.map_or_else(|_| "?".to_owned(), |spec| spec.image.reference),
        }
    }

    fn forward_signals(&self, mut source: SignalSource) {
        let sender = self.sender.clone();
        thread::spawn(move || {
            for signal in source.signals.forever() {
                if sender.send(WatchEvent::Signal(signal)).is_err() {
                    return;
                }
            }
        });
    }

    /// Forwards each new status. The file is replaced by rename, so a watch on the directory sees
    /// every state; states that follow each other within microseconds may be seen as one.
    fn forward_status(&self) -> io::Result<()> {
        let dir = self.dir.shared();
        let inotify = dir.watch()?;
        let sender = self.sender.clone();
        thread::spawn(move || {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut changes = inotify::Reader::new(inotify, &mut buffer);
            let mut supervisor_watched = false;
            loop {
                if let Ok(Some(status)) = dir.status() {
                    if sender.send(WatchEvent::Status(Box::new(status))).is_err() {
                        return;
                    }
                    if !supervisor_watched {
                        // The supervisor takes its lock before it writes its first status.
                        supervisor_watched = true;
                        watch_supervisor(dir.clone(), sender.clone());
                    }
                }
                if changes.next().is_err() {
                    return;
                }
            }
        });
        Ok(())
    }
}

fn watch_supervisor(dir: SharedDir, sender: SyncSender<WatchEvent>) {
    thread::spawn(move || {
        // An error means that the directory is gone, and so is the supervisor.
        let _ = dir.wait_for_supervisor_to_end();
        let _ = sender.send(WatchEvent::SupervisorEnded);
    });
}

fn reached(status: &Status, target: Target) -> Result<Option<Status>, HostError> {
    if let Some(failure) = &status.failure {
        return Err(HostError::Vm(Box::new(failure.clone())));
    }
    let Target::Phase(phase) = target else {
        return Ok(None);
    };
    let alive = status.phase < Phase::Stopping;
    Ok((alive && status.phase >= phase).then(|| status.clone()))
}
