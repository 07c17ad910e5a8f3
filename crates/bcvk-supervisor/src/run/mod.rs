//! The life of one VM: prepare, start, watch, end.

mod start;
mod warm;

use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bcvk_contract::bounded;
use bcvk_contract::linkage::check_static;
use bcvk_contract::lock::Lock;
use bcvk_contract::lock::lock_file;
use bcvk_contract::shared::SharedPaths;
use bcvk_contract::spec::{
    CONTAINER_CLI_LOCK, CONTAINER_SPEC, CONTAINER_VM_DIR, Lifetime, MAX_SPEC_BYTES, Snapshot,
    VmSpec,
};
use bcvk_contract::status::{Failure, FailureKind, Phase, StatusWriter};
use qapi::qmp;
use rustix::process::Signal;
use rustix::thread::CapabilitySet;
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::Event;
use crate::children::{Children, Reaper, Role};
use crate::console::{self, Sign};
use crate::container::Container;
use crate::control::Message;
use crate::prepare;
use crate::problem::Problem;
use crate::qemu::monitor::Monitor;
use crate::rights::keep_only;
use crate::threads;
use crate::warm::{Making, base};

/// How long a guest may take to power off before QEMU is ended. Below the `podman stop` time-out
/// ([`bcvk_contract::limits::STOP_TIMEOUT_SECONDS`]), so that the end is ours and has a reason.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(25);

/// Pause between two presses of the power button. The first is lost on a guest whose logind does not
/// listen yet, and one that is shutting down ignores the rest.
const PRESS_AGAIN: Duration = Duration::from_secs(1);

/// How long the failed units' report may follow the news of a failure.
const REPORT_GRACE: Duration = Duration::from_secs(5);

/// How long a service that failed may take to come up after all: systemd starts it again, five times
/// by default.
const RESTART_GRACE: Duration = Duration::from_secs(20);

/// How long after a file server's end that of QEMU may come, which the server may have followed.
const QEMU_FOLLOWS: Duration = Duration::from_millis(200);

/// How long sshd's banner may come after the system is up. An emulated guest is busy then.
const BANNER_GRACE: Duration = Duration::from_secs(90);

/// What a user is told whose guest rebooted.
const REBOOTED: &str = "the guest rebooted, which ends an ephemeral VM";

/// Exit code of the container: the VM ended before it was ready.
const EXIT_NOT_READY: u8 = 126;
/// Exit code of the container: the host's side could not do its part.
const EXIT_HOST: u8 = 125;
/// Exit code of the container: it was stopped before its command had ended, as shells count that.
const EXIT_STOPPED: u8 = 143;
/// Exit code of the container: the guest failed after it had been ready.
const EXIT_FAILED: u8 = 1;

/// Runs the VM of this container, whose part of the file system is below `root`; returns the exit
/// code. QEMU comes from a `runner`'s image, or from below `root` too.
#[must_use]
pub fn run(root: &Path, runner: bool) -> u8 {
    let entered = Container::enter(root, runner);
    live(entered.and_then(|container| Ok((container, read_spec(Path::new(CONTAINER_SPEC))?))))
}

/// Runs the VM `spec` in this container of a Pod; returns the exit code.
#[must_use]
pub fn run_in_pod(spec: VmSpec) -> u8 {
    live(Ok((Container::of_a_pod(), spec)))
}

fn live(begun: io::Result<(Container, VmSpec)>) -> u8 {
    match begun.and_then(|(container, spec)| Supervisor::start(container, spec)) {
        Ok(mut supervisor) => supervisor.live(),
        Err(error) => {
            // Without a status file there is nowhere else to say it.
            tracing::error!(%error, "the supervisor could not start");
            EXIT_HOST
        }
    }
}

fn read_spec(path: &Path) -> io::Result<VmSpec> {
    let text = bounded::read(File::open(path)?, MAX_SPEC_BYTES)?;
    Ok(serde_json::from_slice(&text.unwrap_or_default())?)
}

struct Supervisor {
    container: Container,
    dir: SharedPaths,
    spec: VmSpec,
    status: StatusWriter,
    sender: Sender<Event>,
    events: Receiver<Event>,
    children: Children,
    running: Option<Running>,
    /// The guest that is yet to become this VM.
    unmade: Option<warm::Unmade>,
    /// Reports of failed units that have come so far.
    failed_units: Vec<String>,
    /// Whether the boot has ended in emergency mode.
    emergency: bool,
    /// Whether the failed units have been named.
    reported: bool,
    /// A guest's failure whose report may still be coming, and until when.
    pending_failure: Option<(Failure, Instant)>,
    /// When a guest that was asked to power off is ended.
    shutdown_deadline: Option<Instant>,
    /// Whether QEMU has been killed from here.
    qemu_killed: bool,
    /// When the power button is pressed again.
    next_press: Option<Instant>,
    /// What QEMU said about the end of the guest.
    shutdown_reason: Option<qmp::ShutdownCause>,
    _locks: [Lock; 2],
}

/// What exists once QEMU does.
struct Running {
    qemu: u32,
    monitor: Monitor,
    console: console::Console,
    /// What carries the output of the VM's other ports.
    carriers: Vec<JoinHandle<()>>,
}

impl Supervisor {
    fn start(container: Container, spec: VmSpec) -> io::Result<Self> {
        spec.validate().map_err(io::Error::other)?;
        let dir = SharedPaths::at(CONTAINER_VM_DIR);
        // A second supervisor ends here, before it has touched anything of the first.
        let writer = Lock::exclusive(lock_file(&dir.writer_lock())?)?;
        // Whoever finds the next lock held must not read of an earlier boot.
        StatusWriter::forget(dir.dir())?;
        let locks = [writer, Lock::once_free(lock_file(&dir.supervisor_lock())?)?];
        let status = StatusWriter::create(dir.dir())?;
        let (sender, events) = channel();
        Ok(Self {
            container,
            dir,
            spec,
            status,
            sender,
            events,
            children: Children::default(),
            running: None,
            unmade: None,
            failed_units: Vec::new(),
            emergency: false,
            reported: false,
            pending_failure: None,
            shutdown_deadline: None,
            qemu_killed: false,
            next_press: None,
            shutdown_reason: None,
            _locks: locks,
        })
    }

    fn live(&mut self) -> u8 {
        let started = self.launch();
        if let Err(problem) = started {
            self.record(|status| status.fail(problem.into()));
        } else {
            self.watch();
        }
        if let Some(running) = self.running.take() {
            running.console.drain();
            for carrier in running.carriers {
                // A panic there has been reported there.
                let _ = carrier.join();
            }
        }
        let failure = self.status.status().failure.clone();
        let was_ready = self.status.status().was_ready();
        self.record(|status| status.enter(Phase::Exited));
        match failure {
            None if self.spec.execute.is_empty() => 0,
            None => self.status.status().executed.unwrap_or(EXIT_STOPPED),
            Some(failure) if failure.kind != FailureKind::Guest => EXIT_HOST,
            Some(_) if was_ready => EXIT_FAILED,
            Some(_) => EXIT_NOT_READY,
        }
    }

    fn launch(&mut self) -> Result<(), Problem> {
        check_static()?;
        forward_signals(self.children.reaper(), self.sender.clone()).map_err(Problem::Signals)?;
        if self.spec.lifetime == Lifetime::Cli {
            watch_cli(self.sender.clone());
        }
        self.heed_obstacles()?;
        if let Some(Snapshot::Resume(_) | Snapshot::ResumeOnly(_)) = self.spec.snapshot {
            match self.resume() {
                Ok(()) => {
                    give_up_capabilities();
                    return Ok(());
                }
                Err(why) => self.give_up_resuming(why.to_string())?,
            }
        }
        self.boot()?;
        give_up_capabilities();
        Ok(())
    }

    fn boot(&mut self) -> Result<(), Problem> {
        let spec = match self.spec.snapshot {
            Some(_) => base(&self.spec).map_err(Problem::StartQemu)?,
            None => self.spec.clone(),
        };
        let prepared = prepare::prepare(&spec, &self.container)?;
        for warning in &prepared.warnings {
            self.record(|status| status.warn(warning.clone()));
        }
        let sockets = self
            .start_file_servers()
            .map_err(Problem::StartFileServers)?;
        let beginning = self.beginning().map_err(Problem::StartQemu)?;
        let agent = self
            .start_qemu(&spec, &prepared, &sockets, &beginning)
            .map_err(Problem::StartQemu)?;
        self.record(|status| status.enter(Phase::Qemu));
        if let Some(agent) = agent {
            let spec = self.spec.clone();
            let making = Making::new(spec, agent, prepared.identity.clone(), false);
            self.keep_unmade(making, &prepared, &beginning);
        }
        Ok(())
    }

    /// Reacts to events until QEMU has ended.
    fn watch(&mut self) {
        loop {
            let pending = self.pending_failure.as_ref().map(|(_, until)| *until);
            let deadline = [self.shutdown_deadline, self.next_press, pending]
                .into_iter()
                .flatten()
                .min();
            let event = match deadline {
                None => self
                    .events
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => self
                    .events
                    .recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match event {
                Ok(event) => {
                    if self.react(event).is_break() {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.time_is_up(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn react(&mut self, event: Event) -> std::ops::ControlFlow<()> {
        match event {
            Event::Exited { pid, status } => return self.child_ended(pid, status),
            Event::Signal(signal) => {
                tracing::info!(signal, "asked to stop");
                self.shut_down();
            }
            Event::CliGone => {
                tracing::info!("the command that this VM belongs to has ended");
                self.end_qemu();
            }
            Event::Console(Sign::FirstByte) => self.record(|status| status.enter(Phase::Kernel)),
            Event::Console(Sign::Panic(message)) => {
                let panic = self.failure(Problem::Panic(message.into()));
                let known = self.pending_failure.take().map(|(known, _)| known);
                self.fail_now(cause(known, panic));
            }
            Event::Console(Sign::Emergency) => {
                self.emergency = true;
                self.expect(Problem::Emergency, REPORT_GRACE);
                self.fail_if_all_is_said();
            }
            Event::Control(message) => self.guest_says(message),
            Event::Made(Ok(())) => self.record(|status| status.enter(Phase::Ready)),
            Event::Made(Err(error)) => {
                self.fail_now(self.failure(Problem::NotTaken(error.to_string().into())));
            }
            Event::Banner if self.spec.snapshot.is_some() => self.make(),
            Event::Banner if self.spec.execute.is_empty() => {
                self.record(|status| status.enter(Phase::Ready));
            }
            Event::Banner => {}
            Event::Warning(text) => self.record(|status| status.warn(text)),
            Event::Qmp(event) => {
                if let qmp::Event::SHUTDOWN { data, .. } = *event {
                    self.shutdown_reason = Some(data.reason);
                    self.forget_followers();
                }
            }
        }
        std::ops::ControlFlow::Continue(())
    }

    fn guest_says(&mut self, message: Message) {
        match message {
            Message::Initrd => self.record(|status| status.enter(Phase::Initrd)),
            Message::Userspace => self.record(|status| status.enter(Phase::Userspace)),
            Message::Executed(code) if !self.spec.execute.is_empty() => {
                self.record(|status| status.executed(code));
                self.shut_down();
            }
            Message::Executed(_) => {}
            // Commands need no login.
            Message::Up if self.spec.snapshot.is_some() && !self.spec.execute.is_empty() => {
                self.make();
            }
            Message::Up if self.spec.ssh.is_none() || !self.spec.execute.is_empty() => {
                self.record(|status| status.enter(Phase::Ready));
            }
            Message::Up => self.expect(Problem::Sshd, BANNER_GRACE),
            Message::Failed(unit) => {
                self.failed_units.push(unit);
                self.expect(Problem::Services, RESTART_GRACE);
            }
            Message::Reported => {
                self.reported = true;
                self.fail_if_all_is_said();
            }
            Message::GaveUp(why) => {
                self.fail_now(self.failure(Problem::Root(why.into())));
            }
        }
    }

    /// A sign of failure has come; within `grace` either more is said about it, or sshd answers
    /// after all. A guest that was ready has a user who sees for themselves.
    fn expect(&mut self, problem: Problem, grace: Duration) {
        if self.status.status().was_ready() {
            return;
        }
        self.pend(self.failure(problem), grace);
    }

    /// Ends the VM because of `failure`, or of one that is pending already, in `grace` at most.
    fn pend(&mut self, failure: Failure, grace: Duration) {
        let (known, at) = self.pending_failure.take().unzip();
        let until = Instant::now() + grace;
        let until = at.map_or(until, |at| until.min(at));
        self.pending_failure = Some((cause(known, failure), until));
    }

    /// A file server that ended shortly before the news that QEMU ends did so because of that.
    fn forget_followers(&mut self) {
        self.pending_failure
            .take_if(|(failure, _)| failure.kind == FailureKind::Host);
    }

    /// In emergency mode nothing more will start: once the failed units are known, that is all.
    fn fail_if_all_is_said(&mut self) {
        if self.emergency
            && self.reported
            && let Some((failure, _)) = self.pending_failure.take()
        {
            self.guest_failed(failure);
        }
    }

    fn guest_failed(&mut self, failure: Failure) {
        // sshd may have come up after all.
        if failure.kind == FailureKind::Guest && self.status.status().was_ready() {
            return;
        }
        self.fail_now(failure);
    }

    fn child_ended(&mut self, pid: u32, status: ExitStatus) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};

        let Some(child) = self.children.ended(pid) else {
            return Continue(());
        };
        let how = child.how_it_ended(status);
        match child.role {
            Role::Qemu => {
                self.qemu_ended(status, how);
                Break(())
            }
            // A file server ends when QEMU disconnects; before that, the guest hangs without it,
            // in its shutdown as well.
            role if self.shutdown_reason.is_none() && !self.qemu_killed => {
                let failure = Failure {
                    causes: how,
                    ..self.failure(Problem::FileServerEnded(role))
                };
                self.pend(failure, QEMU_FOLLOWS);
                Continue(())
            }
            Role::FileServer { .. } => Continue(()),
        }
    }

    fn qemu_ended(&mut self, status: ExitStatus, how: Vec<String>) {
        let asked = self.shutdown_deadline.is_some();
        if asked || self.status.status().failure.is_some() {
            return;
        }
        // QEMU ends in good order when somebody sends it a signal.
        let signalled = self.shutdown_reason == Some(qmp::ShutdownCause::host_signal);
        let rebooted = self.shutdown_reason == Some(qmp::ShutdownCause::guest_reset);
        let was_ready = self.status.status().was_ready();
        let failure = if signalled || !status.success() {
            let killed = status.signal() == Some(Signal::KILL.as_raw());
            Failure {
                causes: how,
                ..self.failure(Problem::QemuEnded { killed })
            }
        } else if was_ready && self.spec.execute.is_empty() {
            // A user's `poweroff`.
            if rebooted {
                self.record(|status| status.warn(REBOOTED.to_owned()));
            }
            return;
        } else {
            self.failure(Problem::GuestEnded {
                rebooted,
                ready: was_ready,
            })
        };
        self.record(|status| status.fail(failure));
    }

    fn time_is_up(&mut self) {
        let now = Instant::now();
        if let Some((_, until)) = &self.pending_failure
            && *until <= now
            && let Some((failure, _)) = self.pending_failure.take()
        {
            self.guest_failed(failure);
        }
        if self.next_press.is_some_and(|at| at <= now) {
            self.press_power_button();
        }
        if self.shutdown_deadline.is_some_and(|at| at <= now) {
            tracing::warn!("the guest did not power off in time");
            self.end_qemu();
        }
    }

    /// Presses the power button and waits for the guest, but not for ever.
    fn shut_down(&mut self) {
        if self.shutdown_deadline.is_some() {
            return;
        }
        self.record(|status| status.enter(Phase::Stopping));
        self.shutdown_deadline = Some(Instant::now() + SHUTDOWN_GRACE);
        self.press_power_button();
    }

    fn press_power_button(&mut self) {
        let pressed = self.running.as_ref().map(|r| r.monitor.power_down());
        if matches!(pressed, Some(Ok(()))) {
            self.next_press = Some(Instant::now() + PRESS_AGAIN);
        } else {
            self.end_qemu();
        }
    }

    fn monitor(&self) -> Monitor {
        let running = self.running.as_ref();
        running.expect("QEMU was started").monitor.clone()
    }

    /// Records a failure and ends the VM because of it.
    fn fail_now(&mut self, mut failure: Failure) {
        failure.failed_units.clone_from(&self.failed_units);
        if let Some(running) = &self.running {
            failure.console_tail = running.console.tail.lines();
        }
        self.record(|status| status.fail(failure));
        self.end_qemu();
    }

    /// Ends QEMU at once. Its memory is its own, so there is nothing to save.
    fn end_qemu(&mut self) {
        self.next_press = None;
        self.shutdown_deadline
            .get_or_insert(Instant::now() + SHUTDOWN_GRACE);
        self.qemu_killed = true;
        if let Some(running) = &self.running {
            self.children.kill(running.qemu);
        }
    }

    /// `problem`, with what can be seen of the VM now.
    fn failure(&self, problem: Problem) -> Failure {
        Failure {
            phase: self.status.status().phase,
            failed_units: self.failed_units.clone(),
            console_tail: self
                .running
                .as_ref()
                .map(|running| running.console.tail.lines())
                .unwrap_or_default(),
            ..problem.into()
        }
    }

    /// A status that cannot be written must not end the VM: its user may be at work in it.
    fn record(&mut self, write: impl FnOnce(&mut StatusWriter) -> io::Result<()>) {
        if let Err(error) = write(&mut self.status) {
            tracing::warn!(%error, "cannot write the status");
        }
    }
}

/// Which of two failures is told: what the guest says after the host has failed follows from that,
/// and of the guest's own words the later say more.
fn cause(known: Option<Failure>, new: Failure) -> Failure {
    match known {
        Some(known) if known.kind != FailureKind::Guest => known,
        _ => new,
    }
}

/// As PID 1, a process gets only the signals it has asked for.
fn forward_signals(reaper: Reaper, events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGCHLD])?;
    threads::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGCHLD {
                for (pid, status) in reaper.reap() {
                    if events.send(Event::Exited { pid, status }).is_err() {
                        return;
                    }
                }
            } else if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The command holds its lock from before the container starts.
fn watch_cli(events: Sender<Event>) {
    threads::spawn(move || {
        let lock = File::open(CONTAINER_CLI_LOCK).and_then(Lock::shared);
        if lock.is_ok() {
            let _ = events.send(Event::CliGone);
        }
    });
}

/// All that takes rights has been started. What is left is to end it: QEMU is another user's.
fn give_up_capabilities() {
    if let Err(error) = keep_only(CapabilitySet::KILL) {
        tracing::warn!(%error, "the supervisor keeps its capabilities");
    }
}

/// Gives the user a shell in place of the supervisor below `root`, with the programs of QEMU's root.
///
/// Returns only on failure.
#[must_use]
pub fn shell(root: &Path, runner: bool) -> io::Error {
    match Container::enter(root, runner).and_then(|_| Container::furnish()) {
        Ok(()) => std::process::Command::new("/usr/bin/bash").exec(),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_host_is_the_cause_of_the_guests() {
        let failure = |kind: FailureKind| Failure {
            kind,
            phase: Phase::Userspace,
            message: format!("{kind:?}"),
            causes: vec![],
            hint: None,
            failed_units: vec![],
            console_tail: vec![],
        };
        let (host, guest) = (FailureKind::Host, FailureKind::Guest);
        for (known, new, told) in [
            (None, host, host),
            (None, guest, guest),
            (Some(host), guest, host),
            (Some(guest), host, host),
            (Some(guest), guest, guest),
        ] {
            let told = failure(told);
            assert_eq!(cause(known.map(failure), failure(new)), told, "{known:?}");
        }
    }
}
