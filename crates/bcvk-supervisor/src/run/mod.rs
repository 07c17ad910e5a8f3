//! The life of one VM: prepare, start, watch, end.

mod boot;
mod enter;
mod points;
mod refusals;
mod sources;
mod start;
mod warm;

use std::collections::VecDeque;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use bcvk_contract::linkage::check_static;
use bcvk_contract::lock::Lock;
use bcvk_contract::lock::lock_file;
use bcvk_contract::shared::SharedPaths;
use bcvk_contract::spec::{CONTAINER_VM_DIR, Lifetime, SnapshotStage, VmSpec};
use bcvk_contract::status::{Failure, StatusWriter};
use qapi::qmp;
use rustix::process::Signal;
use rustix::thread::CapabilitySet;

pub(super) use self::boot::Files;
pub use self::enter::{run, run_in_pod, shell};
pub(super) use self::points::Carried;
use self::sources::{forward_signals, watch_cli};
use self::warm::{abandon_saving, abandon_saving_at};
use crate::Event;
use crate::children::{Children, Role};
use crate::console;
use crate::container::Container;
use crate::life::{Action, GuestEnd, Life, LifeEvent, QemuEnd, Start, Trouble};
use crate::points::{Machine, requests};
use crate::problem::Problem;
use crate::qemu::disk_of_node;
use crate::qemu::monitor::Monitor;
use crate::rights::keep_only;
use crate::sessions::Sessions;
use crate::threads;
use bcvk_contract::control::Message;

struct Supervisor {
    container: Arc<Container>,
    dir: SharedPaths,
    spec: VmSpec,
    status: StatusWriter,
    sender: Sender<Event>,
    events: Receiver<Event>,
    children: Children,
    /// The files that the next start takes.
    files: Option<Files>,
    running: Option<Running>,
    /// The guest that is yet to become this VM.
    pending: Option<warm::Pending>,
    /// Reports of failed units that have come so far.
    failed_units: Vec<String>,
    /// Directories that a resumed guest will remember otherwise, relative to the image's root.
    aged: Vec<PathBuf>,
    checkpoints: points::Checkpoints,
    /// The request that is carried out.
    wanted: Option<points::Wanted>,
    _locks: [Lock; 2],
}

/// Everything that exists once QEMU does.
struct Running {
    qemu: u32,
    monitor: Monitor,
    /// The user's own way in, unless it is the image's.
    sessions: Option<Sessions>,
    /// The parts that a checkpoint saves, if the VM has bcvk's own way in.
    machine: Option<Arc<Machine>>,
    /// True once the guest has the keys of this VM, and not those that it was saved with.
    has_keys: bool,
    console: console::Console,
    /// Threads that carry the output of the VM's other ports.
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
            container: Arc::new(container),
            dir,
            spec,
            status,
            sender,
            events,
            children: Children::default(),
            files: None,
            running: None,
            pending: None,
            failed_units: Vec::new(),
            aged: Vec::new(),
            checkpoints: points::Checkpoints::default(),
            wanted: None,
            _locks: locks,
        })
    }

    /// Carries out the VM's life; returns the container's exit code.
    fn live(&mut self) -> u8 {
        let (mut life, begun) = Life::begin(
            self.spec.purpose(),
            self.spec.reachable(),
            self.spec.lifetime,
            self.spec.snapshot.as_ref(),
        );
        let mut actions = VecDeque::from(match self.listen() {
            Ok(()) => begun,
            Err(problem) => life.on(LifeEvent::CannotBoot(problem), Instant::now()),
        });
        loop {
            while let Some(action) = actions.pop_front() {
                if let Action::Exit { code, drained } = action {
                    self.end(drained, code);
                    return code;
                }
                if let Some(event) = self.perform(action) {
                    actions.extend(life.on(event, Instant::now()));
                }
            }
            if let Some(event) = self.next(life.deadline()) {
                actions.extend(life.on(event, Instant::now()));
            }
        }
    }

    /// Starts to hear of signals and of the CLI's end.
    fn listen(&self) -> Result<(), Problem> {
        check_static()?;
        forward_signals(self.children.reaper(), self.sender.clone()).map_err(Problem::Signals)?;
        requests::serve(&self.dir.checkpoint_socket(), self.sender.clone())
            .map_err(Problem::Signals)?;
        if self.spec.lifetime == Lifetime::Cli {
            watch_cli(self.sender.clone());
        }
        Ok(())
    }

    /// Waits for the next event until `deadline`. Not every event is one of the VM's life.
    fn next(&mut self, deadline: Option<Instant>) -> Option<LifeEvent> {
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
            Ok(event) => self.hear(event),
            Err(RecvTimeoutError::Timeout) => Some(LifeEvent::Tick),
            Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is kept here"),
        }
    }

    /// Puts an event into the words of the VM's life, and keeps what comes with it.
    fn hear(&mut self, event: Event) -> Option<LifeEvent> {
        Some(match event {
            Event::Signal(signal) => {
                tracing::info!(signal, "asked to stop");
                LifeEvent::Stop
            }
            Event::CliGone => {
                tracing::info!("the command that this VM belongs to has ended");
                LifeEvent::CliGone
            }
            Event::Exited { pid, status } => return self.child_ended(pid, status),
            Event::Console(sign) => LifeEvent::Console(sign),
            Event::Control(message) => {
                if message == Message::Sessions {
                    self.begin_sessions();
                }
                if let Message::Failed(unit) = &message {
                    self.failed_units.push(unit.clone());
                }
                if let Message::Refused(why) = message {
                    return self.refused(&why);
                }
                LifeEvent::Control(message)
            }
            Event::Banner => LifeEvent::Banner,
            Event::Files(files) => {
                self.files = Some(*files);
                LifeEvent::Prepared
            }
            Event::Looked { looked, aged } => {
                self.aged = aged;
                LifeEvent::Looked(looked)
            }
            Event::Known { qemu } => {
                // A guest that was given up may have had it on its tongue.
                let running = self.running.as_mut().filter(|it| it.qemu == qemu)?;
                running.has_keys = true;
                self.begin_sessions();
                LifeEvent::Known
            }
            Event::Done(event) => event,
            Event::Asked(asked) => return self.asked(asked),
            Event::Carried(carried) => return self.carried(carried),
            Event::Panicked => panic!("work in the background has panicked"),
            Event::Warning(text) => LifeEvent::Warning(text),
            Event::Qmp(event) => match *event {
                qmp::Event::SHUTDOWN { data, .. } => LifeEvent::GuestEnded(match data.reason {
                    qmp::ShutdownCause::host_signal => GuestEnd::Signal,
                    qmp::ShutdownCause::guest_reset => GuestEnd::Reboot,
                    _ => GuestEnd::PowerOff,
                }),
                qmp::Event::BLOCK_IO_ERROR { data, .. } => {
                    let node = data.node_name.unwrap_or_default();
                    let disk = disk_of_node(&self.spec, &node);
                    let disk = disk.map_or("a disk".to_owned(), |name| format!("disk {name}"));
                    LifeEvent::HostFull { disk }
                }
                _ => return None,
            },
        })
    }

    fn child_ended(&mut self, pid: u32, status: ExitStatus) -> Option<LifeEvent> {
        let Some(child) = self.children.ended(pid) else {
            return self.children.have_left().then_some(LifeEvent::Cleared);
        };
        let how = child.how_it_ended(status);
        Some(match child.role {
            Role::Qemu => LifeEvent::QemuEnded(QemuEnd {
                success: status.success(),
                killed: status.signal() == Some(Signal::KILL.as_raw()),
                how,
            }),
            role @ Role::FileServer { .. } => LifeEvent::ServerEnded { role, how },
        })
    }

    /// Carries out an action; returns what is known of it at once.
    fn perform(&mut self, action: Action) -> Option<LifeEvent> {
        match action {
            Action::Look => self.look(),
            Action::UseSnapshot(snapshot) => {
                if !snapshot.is_some_and(|snapshot| snapshot.saves_a_boot()) {
                    abandon_saving();
                }
                self.spec.snapshot = snapshot;
            }
            Action::Prepare(Start::Boot) => self.prepare(),
            Action::Prepare(Start::Resume) => self.prepare_to_resume(),
            Action::Start(start) => return Some(self.start_all(start)),
            Action::GiveUpRights => give_up_capabilities(),
            Action::Save(stage) => self.save(stage),
            Action::AbandonSaving(stage) => self.abandon_saving(stage),
            Action::LetGoOn => self.let_go_on(),
            Action::CarryOut => self.carry_out(),
            Action::Decline => self.decline(),
            Action::Personalize => self.personalize(),
            Action::PressPowerButton => self.press_power_button(),
            Action::KillQemu => {
                if let Some(running) = &self.running {
                    self.children.kill(running.qemu);
                }
            }
            Action::Clear => {
                self.running = None;
                self.pending = None;
                self.children.kill_all();
                return self.children.have_left().then_some(LifeEvent::Cleared);
            }
            Action::RecordPhase(phase) => {
                self.record(|status| status.enter(phase));
            }
            Action::RecordFailure(trouble) => {
                let failure = self.failure(trouble);
                self.record(|status| status.fail(failure));
            }
            Action::RecordExecuted(code) => self.record(|status| status.executed(code)),
            Action::RecordResumed(stage) => {
                match stage {
                    // Its system is yet to start.
                    SnapshotStage::Early => abandon_saving_at(stage),
                    SnapshotStage::Ready => abandon_saving(),
                }
                self.record(|status| status.resumed(stage));
            }
            Action::RecordCold(why) => {
                tracing::info!(why, "no snapshot");
                self.record(|status| status.cold(&why));
            }
            Action::RecordDiffers(what) => {
                tracing::info!(what, "the snapshot is of another image");
                self.record(|status| status.differs(&what));
            }
            Action::Warn(text) => self.record(|status| status.warn(text)),
            // The loop ends with it.
            Action::Exit { .. } => {}
        }
        None
    }

    /// Agrees with the guest on a new conversation about sessions, because its program has started or
    /// has got the keys of this VM. A guest that is saved or resumed has them once it is [`LifeEvent::Known`].
    fn begin_sessions(&self) {
        if let Some(running) = self.running.as_ref().filter(|it| it.has_keys)
            && let Some(sessions) = &running.sessions
        {
            sessions.begin();
        }
    }

    fn press_power_button(&self) {
        if let Some(sessions) = self.running.as_ref().and_then(|it| it.sessions.as_ref()) {
            sessions.power_off();
        }
        let monitor = self.monitor();
        self.in_background(Rights::None, move || {
            Event::Done(match monitor.power_down() {
                Ok(()) => LifeEvent::Pressed,
                Err(error) => LifeEvent::NotPressed(error.to_string()),
            })
        });
    }

    /// Does work that may take its time. The VM's life goes on meanwhile, and may be over before the
    /// work is: it then ends with the container.
    fn in_background(&self, rights: Rights, work: impl FnOnce() -> Event + Send + 'static) {
        let events = self.sender.clone();
        let work = move || {
            let event = catch_unwind(AssertUnwindSafe(work)).unwrap_or(Event::Panicked);
            // Nobody listens to a VM that has ended.
            let _ = events.send(event);
        };
        match rights {
            Rights::Kept => threads::spawn_with_rights(work),
            Rights::None => drop(threads::spawn(work)),
        }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("QEMU was started")
    }

    fn monitor(&self) -> Monitor {
        self.running().monitor.clone()
    }

    /// Writes the last of the VM's output and status.
    fn end(&mut self, drained: bool, code: u8) {
        if let Some(running) = self.running.take_if(|_| drained) {
            running.console.drain();
            for carrier in running.carriers {
                // A panic there has been reported there.
                let _ = carrier.join();
            }
        }
        self.record(|status| status.exit(code));
    }

    /// A failure, with what can be seen of the VM now.
    fn failure(&self, trouble: Trouble) -> Failure {
        let refusals = match trouble.problem {
            Problem::Sshd => self.status.status().refusals(),
            _ => Vec::new(),
        };
        let failure = Failure::from(trouble.problem);
        Failure {
            phase: trouble.phase,
            causes: [failure.causes, trouble.how, refusals].concat(),
            failed_units: self.failed_units.clone(),
            console_tail: self
                .running
                .as_ref()
                .map(|running| running.console.tail.lines())
                .unwrap_or_default(),
            ..failure
        }
    }

    /// A status that cannot be written must not end the VM: its user may be at work in it.
    fn record(&mut self, write: impl FnOnce(&mut StatusWriter) -> io::Result<()>) {
        if let Err(error) = write(&mut self.status) {
            tracing::warn!(%error, "cannot write the status");
        }
    }
}

/// The rights of work in the background.
#[derive(Clone, Copy)]
enum Rights {
    /// The supervisor's own rights.
    Kept,
    /// None.
    None,
}

/// All that takes rights has been started. What is left is to end it: QEMU is another user's.
fn give_up_capabilities() {
    if let Err(error) = keep_only(CapabilitySet::KILL) {
        tracing::warn!(%error, "the supervisor keeps its capabilities");
    }
}
