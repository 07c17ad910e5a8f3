//! The life of a VM as a state machine: events go in, actions come out.
//!
//! Nothing here waits, reads a clock or touches a process, so that a test can run through every order
//! of events. [`run`](super::run) carries the actions out and adds no decision of its own.

mod alive;
mod ending;
mod event;
mod held;
mod looking;
mod saving;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::mem;
use std::time::{Duration, Instant};

use alive::{Alive, Step};
pub(super) use event::{Action, GuestEnd, LifeEvent, Looked, QemuEnd, Saves, Start, Trouble};

use crate::console::Sign;
use crate::problem::Problem;
use bcvk_contract::control::Message;
use bcvk_contract::exit;
use bcvk_contract::spec::{Lifetime, Otherwise, Purpose, Reachable, Snapshot, SnapshotStage};
use bcvk_contract::status::{FailureKind, Phase};

/// Time for a guest to power off before QEMU is killed. Below the `podman stop` time-out
/// ([`bcvk_contract::limits::STOP_TIMEOUT_SECONDS`]), so that the end is ours and has a reason.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(25);

/// Pause between two presses of the power button. The first is lost on a guest whose logind does not
/// listen yet, and one that is shutting down ignores the rest.
const PRESS_AGAIN: Duration = Duration::from_secs(1);

/// Time for the failed units' report to follow the news of a failure.
const REPORT_GRACE: Duration = Duration::from_secs(5);

/// Time for a service that failed to come up after all: systemd starts it again, five times by
/// default.
const RESTART_GRACE: Duration = Duration::from_secs(20);

/// Time in which QEMU's end explains that of a file server, or the agent's silence.
const QEMU_FOLLOWS: Duration = Duration::from_millis(200);

/// Time for sshd's banner to come after the system is up. An emulated guest is busy then.
const BANNER_GRACE: Duration = Duration::from_secs(90);

/// Time for an attempt to resume. The guest's memory is read from a disk, which may be slow; past
/// this, booting would have been faster.
const RESUMING: Duration = Duration::from_secs(180);

/// Time for saving a guest, which stands still meanwhile.
const SAVING: Duration = Duration::from_secs(120);

/// Time for a guest to become its VM. An emulated one may have a part of a processor only.
const PERSONALIZING: Duration = Duration::from_secs(120);

/// Time for saving a guest that is in use, or for taking it back. Most of it runs meanwhile, and its
/// memory is written to a disk, which may be slow.
const HOLDING: Duration = Duration::from_secs(300);

/// Time for processes that were killed to go.
const GONE: Duration = Duration::from_secs(5);

/// The life of one VM.
#[derive(Debug)]
pub(super) struct Life {
    purpose: Purpose,
    /// The sign that sessions are what their user expects.
    reachable: Reachable,
    lifetime: Lifetime,
    snapshot: Option<Snapshot>,
    stage: Stage,
    /// The phase that was recorded last.
    phase: Phase,
    /// Set once the guest has said that it waits before it mounts its image.
    has_waited: bool,
    /// Set once the VM has been ready.
    was_ready: bool,
    /// Exit code of the commands, once they have ended.
    executed: Option<u8>,
    /// Kind of the failure that was recorded.
    failure: Option<FailureKind>,
    /// Actions that are handed out at the end of the present step.
    actions: Vec<Action>,
}

/// The part of its life that a VM is in.
#[derive(Debug)]
enum Stage {
    /// The image is looked at. No process runs.
    Looking,
    /// Files are made. No process runs.
    Preparing(Start),
    /// Processes are started.
    Starting(Start),
    /// QEMU reads its snapshot, and the guest becomes this VM.
    Resuming {
        until: Instant,
        /// Exit code of commands that ended before the news that they had begun.
        executed: Option<u8>,
        /// Stages at which a guest is saved whose system has yet to start.
        saves: Saves,
    },
    /// All processes have been killed.
    Clearing { until: Instant, next: Next },
    /// QEMU runs the guest.
    Alive(Alive),
    /// QEMU has been killed.
    Killed { until: Instant, why: Why },
    /// The VM has ended.
    Ended,
}

/// The stage that follows once all processes have gone.
#[derive(Debug)]
enum Next {
    /// The VM boots.
    Boot,
    /// It ends, because it was only to be resumed.
    Fail(String),
    /// It ends, because somebody wants that.
    Exit,
}

/// The reason for killing QEMU.
#[derive(Debug)]
enum Why {
    /// A failure, which has been recorded.
    Failed,
    /// Somebody wants the end at once, or there is no guest yet that could power off.
    AtOnce,
    /// The guest did not power off; this is told to the user.
    Unwilling(String),
}

impl Life {
    /// Begins the life of a VM.
    pub(super) fn begin(
        purpose: Purpose,
        reachable: Reachable,
        lifetime: Lifetime,
        snapshot: Option<&Snapshot>,
    ) -> (Self, Vec<Action>) {
        let (stage, action) = match snapshot {
            None => (Stage::Preparing(Start::Boot), Action::Prepare(Start::Boot)),
            Some(_) => (Stage::Looking, Action::Look),
        };
        let life = Self {
            purpose,
            reachable,
            lifetime,
            snapshot: snapshot.copied(),
            stage,
            phase: Phase::Preparing,
            has_waited: false,
            was_ready: false,
            executed: None,
            failure: None,
            actions: Vec::new(),
        };
        (life, vec![action])
    }

    /// Reacts to an event. An event that was waiting comes before a deadline that has passed: it may
    /// be what the deadline was for.
    pub(super) fn on(&mut self, event: LifeEvent, now: Instant) -> Vec<Action> {
        let stage = mem::replace(&mut self.stage, Stage::Ended);
        self.stage = match (stage, event) {
            (Stage::Ended, _) => Stage::Ended,
            (stage, LifeEvent::Tick) => stage,
            (stage, LifeEvent::Warning(text)) => {
                self.actions.push(Action::Warn(text));
                stage
            }
            (stage @ Stage::Alive(_), LifeEvent::Hold) => self.advance(stage, LifeEvent::Hold, now),
            (stage, LifeEvent::Hold) => {
                self.actions.push(Action::Decline);
                stage
            }
            (stage, event) => self.advance(stage, event, now),
        };
        let stage = mem::replace(&mut self.stage, Stage::Ended);
        self.stage = self.expire(stage, now);
        mem::take(&mut self.actions)
    }

    fn advance(&mut self, stage: Stage, event: LifeEvent, now: Instant) -> Stage {
        match (stage, event) {
            (Stage::Ended, _) => Stage::Ended,
            (Stage::Looking, event) => self.while_looking(event),
            (Stage::Preparing(start), event) => self.while_preparing(start, event, now),
            (Stage::Starting(start), event) => self.while_starting(start, event, now),
            (
                Stage::Resuming {
                    until,
                    executed,
                    saves,
                },
                event,
            ) => self.while_resuming((until, executed, saves), event, now),
            (Stage::Clearing { until, next }, event) => self.while_clearing(until, next, event),
            (Stage::Alive(alive), event) => self.while_alive(alive, event, now),
            (Stage::Killed { until, why }, event) => self.while_killed(until, why, event),
        }
    }

    /// The time at which the next event is due, if no other comes before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Looking | Stage::Preparing(_) | Stage::Starting(_) | Stage::Ended => None,
            Stage::Resuming { until, .. }
            | Stage::Clearing { until, .. }
            | Stage::Killed { until, .. } => Some(*until),
            Stage::Alive(alive) => alive.deadline(),
        }
    }

    fn expire(&mut self, stage: Stage, now: Instant) -> Stage {
        match stage {
            Stage::Resuming { until, .. } if until <= now => {
                let limit = RESUMING.as_secs();
                self.give_up_resuming(format!("it takes more than {limit} s"), now)
            }
            Stage::Clearing { until, next } if until <= now => self.cleared(next),
            Stage::Killed { until, why } if until <= now => self.exit_killed(why, false),
            Stage::Alive(alive) => self.expire_alive(alive, now),
            stage => stage,
        }
    }

    fn prepare(&mut self, start: Start) -> Stage {
        self.actions.push(Action::Prepare(start));
        Stage::Preparing(start)
    }

    fn while_preparing(&mut self, start: Start, event: LifeEvent, now: Instant) -> Stage {
        match event {
            LifeEvent::Prepared => {
                self.actions.push(Action::Start(start));
                Stage::Starting(start)
            }
            LifeEvent::NotResumed(why) if start == Start::Resume => self.give_up_resuming(why, now),
            LifeEvent::CannotBoot(problem) => self.fail_before(problem),
            LifeEvent::Stop => self.stop_before(),
            LifeEvent::CliGone => self.exit(false, false),
            // Late news of an attempt to resume.
            _ => Stage::Preparing(start),
        }
    }

    fn while_starting(&mut self, start: Start, event: LifeEvent, now: Instant) -> Stage {
        match (event, start) {
            (LifeEvent::Started { saves }, Start::Boot) => {
                self.enter(Phase::Qemu);
                self.has_waited = false;
                self.actions.push(Action::GiveUpRights);
                Stage::Alive(Alive::coming(Step::Booting { saves }))
            }
            (LifeEvent::Started { saves }, Start::Resume) => Stage::Resuming {
                until: now + RESUMING,
                executed: None,
                saves,
            },
            (LifeEvent::NotResumed(why), Start::Resume) => self.give_up_resuming(why, now),
            (LifeEvent::CannotBoot(problem), _) => {
                let trouble = self.trouble(problem);
                self.record_failure(trouble);
                self.clear(Next::Exit, now)
            }
            (LifeEvent::Stop, _) => {
                self.enter(Phase::Stopping);
                self.clear(Next::Exit, now)
            }
            (LifeEvent::CliGone, _) => self.clear(Next::Exit, now),
            (_, start) => Stage::Starting(start),
        }
    }

    fn while_resuming(
        &mut self,
        (until, executed, saves): (Instant, Option<u8>, Saves),
        event: LifeEvent,
        now: Instant,
    ) -> Stage {
        let resuming = |executed| Stage::Resuming {
            until,
            executed,
            saves,
        };
        match event {
            LifeEvent::Known => {
                self.enter(Phase::Qemu);
                self.enter(Phase::Reachable);
                resuming(executed)
            }
            LifeEvent::Resumed => self.resumed(executed, saves, now),
            LifeEvent::Control(Message::Executed(code)) => resuming(executed.or(Some(code))),
            LifeEvent::NotResumed(why) => self.give_up_resuming(why, now),
            LifeEvent::Console(Sign::Panic(why)) => {
                self.give_up_resuming(format!("the guest's kernel panicked: {why}"), now)
            }
            LifeEvent::ServerEnded { role, how } => {
                self.give_up_resuming(format!("{role} ended: {}", how.join("; ")), now)
            }
            LifeEvent::HostFull { disk } => {
                self.give_up_resuming(format!("the host has no space left for {disk}"), now)
            }
            LifeEvent::QemuEnded(end) => {
                self.give_up_resuming(format!("QEMU ended: {}", end.how.join("; ")), now)
            }
            LifeEvent::Stop => {
                self.enter(Phase::Stopping);
                self.clear(Next::Exit, now)
            }
            LifeEvent::CliGone => self.clear(Next::Exit, now),
            _ => resuming(executed),
        }
    }

    /// The guest runs where it was saved. One whose system has yet to start waits to be told to go on.
    fn resumed(&mut self, executed: Option<u8>, saves: Saves, now: Instant) -> Stage {
        let stage = self.snapshot.as_ref().and_then(Snapshot::stage);
        let stage = stage.unwrap_or(SnapshotStage::Ready);
        self.enter(Phase::Qemu);
        self.actions
            .extend([Action::RecordResumed(stage), Action::GiveUpRights]);
        match stage {
            SnapshotStage::Ready => self.ready(Alive::ready(), executed, now),
            SnapshotStage::Early => {
                self.actions.push(Action::LetGoOn);
                Stage::Alive(Alive::coming(Step::Booting { saves }))
            }
        }
    }

    /// Ends what an attempt to resume has started, so that the VM can be booted instead: the ports
    /// that QEMU had are wanted again.
    fn give_up_resuming(&mut self, why: String, now: Instant) -> Stage {
        self.actions.push(Action::RecordCold(why.clone()));
        let next = match self.otherwise() {
            Some(Otherwise::Fail) => Next::Fail(why),
            Some(Otherwise::Boot | Otherwise::Save) | None => Next::Boot,
        };
        self.clear(next, now)
    }

    fn clear(&mut self, next: Next, now: Instant) -> Stage {
        self.actions.push(Action::Clear);
        let until = now + GONE;
        Stage::Clearing { until, next }
    }

    fn while_clearing(&mut self, until: Instant, next: Next, event: LifeEvent) -> Stage {
        match (event, next) {
            (LifeEvent::Cleared, next) => self.cleared(next),
            (LifeEvent::Stop, Next::Boot | Next::Exit) => {
                self.enter(Phase::Stopping);
                let next = Next::Exit;
                Stage::Clearing { until, next }
            }
            (LifeEvent::CliGone, Next::Boot) => {
                let next = Next::Exit;
                Stage::Clearing { until, next }
            }
            (_, next) => Stage::Clearing { until, next },
        }
    }

    fn cleared(&mut self, next: Next) -> Stage {
        match next {
            Next::Boot => self.prepare(Start::Boot),
            Next::Fail(why) => self.fail_before(Problem::Resume(why.into())),
            Next::Exit => self.exit(true, false),
        }
    }

    fn while_killed(&mut self, until: Instant, why: Why, event: LifeEvent) -> Stage {
        match event {
            // The guest was just in time.
            LifeEvent::QemuEnded(end) if end.success => self.exit(false, true),
            LifeEvent::QemuEnded(_) => self.exit_killed(why, true),
            LifeEvent::Control(Message::Executed(code)) => {
                self.record_executed(code);
                Stage::Killed { until, why }
            }
            _ => Stage::Killed { until, why },
        }
    }

    fn exit_killed(&mut self, why: Why, drained: bool) -> Stage {
        if let Why::Unwilling(text) = why {
            self.actions.push(Action::Warn(text));
        }
        self.exit(true, drained)
    }

    /// Ends a VM of which no process runs, on request.
    fn stop_before(&mut self) -> Stage {
        self.enter(Phase::Stopping);
        self.exit(false, false)
    }

    /// Ends a VM of which no process runs, because of `problem`.
    fn fail_before(&mut self, problem: Problem) -> Stage {
        let trouble = self.trouble(problem);
        self.record_failure(trouble);
        self.exit(false, false)
    }

    fn exit(&mut self, killed: bool, drained: bool) -> Stage {
        let code = match (self.failure, self.purpose) {
            (Some(FailureKind::Guest), _) if self.was_ready => exit::FAILED,
            (Some(FailureKind::Guest), _) => exit::NOT_READY,
            (Some(FailureKind::Host | FailureKind::Image), _) => exit::HOST,
            (None, Purpose::Execute) => self.executed.unwrap_or(exit::STOPPED),
            (None, Purpose::Login | Purpose::Boot) if killed => exit::KILLED,
            (None, Purpose::Login | Purpose::Boot) => 0,
        };
        self.actions.push(Action::Exit { code, drained });
        Stage::Ended
    }

    /// Records a phase, unless the VM has come further: news comes from several places, and a VM does
    /// not boot backwards.
    fn enter(&mut self, phase: Phase) {
        if phase > self.phase {
            self.phase = phase;
            self.actions.push(Action::RecordPhase(phase));
        }
    }

    fn trouble(&self, problem: Problem) -> Trouble {
        Trouble {
            problem,
            how: Vec::new(),
            phase: self.phase,
        }
    }

    /// Records the failure that ends the VM. The first is the cause; later ones follow from it.
    fn record_failure(&mut self, trouble: Trouble) {
        if self.failure.is_none() {
            self.failure = Some(trouble.problem.kind());
            self.actions.push(Action::RecordFailure(trouble));
        }
    }

    fn record_executed(&mut self, code: u8) {
        if self.purpose == Purpose::Execute && self.executed.is_none() {
            self.executed = Some(code);
            self.actions.push(Action::RecordExecuted(code));
        }
    }
}
