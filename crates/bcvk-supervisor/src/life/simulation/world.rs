//! The world in which simulated lives take place: children that end, threads that answer late, a guest
//! that says what it likes.

use std::time::{Duration, Instant};

use super::snapshots::snapshots;
use super::word::{Word, event};
use crate::children::Role;
use crate::life::alive::Doing;
use crate::life::*;

/// Time in which a VM that is asked to stop has ended, whatever its guest does: the grace period, and
/// that for killed processes.
const STOPPED: Duration = Duration::from_secs(31);

/// Something that the world may do, if it can at the time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Move {
    Wait(u32),
    Stop,
    CliGone,
    /// Work in the background that was begun this long ago comes to its end, well or not.
    Answer(usize, bool),
    /// Commands end with this exit code.
    Executed(u8),
    Guest(Word),
    ServerEnds,
    HostFull,
    /// The user asks for a checkpoint or a reset.
    Ask,
    GuestEnds(GuestEnd),
    QemuEnds {
        success: bool,
    },
    Warning,
}

/// Work that was begun and has yet to be answered.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Work {
    Look,
    Prepare(Start),
    Resume,
    Save,
    Personalize,
    Press,
    CarryOut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Qemu {
    None,
    Running,
    /// It has been killed and not been collected.
    Killed,
    Ended,
}

pub(super) struct World {
    pub(super) life: Life,
    pub(super) now: Instant,
    qemu: Qemu,
    /// Set if QEMU ended by our signal.
    died_of_us: bool,
    guest_ended: bool,
    work: Vec<Work>,
    /// Time of the end of a file server that nothing explains yet.
    server_ended: Option<Instant>,
    asked: bool,
    /// Set while a request is neither carried out nor refused.
    requested: bool,
    phases: Vec<Phase>,
    failure: Option<FailureKind>,
    executed: Option<u8>,
    pub(super) exit: Option<u8>,
    start_fails: bool,
    saves: Saves,
    /// Set while the guest waits before it mounts its image: it says nothing more then.
    waits: bool,
    pub(super) events: u64,
}

impl World {
    pub(super) fn new(
        kind: (Purpose, Reachable, Lifetime),
        snapshot: usize,
        start_fails: bool,
        saves: Saves,
    ) -> Self {
        let (purpose, reachable, lifetime) = kind;
        let (life, actions) =
            Life::begin(purpose, reachable, lifetime, snapshots()[snapshot].as_ref());
        let mut world = Self {
            life,
            now: Instant::now(),
            qemu: Qemu::None,
            died_of_us: false,
            guest_ended: false,
            work: Vec::new(),
            server_ended: None,
            asked: false,
            requested: false,
            phases: Vec::new(),
            failure: None,
            executed: None,
            exit: None,
            start_fails,
            saves,
            waits: false,
            events: 0,
        };
        world.perform(actions);
        world
    }

    fn tell(&mut self, event: LifeEvent) {
        self.events += 1;
        let explained = matches!(event, LifeEvent::GuestEnded(_) | LifeEvent::QemuEnded(_));
        if explained {
            self.server_ended = None;
        }
        let at_once = match event {
            LifeEvent::CliGone => true,
            LifeEvent::Stop => self.stands_still(),
            _ => false,
        };
        let running = self.qemu == Qemu::Running;
        let actions = self.life.on(event, self.now);
        self.perform(actions);
        assert!(!(self.waits && self.boots()), "a guest waits for nobody");
        assert!(
            !(at_once && running && self.qemu == Qemu::Running && !self.guest_ended),
            "it is killed at once"
        );
    }

    /// Returns true if the guest runs on its way to being up.
    fn boots(&self) -> bool {
        match &self.life.stage {
            Stage::Alive(alive) => matches!(
                alive.doing,
                Doing::Coming {
                    step: Step::Booting { .. },
                    ..
                }
            ),
            _ => false,
        }
    }

    /// Returns true if the guest could not hear the power button.
    fn stands_still(&self) -> bool {
        match &self.life.stage {
            Stage::Resuming { .. } => true,
            Stage::Alive(alive) => matches!(
                alive.doing,
                Doing::Held { .. }
                    | Doing::Coming {
                        step: Step::SavingEarly { .. } | Step::Saving { .. },
                        ..
                    }
            ),
            _ => false,
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            assert_eq!(self.exit, None, "{action:?} after the end");
            match action {
                Action::Look => self.work.push(Work::Look),
                Action::Prepare(start) => {
                    assert!(self.qemu != Qemu::Running, "two guests");
                    self.qemu = Qemu::None;
                    self.died_of_us = false;
                    self.work.push(Work::Prepare(start));
                }
                Action::Start(start) => return self.start(start),
                Action::Save(_) => self.work.push(Work::Save),
                Action::LetGoOn => self.waits = false,
                Action::Personalize => self.work.push(Work::Personalize),
                Action::PressPowerButton => {
                    assert!(!self.work.contains(&Work::Press), "one press at a time");
                    self.work.push(Work::Press);
                }
                Action::CarryOut => {
                    assert!(self.phases.contains(&Phase::Ready), "it is ready");
                    assert!(!self.work.contains(&Work::CarryOut), "one at a time");
                    assert!(mem::take(&mut self.requested), "somebody asked");
                    self.work.push(Work::CarryOut);
                }
                Action::Decline => assert!(mem::take(&mut self.requested), "somebody asked"),
                Action::KillQemu => self.kill(),
                Action::Clear => {
                    self.kill();
                    if self.qemu != Qemu::Killed {
                        return self.tell(LifeEvent::Cleared);
                    }
                }
                Action::RecordPhase(phase) => {
                    assert!(self.phases.last().is_none_or(|last| *last < phase));
                    self.phases.push(phase);
                }
                Action::RecordFailure(trouble) => {
                    assert_eq!(self.failure, None, "one reason");
                    let kind = trouble.problem.kind();
                    assert!(
                        kind == FailureKind::Host || self.server_ended.is_none(),
                        "{trouble:?} follows from the end of a file server"
                    );
                    self.failure = Some(kind);
                }
                Action::RecordExecuted(code) => {
                    assert_eq!(self.executed.replace(code), None);
                }
                Action::Exit { code, drained } => {
                    assert!(
                        !drained || self.qemu == Qemu::Ended,
                        "it would wait for QEMU"
                    );
                    self.exit = Some(code);
                }
                Action::UseSnapshot(_)
                | Action::RecordDiffers(_)
                | Action::GiveUpRights
                | Action::AbandonSaving(_)
                | Action::RecordResumed(_)
                | Action::RecordCold(_)
                | Action::Warn(_) => {}
            }
        }
    }

    fn start(&mut self, start: Start) {
        self.server_ended = None;
        self.guest_ended = false;
        self.died_of_us = false;
        self.qemu = Qemu::Running;
        self.waits = false;
        match start {
            Start::Boot if self.start_fails => {
                let error = std::io::Error::other("no QEMU");
                self.tell(LifeEvent::CannotBoot(Problem::StartQemu(error)));
            }
            Start::Boot => self.tell(LifeEvent::Started { saves: self.saves }),
            Start::Resume => {
                self.work.push(Work::Resume);
                let early = self.life.snapshot.as_ref().and_then(Snapshot::stage);
                let saves = Saves {
                    early: false,
                    ready: self.saves.ready && early == Some(SnapshotStage::Early),
                };
                self.tell(LifeEvent::Started { saves });
            }
        }
    }

    fn kill(&mut self) {
        if self.qemu == Qemu::Running {
            self.qemu = Qemu::Killed;
        }
    }

    fn end_qemu(&mut self, success: bool) {
        let cleared = matches!(self.life.stage, Stage::Clearing { .. });
        self.died_of_us = self.qemu == Qemu::Killed && !success;
        self.qemu = Qemu::Ended;
        if cleared {
            return self.tell(LifeEvent::Cleared);
        }
        self.tell(LifeEvent::QemuEnded(QemuEnd {
            success,
            killed: self.died_of_us,
            how: vec!["it ended".to_owned()],
        }));
    }

    fn answer(&mut self, index: usize, well: bool) {
        if self.work.is_empty() {
            return;
        }
        let work = self.work.remove(index % self.work.len());
        let why = || "it did not work".to_owned();
        // A guest that has its keys may fail after that.
        if matches!(work, Work::Resume | Work::Personalize) && (well || index.is_multiple_of(2)) {
            self.tell(LifeEvent::Known);
        }
        self.tell(match (work, well) {
            (Work::Look, true) => LifeEvent::Looked(Looked::Fit),
            (Work::Look, false) if index.is_multiple_of(2) => {
                LifeEvent::Looked(Looked::Obstacle(why()))
            }
            (Work::Look, false) => LifeEvent::Looked(Looked::Differs(why())),
            (Work::Prepare(_), true) => LifeEvent::Prepared,
            (Work::Prepare(Start::Boot), false) => {
                LifeEvent::CannotBoot(Problem::NoSystemd("image".to_owned()))
            }
            (Work::Prepare(Start::Resume) | Work::Resume, false) => LifeEvent::NotResumed(why()),
            (Work::Resume, true) => LifeEvent::Resumed,
            (Work::Save, true) => LifeEvent::Saved,
            (Work::Save, false) => LifeEvent::NotSaved(why()),
            (Work::Personalize, true) => LifeEvent::Personalized,
            (Work::Personalize, false) => LifeEvent::NotPersonalized(why()),
            (Work::CarryOut, true) => LifeEvent::LetGo,
            // It was not done, or the guest is lost.
            (Work::CarryOut, false) if index.is_multiple_of(2) => LifeEvent::LetGo,
            (Work::CarryOut, false) => LifeEvent::Lost(why()),
            (Work::Press, true) => LifeEvent::Pressed,
            (Work::Press, false) => LifeEvent::NotPressed(why()),
        });
    }

    /// Lets `time` pass, but for what the life wakes up for.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while self.exit.is_none()
            && let Some(deadline) = self.life.deadline()
            && deadline <= until
        {
            self.now = self.now.max(deadline);
            if self
                .server_ended
                .is_some_and(|at| self.now >= at + QEMU_FOLLOWS)
            {
                self.server_ended = None;
            }
            self.tell(LifeEvent::Tick);
        }
        self.now = until;
    }

    pub(super) fn step(&mut self, next: Move) {
        let alive = self.qemu == Qemu::Running;
        match next {
            Move::Wait(milliseconds) => self.wait(Duration::from_millis(milliseconds.into())),
            Move::Stop => {
                self.asked = true;
                self.tell(LifeEvent::Stop);
            }
            Move::CliGone => {
                self.asked = true;
                self.tell(LifeEvent::CliGone);
            }
            Move::Answer(index, well) => self.answer(index, well),
            Move::Executed(code) => {
                self.tell(LifeEvent::Control(Message::Executed(code)));
            }
            Move::Guest(Word::Unmounted) => {
                // It says so once.
                self.waits = self.boots() && !self.life.has_waited;
                self.tell(LifeEvent::Control(Message::Unmounted));
            }
            Move::Guest(word) => self.tell(event(word)),
            Move::ServerEnds if alive && !self.guest_ended => {
                let stage = matches!(self.life.stage, Stage::Alive(_));
                self.server_ended = stage.then_some(self.server_ended.unwrap_or(self.now));
                let role = Role::FileServer {
                    tag: "tag".to_owned(),
                    serves: "the image".to_owned(),
                };
                let how = vec!["killed".to_owned()];
                self.tell(LifeEvent::ServerEnded { role, how });
            }
            Move::HostFull if alive && !self.guest_ended => {
                let disk = "disk bcvk-var".to_owned();
                self.tell(LifeEvent::HostFull { disk });
            }
            // The supervisor asks for one at a time, and no more of a VM that has ended.
            Move::Ask if !self.work.contains(&Work::CarryOut) => {
                self.requested = true;
                self.tell(LifeEvent::Hold);
                assert!(!self.requested, "it is carried out or refused at once");
            }
            Move::GuestEnds(end) if alive => {
                self.guest_ended = true;
                self.tell(LifeEvent::GuestEnded(end));
            }
            Move::QemuEnds { success } if self.qemu != Qemu::None && self.qemu != Qemu::Ended => {
                self.end_qemu(success);
            }
            Move::Warning => self.tell(LifeEvent::Warning("listen".to_owned())),
            Move::Ask
            | Move::ServerEnds
            | Move::HostFull
            | Move::GuestEnds(_)
            | Move::QemuEnds { .. } => {}
        }
    }

    /// Asks the VM to stop, and does nothing more for it but to collect what is killed.
    pub(super) fn finish(&mut self, collected: bool) {
        if self.exit.is_some() {
            return;
        }
        self.step(Move::Stop);
        let asked = self.now;
        while self.exit.is_none() {
            if self.qemu == Qemu::Killed && collected {
                self.end_qemu(false);
            } else {
                let deadline = self.life.deadline();
                let deadline = deadline.expect("it waits for something that may never come");
                self.wait(deadline.saturating_duration_since(self.now));
            }
        }
        assert!(self.now <= asked + STOPPED, "it ends in time");
    }

    pub(super) fn judge(&self) {
        let code = self.exit.expect("it ended");
        assert_ne!(self.qemu, Qemu::Running, "QEMU is left");
        let execute = self.life.purpose == Purpose::Execute;
        match self.failure {
            Some(FailureKind::Guest) if self.phases.contains(&Phase::Ready) => assert_eq!(code, 1),
            Some(FailureKind::Guest) => assert_eq!(code, 126),
            Some(_) => assert_eq!(code, 125),
            None if execute => {
                assert_eq!(code, self.executed.unwrap_or(143));
                assert!(self.executed.is_some() || self.asked, "it has a reason");
            }
            None => {
                let ended = self.qemu == Qemu::Ended || self.guest_ended;
                let detached = self.life.lifetime == Lifetime::Detached;
                let by_itself = ended && (detached || self.phases.contains(&Phase::Ready));
                assert!(self.asked || by_itself, "it has a reason");
                let left = self.qemu == Qemu::Killed;
                assert!(
                    code != 0 || !(self.died_of_us || left),
                    "killed, not shut down"
                );
            }
        }
    }
}
