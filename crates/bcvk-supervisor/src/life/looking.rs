//! The time before a VM starts in which its image is looked at.

use super::{Action, Life, LifeEvent, Looked, Stage, Start};
use crate::problem::Problem;
use bcvk_contract::spec::{Otherwise, Snapshot};

impl Life {
    pub(super) fn while_looking(&mut self, event: LifeEvent) -> Stage {
        match event {
            LifeEvent::Looked(Looked::Fit) => match self.snapshot {
                Some(Snapshot::Resume(_)) => self.prepare(Start::Resume),
                Some(Snapshot::Save) | None => self.prepare(Start::Boot),
            },
            LifeEvent::Looked(Looked::Obstacle(why)) => self.boot_in_spite_of(why),
            LifeEvent::Looked(Looked::Differs(what)) => self.boot_of_another(what),
            LifeEvent::CannotBoot(problem) => self.fail_before(problem),
            LifeEvent::Stop => self.stop_before(),
            LifeEvent::CliGone => self.exit(false, false),
            _ => Stage::Looking,
        }
    }

    /// Boots a VM that can neither be saved nor resumed.
    fn boot_in_spite_of(&mut self, why: String) -> Stage {
        match self.otherwise() {
            Some(Otherwise::Fail) => return self.fail_before(Problem::Resume(why.into())),
            // The snapshot stays for others: it is not the reason.
            Some(Otherwise::Boot | Otherwise::Save) => self.actions.push(Action::Warn(format!(
                "the VM was booted instead of resumed: {why}"
            ))),
            None => self.actions.push(Action::RecordCold(why)),
        }
        self.snapshot = None;
        self.actions.push(Action::UseSnapshot(None));
        self.prepare(Start::Boot)
    }

    /// Boots a VM whose image is not that of the snapshot, in `what` its boot looks at, unless a snapshot
    /// of the early stage may hold for it.
    fn boot_of_another(&mut self, what: String) -> Stage {
        if let Some(earlier) = self.snapshot.as_ref().and_then(Snapshot::earlier) {
            self.snapshot = Some(earlier);
            self.actions.push(Action::RecordDiffers(what));
            self.actions.push(Action::UseSnapshot(self.snapshot));
            self.actions.push(Action::Look);
            return Stage::Looking;
        }
        self.snapshot = match self.otherwise() {
            Some(Otherwise::Fail) => return self.fail_before(Problem::Resume(what.into())),
            Some(Otherwise::Save) => Some(Snapshot::Save),
            Some(Otherwise::Boot) | None => None,
        };
        self.actions.push(Action::RecordDiffers(what));
        self.actions.push(Action::UseSnapshot(self.snapshot));
        self.prepare(Start::Boot)
    }

    /// Returns what follows if a VM that is to be resumed cannot be.
    pub(super) fn otherwise(&self) -> Option<Otherwise> {
        let resume = self.snapshot.as_ref().and_then(Snapshot::resume);
        resume.map(|resume| resume.otherwise)
    }
}
