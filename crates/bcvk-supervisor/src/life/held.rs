//! The time in which a VM that is ready is saved as a checkpoint, or taken back to one.

use std::time::Instant;

use super::alive::{Alive, Doing};
use super::event::Pending;
use super::{Action, HOLDING, Life, LifeEvent, QEMU_FOLLOWS, Stage};
use crate::problem::Problem;

impl Life {
    /// Reacts to what only matters to a VM that is ready; returns other events.
    pub(super) fn while_ready(
        &mut self,
        alive: Alive,
        event: LifeEvent,
        now: Instant,
    ) -> Result<Stage, (Alive, LifeEvent)> {
        let ends = alive.leaving.is_some() || alive.server.is_some();
        Ok(match (event, &alive.doing) {
            (LifeEvent::Hold, Doing::Ready) if !ends => {
                self.actions.push(Action::CarryOut);
                let until = now + HOLDING;
                Stage::Alive(Alive {
                    doing: Doing::Held { until },
                    ..alive
                })
            }
            (LifeEvent::Hold, _) => {
                self.actions.push(Action::Decline);
                Stage::Alive(alive)
            }
            (LifeEvent::LetGo, Doing::Held { .. }) => Stage::Alive(Alive {
                doing: Doing::Ready,
                ..alive
            }),
            // QEMU's end may be the reason.
            (LifeEvent::Lost(why), Doing::Held { .. }) if !ends => {
                let trouble = self.trouble(Problem::Lost(why.into()));
                let until = now + QEMU_FOLLOWS;
                Stage::Alive(Alive {
                    server: Some(Pending { trouble, until }),
                    ..alive
                })
            }
            (LifeEvent::LetGo | LifeEvent::Lost(_), _) => Stage::Alive(alive),
            (event, _) => return Err((alive, event)),
        })
    }
}
