//! The ways in which a VM whose QEMU runs comes to its end.

use std::time::Instant;

use bcvk_contract::spec::{Lifetime, Purpose};
use bcvk_contract::status::{FailureKind, Phase};

use super::alive::{Alive, Doing, Press, Step};
use super::{Action, GONE, GuestEnd, Life, QemuEnd, SHUTDOWN_GRACE, Stage, Trouble, Why};
use crate::problem::Problem;

/// Told to a user whose guest rebooted.
const REBOOTED: &str = "the guest rebooted, which ends an ephemeral VM";

/// Told to a user whose guest powered off before anybody could use it.
const POWERED_OFF: &str = "the guest powered off by itself before it was ready";

impl Life {
    /// Presses the power button and waits for the guest, but not for ever.
    pub(super) fn stop(&mut self, alive: Alive, now: Instant) -> Stage {
        let ends_already = alive.leaving.is_some();
        match alive.doing {
            Doing::PoweringOff { .. } => Stage::Alive(alive),
            // The reason for its end is an earlier one.
            _ if ends_already => Stage::Alive(alive),
            // It stands still, and would not hear the power button.
            Doing::Held { .. }
            | Doing::Coming {
                step: Step::SavingEarly { .. } | Step::Saving { .. },
                ..
            } => {
                self.enter(Phase::Stopping);
                self.kill(Why::AtOnce, now)
            }
            Doing::Coming { .. } | Doing::Ready => {
                self.enter(Phase::Stopping);
                self.actions.push(Action::PressPowerButton);
                Stage::Alive(Alive {
                    doing: Doing::PoweringOff {
                        until: now + SHUTDOWN_GRACE,
                        press: Press::Asked,
                    },
                    ..alive
                })
            }
        }
    }

    pub(super) fn qemu_ended(&mut self, alive: &Alive, end: QemuEnd) -> Stage {
        let guest = match &alive.leaving {
            Some(leaving) => leaving.end,
            None => GuestEnd::PowerOff,
        };
        if !end.success || guest == GuestEnd::Signal {
            let problem = problem_of(&end);
            let trouble = Trouble {
                how: end.how,
                ..self.trouble(problem)
            };
            self.record_failure(trouble);
        } else {
            self.guest_ended(&alive.doing, guest);
        }
        self.exit(false, true)
    }

    /// Records what an end of the guest by itself means.
    pub(super) fn guest_ended(&mut self, doing: &Doing, end: GuestEnd) {
        let rebooted = end == GuestEnd::Reboot;
        let ready = match (doing, self.purpose) {
            (Doing::PoweringOff { .. }, _) => return,
            // The news that its commands have ended came later than that of its own end.
            _ if self.executed.is_some() => return,
            // A user's `poweroff`.
            (Doing::Ready | Doing::Held { .. }, Purpose::Login | Purpose::Boot) => {
                if rebooted {
                    self.actions.push(Action::Warn(REBOOTED.to_owned()));
                }
                return;
            }
            // A unit that checks something and then powers off is a use of its own. Whoever asked for
            // a session or commands has got none.
            (Doing::Coming { signs, .. }, Purpose::Login | Purpose::Boot)
                if self.lifetime == Lifetime::Detached && !rebooted && !signs.emergency =>
            {
                self.actions.push(Action::Warn(POWERED_OFF.to_owned()));
                return;
            }
            (Doing::Ready | Doing::Held { .. }, Purpose::Execute) => true,
            (Doing::Coming { .. }, _) => false,
        };
        let trouble = self.trouble(Problem::GuestEnded { rebooted, ready });
        self.record_failure(trouble);
    }

    pub(super) fn fail(&mut self, alive: Alive, problem: Problem, now: Instant) -> Stage {
        let trouble = self.trouble(problem);
        self.fail_by(alive, trouble, now)
    }

    /// Ends the VM because of `trouble`, unless that follows from an earlier failure of the host's.
    pub(super) fn fail_by(&mut self, alive: Alive, trouble: Trouble, now: Instant) -> Stage {
        let cause = match alive.server {
            Some(server) if trouble.problem.kind() == FailureKind::Guest => server.trouble,
            _ => trouble,
        };
        self.record_failure(cause);
        self.kill(Why::Failed, now)
    }

    pub(super) fn kill(&mut self, why: Why, now: Instant) -> Stage {
        self.actions.push(Action::KillQemu);
        let until = now + GONE;
        Stage::Killed { until, why }
    }
}

/// Returns the problem of a QEMU that ended unasked, by its last words.
fn problem_of(end: &QemuEnd) -> Problem {
    // In the words of QEMU's net_client_init1(): a "network backend 'user'" or, before 7.2, a "netdev
    // backend type".
    let lacks_network =
        |line: &String| line.contains("backend") && line.contains("not compiled into this binary");
    if end.how.iter().any(lacks_network) {
        Problem::NoUserNetwork
    } else {
        Problem::QemuEnded { killed: end.killed }
    }
}
