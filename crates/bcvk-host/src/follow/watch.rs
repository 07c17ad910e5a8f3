//! Following a VM: one loop, [`Watcher::follow`], hears of everything that a waiting command reacts to.

use std::io;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::exit;
use bcvk_contract::status::{Failure, Phase, Status};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::follow::activity::Activity;
use crate::follow::session::Session;
use crate::vm::dir::VmDir;
use crate::vm::shared_dir::SharedDir;
use crate::{HostError, WatchError};

/// Limit for the time from the return of `podman run` to the supervisor's first status. It takes
/// milliseconds; if it takes longer, the supervisor never ran.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// Most events that wait to be handled. A container that has been taken over may cause new ones
/// without end; it then waits for the command that follows it.
const QUEUED: usize = 64;

/// Grace period in which ssh may notice that its VM is gone.
const SSH_GRACE: Duration = Duration::from_secs(3);

/// ssh's own exit code for a connection that failed or was lost (`ssh(1)`, EXIT STATUS).
pub const SSH_LOST: i32 = 255;

/// Grace period in which the supervisor may say why its VM has ended, after a connection was lost.
pub const LAST_WORD: Duration = Duration::from_millis(500);

/// Number of lines of the console that an error shows.
const CONSOLE_LINES: usize = 15;

/// Something that a command reacts to while it follows a VM.
#[derive(Debug)]
pub enum VmEvent {
    /// The status changed.
    Status(Box<Status>),
    /// The supervisor's lock is free: no supervisor runs any more.
    SupervisorEnded,
    /// The user sent a signal.
    Signal(i32),
    /// The session's process has ended.
    Session(ExitStatus),
    /// The command's deadline has passed.
    Deadline,
}

/// End of a session in a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// The session ended with this exit code, while the VM ran.
    Exited(i32),
    /// The connection was lost, or never came about, while the VM ran.
    Lost,
    /// The VM ended, and the session with this exit code.
    VmEnded(i32),
    /// The user sent a signal, and the session was ended.
    Signal(i32),
    /// The session was ended because it had not ended at the deadline.
    Deadline,
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
    events: Receiver<VmEvent>,
    sender: SyncSender<VmEvent>,
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

    /// Watches the VM in `dir`, and takes over the signals that end this process by default.
    ///
    /// # Errors
    /// If the signals or the VM's files cannot be watched.
    pub fn open(dir: &VmDir) -> Result<Self, HostError> {
        let signals = SignalSource::install().map_err(HostError::io("receive signals"))?;
        Self::new(dir, signals).map_err(HostError::io("watch the VM"))
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
            let _ = sender.send(VmEvent::SupervisorEnded);
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
            let _ = sender.send(VmEvent::Session(status));
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
    /// The VM's own failure; [`WatchError::SupervisorVanished`].
    pub fn is_over(&self) -> Result<bool, WatchError> {
        match self.last_word() {
            Some(Status {
                failure: Some(failure),
                ..
            }) => Err(WatchError::Vm(Box::new(failure))),
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

    /// Hears of events until `react` breaks. `react` may change the deadline, which starts as `deadline`;
    /// at a deadline, it gets [`VmEvent::Deadline`] and there is no deadline any more.
    pub fn follow<T>(
        &mut self,
        mut deadline: Option<Instant>,
        mut react: impl FnMut(VmEvent, &mut Option<Instant>) -> ControlFlow<T>,
    ) -> T {
        loop {
            let event = match deadline {
                // This watcher has a sender too, so the channel has no end.
                None => self.events.recv().unwrap_or(VmEvent::SupervisorEnded),
                Some(at) => self
                    .events
                    .recv_timeout(at.saturating_duration_since(Instant::now()))
                    .unwrap_or(VmEvent::Deadline),
            };
            match &event {
                VmEvent::Status(status) => self.last = Some(Status::clone(status)),
                VmEvent::Deadline => deadline = None,
                _ => {}
            }
            if let ControlFlow::Break(result) = react(event, &mut deadline) {
                return result;
            }
        }
    }

    /// Waits for `target`, showing each state on the way to `progress`.
    ///
    /// # Errors
    /// The VM's own failure; its end; [`WatchError::ReadyTimeout`]; [`WatchError::Interrupted`].
    pub fn wait(
        &mut self,
        target: Target,
        timeout: Option<Duration>,
        progress: &mut dyn FnMut(&Status),
    ) -> Result<Status, WatchError> {
        use ControlFlow::{Break, Continue};

        let started = Instant::now();
        let limit = timeout.map(|limit| started + limit);
        let first_word = self.last.is_none().then(|| started + FIRST_WORD);
        let until = first_word.into_iter().chain(limit).min();
        let shared = self.dir.shared();
        let event = self.follow(until, |event, deadline| match event {
            VmEvent::Status(status) => {
                progress(&status);
                *deadline = limit;
                match reached(&status, target) {
                    Ok(false) => Continue(()),
                    _ => Break(VmEvent::Status(status)),
                }
            }
            // `podman attach` ends with its container, or when the user detaches from the container.
            VmEvent::Session(_) if !shared.supervisor_lives() => Continue(()),
            event => Break(event),
        });
        match event {
            VmEvent::Status(status) => reached(&status, target).map(|_| *status),
            VmEvent::SupervisorEnded => self.ended(target),
            VmEvent::Signal(signal) => Err(WatchError::Interrupted { signal }),
            VmEvent::Session(_) => Err(WatchError::Detached),
            VmEvent::Deadline => Err(match &self.last {
                None => self.never_started(),
                Some(last) => WatchError::ReadyTimeout {
                    seconds: started.elapsed().as_secs_f64(),
                    phase: last.phase,
                    starting: Activity::starting(&self.dir),
                    console_tail: super::log::tail(&self.dir, CONSOLE_LINES),
                },
            }),
        }
    }

    /// Waits for the end of `session`, and ends it when the user, the VM or the deadline does. A lost
    /// connection is explained if the VM ends within `grace`.
    pub fn await_session(
        &mut self,
        session: &Session,
        deadline: Option<Instant>,
        grace: Duration,
    ) -> SessionEnd {
        let (mut cut, mut vm_ended) = (None, false);
        let code = self.follow(deadline, |event, deadline| {
            match event {
                VmEvent::Session(status) => {
                    return ControlFlow::Break(exit::code_of(status).into());
                }
                VmEvent::SupervisorEnded => {
                    vm_ended = true;
                    *deadline = Some(Instant::now() + SSH_GRACE);
                }
                VmEvent::Signal(signal) => {
                    cut.get_or_insert(SessionEnd::Signal(signal));
                    session.end();
                }
                VmEvent::Deadline => {
                    if !vm_ended {
                        cut.get_or_insert(SessionEnd::Deadline);
                    }
                    session.end();
                }
                VmEvent::Status(_) => {}
            }
            ControlFlow::Continue(())
        });
        match cut {
            Some(end) => end,
            None if vm_ended => SessionEnd::VmEnded(code),
            None if code == SSH_LOST => self.explain_loss(grace),
            None => SessionEnd::Exited(code),
        }
    }

    /// Explains why a connection was lost: ssh sees the end of a guest's sshd before the VM's end is
    /// known.
    fn explain_loss(&mut self, grace: Duration) -> SessionEnd {
        let deadline = Instant::now() + grace;
        self.follow(Some(deadline), |event, _| match event {
            VmEvent::SupervisorEnded => ControlFlow::Break(SessionEnd::VmEnded(SSH_LOST)),
            VmEvent::Signal(signal) => ControlFlow::Break(SessionEnd::Signal(signal)),
            VmEvent::Deadline => ControlFlow::Break(SessionEnd::Lost),
            VmEvent::Status(_) | VmEvent::Session(_) => ControlFlow::Continue(()),
        })
    }

    fn ended(&self, target: Target) -> Result<Status, WatchError> {
        match self.last_word() {
            Some(Status {
                failure: Some(failure),
                ..
            }) => Err(WatchError::Vm(Box::new(failure))),
            Some(status) if status.phase == Phase::Exited => match target {
                Target::End => Ok(status),
                Target::Phase(_) => Err(WatchError::Stopped),
            },
            Some(status) => Err(self.vanished(status.phase)),
            None => Err(self.never_started()),
        }
    }

    fn vanished(&self, phase: Phase) -> WatchError {
        WatchError::SupervisorVanished {
            phase,
            console_tail: super::log::tail(&self.dir, CONSOLE_LINES),
        }
    }

    fn never_started(&self) -> WatchError {
        let spec = self.dir.read_spec();
        WatchError::SupervisorNotStarted {
            reference: spec.map_or_else(|_| "?".to_owned(), |spec| spec.image.reference),
        }
    }

    fn forward_signals(&self, mut source: SignalSource) {
        let sender = self.sender.clone();
        thread::spawn(move || {
            for signal in source.signals.forever() {
                if sender.send(VmEvent::Signal(signal)).is_err() {
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
                    if sender.send(VmEvent::Status(Box::new(status))).is_err() {
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

fn watch_supervisor(dir: SharedDir, sender: SyncSender<VmEvent>) {
    thread::spawn(move || {
        // An error means that the directory is gone, and so is the supervisor.
        let _ = dir.wait_for_supervisor_to_end();
        let _ = sender.send(VmEvent::SupervisorEnded);
    });
}

fn reached(status: &Status, target: Target) -> Result<bool, WatchError> {
    match (target, &status.failure) {
        (Target::End, _) => Ok(false),
        (Target::Phase(_), Some(failure)) => Err(WatchError::Vm(Box::new(failure.clone()))),
        (Target::Phase(phase), None) => Ok((phase..Phase::Stopping).contains(&status.phase)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};

    #[test]
    fn a_signal_that_ends_a_command_is_heard_instead() {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let mut signals = SignalSource::install().expect("installed");
            kill_process(getpid(), signal).expect("sent");
            let deadline = Instant::now() + Duration::from_secs(5);
            let heard = loop {
                match signals.pending() {
                    None if Instant::now() < deadline => thread::yield_now(),
                    heard => break heard,
                }
            };
            assert_eq!(heard, Some(signal.as_raw()));
        }
    }
}
