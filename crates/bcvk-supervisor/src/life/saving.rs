//! A guest that waits before it mounts its image, and a save that takes too long.

use std::mem;
use std::time::Instant;

use bcvk_contract::spec::SnapshotStage;

use super::alive::Step;
use super::{Action, Life, SAVING, Saves};

impl Life {
    /// The guest waits before it mounts its image, once: it is saved, if that is wanted.
    pub(super) fn waits(&mut self, saves: Saves, now: Instant) -> Step {
        if mem::replace(&mut self.has_waited, true) {
            return Step::Booting { saves };
        }
        if !saves.early {
            return self.goes_on(saves);
        }
        self.actions.push(Action::Save(SnapshotStage::Early));
        let until = now + SAVING;
        Step::SavingEarly { until, saves }
    }

    /// The guest goes on: it mounts its image.
    pub(super) fn goes_on(&mut self, saves: Saves) -> Step {
        self.actions.push(Action::LetGoOn);
        let saves = Saves {
            early: false,
            ..saves
        };
        Step::Booting { saves }
    }

    /// Lets the guest go on without a snapshot of this stage: that has taken too long.
    pub(super) fn abandon(&mut self, stage: SnapshotStage) {
        self.actions.push(Action::AbandonSaving(stage));
        self.actions.push(Action::RecordCold(format!(
            "no snapshot could be made: it takes more than {} s",
            SAVING.as_secs()
        )));
    }
}
