//! The part of a VM's life in which QEMU runs its guest.

use std::time::Instant;

use bcvk_contract::spec::{Purpose, Reachable, SnapshotStage};
use bcvk_contract::status::Phase;

use super::event::Pending;
use super::{
    Action, BANNER_GRACE, GuestEnd, HOLDING, Life, LifeEvent, PERSONALIZING, PRESS_AGAIN,
    QEMU_FOLLOWS, REPORT_GRACE, RESTART_GRACE, SAVING, SHUTDOWN_GRACE, Saves, Stage, Trouble, Why,
};
use crate::console::Sign;
use crate::problem::Problem;
use bcvk_contract::control::Message;

/// A VM whose QEMU runs.
#[derive(Debug)]
pub(super) struct Alive {
    pub(super) doing: Doing,
    /// The end of a file server, which QEMU's own may still explain.
    pub(super) server: Option<Pending>,
    /// The end of the guest, which QEMU's follows.
    pub(super) leaving: Option<Leaving>,
}

#[derive(Debug)]
pub(super) enum Doing {
    /// The guest is on its way to being ready.
    Coming { step: Step, signs: Signs },
    /// The guest is what its user wants.
    Ready,
    /// It is saved as a checkpoint, or taken back to one.
    Held { until: Instant },
    /// The guest was asked to power off.
    PoweringOff { until: Instant, press: Press },
}

/// A stretch of the way to being ready.
#[derive(Debug)]
pub(super) enum Step {
    /// It boots.
    Booting {
        /// Stages at which it is saved.
        saves: Saves,
    },
    /// It stands still, or waits, before it mounts its image, and is saved.
    SavingEarly {
        until: Instant,
        /// Stages at which it is saved after that.
        saves: Saves,
    },
    /// It stands still and is saved.
    Saving { until: Instant },
    /// It becomes this VM.
    Personalizing {
        until: Instant,
        /// Exit code of commands that ended before the news that they had begun.
        executed: Option<u8>,
    },
}

/// Signs of failure of a guest that is not ready yet.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// Told if nothing better comes in time.
    pending: Option<Pending>,
    /// Set if the boot has ended in emergency mode.
    pub(super) emergency: bool,
    /// Set if the failed units have been named.
    reported: bool,
}

/// The press of the power button that comes next.
#[derive(Debug)]
pub(super) enum Press {
    /// None, before QEMU has answered to the last.
    Asked,
    /// One at this time.
    At(Instant),
    /// None, because QEMU has not taken the last. It is killed at this time, unless its own end was
    /// the reason.
    Refused(Instant, String),
}

/// An end of the guest that QEMU has told of, and the limit for its own.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) end: GuestEnd,
    pub(super) until: Instant,
}

impl Alive {
    pub(super) fn coming(step: Step) -> Self {
        let signs = Signs::default();
        Self::doing(Doing::Coming { step, signs })
    }

    pub(super) const fn ready() -> Self {
        Self::doing(Doing::Ready)
    }

    const fn doing(doing: Doing) -> Self {
        Self {
            doing,
            server: None,
            leaving: None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let (first, second) = match &self.doing {
            Doing::Coming { step, signs } => (
                step.deadline(),
                signs.pending.as_ref().map(|pending| pending.until),
            ),
            Doing::Ready => (None, None),
            Doing::Held { until } => (Some(*until), None),
            Doing::PoweringOff { until, press } => match press {
                Press::Asked => (Some(*until), None),
                Press::At(at) | Press::Refused(at, _) => (Some(*until), Some(*at)),
            },
        };
        let server = self.server.as_ref().map(|pending| pending.until);
        let leaving = self.leaving.as_ref().map(|leaving| leaving.until);
        [first, second, server, leaving].into_iter().flatten().min()
    }
}

impl Step {
    const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Booting { .. } => None,
            Self::SavingEarly { until, .. }
            | Self::Saving { until }
            | Self::Personalizing { until, .. } => Some(*until),
        }
    }
}

impl Signs {
    /// Adds a sign. Of the guest's words, the later say more; the time is that of the earliest.
    fn add(&mut self, trouble: Trouble, until: Instant) {
        let until = match &self.pending {
            Some(known) => until.min(known.until),
            None => until,
        };
        self.pending = Some(Pending { trouble, until });
    }
}

/// Returns true if the event is the sign.
fn shows(sign: Reachable, event: &LifeEvent) -> bool {
    match sign {
        Reachable::Banner => matches!(event, LifeEvent::Banner),
        Reachable::Answers => matches!(event, LifeEvent::Control(Message::Answers)),
        Reachable::Sessions => matches!(event, LifeEvent::Control(Message::Sessions)),
    }
}

impl Life {
    pub(super) fn while_alive(&mut self, alive: Alive, event: LifeEvent, now: Instant) -> Stage {
        let (mut alive, event) = match self.while_ready(alive, event, now) {
            Ok(stage) => return stage,
            Err(rest) => rest,
        };
        match event {
            LifeEvent::Stop => return self.stop(alive, now),
            LifeEvent::CliGone => return self.kill(Why::AtOnce, now),
            LifeEvent::QemuEnded(end) => return self.qemu_ended(&alive, end),
            LifeEvent::GuestEnded(end) => {
                // A file server that ended shortly before this did so because of it.
                alive.server = None;
                alive.leaving.get_or_insert(Leaving {
                    end,
                    until: now + SHUTDOWN_GRACE,
                });
            }
            // A file server ends when QEMU disconnects; before that, the guest hangs without it, in
            // its shutdown as well.
            LifeEvent::ServerEnded { role, how } => {
                if alive.leaving.is_none() && alive.server.is_none() {
                    let trouble = Trouble {
                        how,
                        ..self.trouble(Problem::FileServerEnded(role))
                    };
                    let until = now + QEMU_FOLLOWS;
                    alive.server = Some(Pending { trouble, until });
                }
            }
            LifeEvent::Pressed => {
                if let Doing::PoweringOff { press, .. } = &mut alive.doing {
                    *press = Press::At(now + PRESS_AGAIN);
                }
            }
            LifeEvent::NotPressed(why) => {
                if let Doing::PoweringOff { press, .. } = &mut alive.doing {
                    *press = Press::Refused(now + QEMU_FOLLOWS, why);
                }
            }
            LifeEvent::Console(Sign::FirstByte) => self.enter(Phase::Kernel),
            LifeEvent::Control(Message::Initrd) => self.enter(Phase::Initrd),
            LifeEvent::Control(Message::Userspace) => self.enter(Phase::Userspace),
            LifeEvent::Console(Sign::Panic(why)) => {
                return self.fail(alive, Problem::Panic(why.into()), now);
            }
            LifeEvent::Control(Message::GaveUp(why)) => {
                return self.fail(alive, Problem::Root(why.into()), now);
            }
            // It stands still, and does not hear the power button.
            LifeEvent::HostFull { disk } if alive.leaving.is_none() => {
                return self.fail(alive, Problem::HostFull(disk), now);
            }
            LifeEvent::Control(Message::Executed(code)) => {
                return self.executed(alive, code, now);
            }
            // A guest that is saved has no keys yet for which anybody could know it.
            event @ LifeEvent::Control(Message::Sessions) if self.snapshot.is_none() => {
                self.enter(Phase::Reachable);
                return self.come(alive, event, now);
            }
            LifeEvent::Known => self.enter(Phase::Reachable),
            event => return self.come(alive, event, now),
        }
        Stage::Alive(alive)
    }

    /// Reacts to what only matters to a guest that is not ready yet. One that was has a user who sees
    /// for themselves.
    fn come(&mut self, alive: Alive, event: LifeEvent, now: Instant) -> Stage {
        let Alive {
            doing: Doing::Coming { step, mut signs },
            server,
            leaving,
        } = alive
        else {
            return Stage::Alive(alive);
        };
        let coming = |step, signs| Alive {
            doing: Doing::Coming { step, signs },
            server,
            leaving,
        };
        let step = match (event, step) {
            (LifeEvent::Control(Message::Failed(_)), step) => {
                signs.add(self.trouble(Problem::Services), now + RESTART_GRACE);
                step
            }
            (LifeEvent::Console(Sign::Emergency), step) => {
                signs.emergency = true;
                signs.add(self.trouble(Problem::Emergency), now + REPORT_GRACE);
                step
            }
            (LifeEvent::Control(Message::Reported), step) => {
                signs.reported = true;
                step
            }
            (event, Step::Booting { saves }) if shows(self.reachable, &event) => {
                match self.purpose {
                    Purpose::Login => {
                        return self.up(coming(Step::Booting { saves }, signs), saves.ready, now);
                    }
                    // A guest that is saved may be resumed for sessions.
                    Purpose::Execute if self.snapshot.is_some() => {
                        return self.up(coming(Step::Booting { saves }, signs), saves.ready, now);
                    }
                    Purpose::Boot | Purpose::Execute => Step::Booting { saves },
                }
            }
            (LifeEvent::Control(Message::Up), Step::Booting { saves }) => match self.purpose {
                Purpose::Boot | Purpose::Execute => {
                    return self.up(coming(Step::Booting { saves }, signs), saves.ready, now);
                }
                Purpose::Login => {
                    let problem = match self.reachable {
                        Reachable::Banner => Problem::Sshd,
                        Reachable::Answers | Reachable::Sessions => Problem::Login,
                    };
                    signs.add(self.trouble(problem), now + BANNER_GRACE);
                    Step::Booting { saves }
                }
            },
            (LifeEvent::Control(Message::Unmounted), Step::Booting { saves }) => {
                self.waits(saves, now)
            }
            (LifeEvent::Saved, Step::SavingEarly { saves, .. }) => self.goes_on(saves),
            (LifeEvent::Saved, Step::Saving { .. }) => self.personalize(now),
            (LifeEvent::NotSaved(why), step) => {
                self.actions.push(Action::RecordCold(format!(
                    "no snapshot could be made: {why}"
                )));
                match step {
                    Step::SavingEarly { saves, .. } => self.goes_on(saves),
                    Step::Saving { .. } => self.personalize(now),
                    step => step,
                }
            }
            (LifeEvent::Personalized, Step::Personalizing { executed, .. }) => {
                return self.ready(
                    coming(
                        Step::Booting {
                            saves: Saves::default(),
                        },
                        signs,
                    ),
                    executed,
                    now,
                );
            }
            // QEMU's end may be the reason.
            (LifeEvent::NotPersonalized(why), step @ Step::Personalizing { .. }) => {
                let trouble = self.trouble(Problem::NotTaken(why.into()));
                signs.add(trouble, now + QEMU_FOLLOWS);
                step
            }
            (_, step) => step,
        };
        // In emergency mode nothing more will start: once the failed units are known, that is all.
        if signs.emergency
            && signs.reported
            && let Some(pending) = signs.pending.take()
        {
            return self.fail_by(coming(step, signs), pending.trouble, now);
        }
        Stage::Alive(coming(step, signs))
    }

    /// The guest is up: it is saved, if that is wanted, and becomes this VM.
    fn up(&mut self, mut alive: Alive, saves: bool, now: Instant) -> Stage {
        if self.snapshot.is_none() {
            return self.ready(alive, None, now);
        }
        if let Doing::Coming { step, .. } = &mut alive.doing {
            *step = if saves {
                self.actions.push(Action::Save(SnapshotStage::Ready));
                let until = now + SAVING;
                Step::Saving { until }
            } else {
                self.personalize(now)
            };
        }
        Stage::Alive(alive)
    }

    fn personalize(&mut self, now: Instant) -> Step {
        self.actions.push(Action::Personalize);
        Step::Personalizing {
            until: now + PERSONALIZING,
            executed: None,
        }
    }

    /// The VM is ready. Its commands may have ended meanwhile.
    pub(super) fn ready(&mut self, alive: Alive, executed: Option<u8>, now: Instant) -> Stage {
        self.enter(Phase::Ready);
        self.was_ready = true;
        let alive = Alive {
            doing: Doing::Ready,
            ..alive
        };
        match executed {
            Some(code) => self.executed(alive, code, now),
            None => Stage::Alive(alive),
        }
    }

    fn executed(&mut self, mut alive: Alive, code: u8, now: Instant) -> Stage {
        match self.purpose {
            Purpose::Login | Purpose::Boot => return Stage::Alive(alive),
            Purpose::Execute => {}
        }
        if let Doing::Coming {
            step: Step::Personalizing { executed, .. },
            ..
        } = &mut alive.doing
        {
            executed.get_or_insert(code);
            return Stage::Alive(alive);
        }
        self.record_executed(code);
        self.stop(alive, now)
    }

    pub(super) fn expire_alive(&mut self, mut alive: Alive, now: Instant) -> Stage {
        if let Some(server) = alive.server.take_if(|server| server.until <= now) {
            return self.fail_by(alive, server.trouble, now);
        }
        if let Some(leaving) = alive.leaving.take_if(|leaving| leaving.until <= now) {
            self.guest_ended(&alive.doing, leaving.end);
            let text = "QEMU was killed: it did not end after its guest had".to_owned();
            return self.kill(Why::Unwilling(text), now);
        }
        match &mut alive.doing {
            Doing::Held { until } if *until <= now => {
                let why = format!("it takes more than {} s", HOLDING.as_secs());
                return self.fail(alive, Problem::Lost(why.into()), now);
            }
            Doing::Ready | Doing::Held { .. } => {}
            Doing::PoweringOff { until, .. } if *until <= now => {
                let grace = SHUTDOWN_GRACE.as_secs();
                let text = format!("the guest was killed: it did not power off within {grace} s");
                return self.kill(Why::Unwilling(text), now);
            }
            Doing::PoweringOff { press, .. } => match press {
                Press::At(at) if *at <= now => {
                    *press = Press::Asked;
                    self.actions.push(Action::PressPowerButton);
                }
                // It cannot answer any more when it ends, for which it has its own time.
                Press::Refused(at, why) if *at <= now && alive.leaving.is_none() => {
                    let text = format!(
                        "the guest was killed: its power button could not be pressed: {why}"
                    );
                    return self.kill(Why::Unwilling(text), now);
                }
                Press::Refused(..) if alive.leaving.is_some() => *press = Press::Asked,
                Press::Asked | Press::At(_) | Press::Refused(..) => {}
            },
            Doing::Coming { step, signs } => {
                if let Some(sign) = signs.pending.take_if(|sign| sign.until <= now) {
                    return self.fail_by(alive, sign.trouble, now);
                }
                match step {
                    Step::SavingEarly { until, saves } if *until <= now => {
                        let saves = *saves;
                        self.abandon(SnapshotStage::Early);
                        *step = self.goes_on(saves);
                    }
                    Step::Saving { until } if *until <= now => {
                        self.abandon(SnapshotStage::Ready);
                        *step = self.personalize(now);
                    }
                    Step::Personalizing { until, .. } if *until <= now => {
                        let why = format!("it takes more than {} s", PERSONALIZING.as_secs());
                        return self.fail(alive, Problem::NotTaken(why.into()), now);
                    }
                    _ => {}
                }
            }
        }
        Stage::Alive(alive)
    }
}
