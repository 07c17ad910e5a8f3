//! A VM's container from its start to its end.

use std::process::Child;

use bcvk_contract::lock::Lock;
use bcvk_contract::spec::Stream;
use bcvk_contract::status::{Phase, Status};

use crate::HostError;
use crate::follow::log::GuestLog;
use crate::podman::Podman;
use crate::resources::output::CreatedFiles;
use crate::saved::SnapshotEntry;
use crate::vm::dir::VmDir;

/// A container that podman has started.
#[derive(Debug)]
pub struct Started {
    /// VM directory of the container.
    pub dir: VmDir,
    pub(super) name: String,
    pub(super) podman: Podman,
    pub(super) remove: bool,
    pub(super) hold: Option<Lock>,
    pub(super) cli_lock: Option<Lock>,
    /// Files and directories of the user's that did not exist before.
    pub(super) created: CreatedFiles,
    pub(super) resumes: Vec<SnapshotEntry>,
    pub(super) saves: Vec<SnapshotEntry>,
}

impl Started {
    /// Returns the name of the VM.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connects the terminal with the VM's console.
    pub fn attach(&self) -> Result<Child, HostError> {
        let id = self.dir.container_id().unwrap_or_default();
        self.podman
            .attach(&id)
            .map_err(HostError::io("run podman attach"))
    }

    /// Returns a log of the guest's output.
    #[must_use]
    pub fn log(&self, stream: Stream) -> GuestLog {
        match stream {
            Stream::Console => GuestLog::console(&self.dir),
            Stream::Journal => GuestLog::journal(&self.dir),
        }
    }

    /// Asks the supervisor to shut the guest down, without waiting for it.
    pub fn ask_to_stop(&self) -> Result<(), HostError> {
        self.kill("TERM")
    }

    /// Ends the VM at once; the container stays if it is to be kept.
    pub fn end(&self) -> Result<(), HostError> {
        self.kill("KILL")
    }

    fn kill(&self, signal: &str) -> Result<(), HostError> {
        match self.dir.container_id() {
            Some(id) => self.podman.kill(&id, signal),
            None => Ok(()),
        }
    }

    /// Ends the VM at once and leaves nothing of it.
    pub fn discard(&mut self) -> Result<(), HostError> {
        let removed = self.remove_container();
        if !self.ran() {
            self.created.undo();
        }
        self.drop_unusable_snapshots();
        self.hold = None;
        self.cli_lock = None;
        self.dir
            .remove_if_unused()
            .map_err(HostError::io("remove the VM directory"))?;
        removed
    }

    pub(super) fn snapshots(&self) -> impl Iterator<Item = &SnapshotEntry> {
        self.resumes.iter().chain(&self.saves)
    }

    /// Removes snapshots that were not finished, or that the VM could not be resumed from, unless
    /// somebody else uses them. One that is of another image in what its boot looks at stays until
    /// that of this VM takes its place.
    pub fn drop_unusable_snapshots(&self) {
        let failed = |status: Status| status.cold.is_some() && status.differs.is_none();
        let failed = self.status().is_some_and(failed);
        let unusable = |entry: &&SnapshotEntry| entry.check().is_err();
        let resumes = self.resumes.iter().filter(|it| failed || unusable(it));
        for entry in resumes.chain(self.saves.iter().filter(unusable)) {
            // A snapshot that cannot be removed now is pruned with the old ones.
            let _ = entry.remove_if_unused();
        }
    }

    pub(super) fn remove_container(&self) -> Result<(), HostError> {
        match self.dir.container_id() {
            Some(id) => self.podman.remove(&id),
            None => Ok(()),
        }
    }

    /// Returns true if QEMU was started, so that a guest could have used what was made for it.
    fn ran(&self) -> bool {
        self.status()
            .is_some_and(|status| status.began(Phase::Qemu).is_some())
    }

    /// Returns the supervisor's last status.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.dir.shared().status().ok().flatten()
    }

    /// Leaves a VM that ended by itself as podman would leave a container: removed with `--rm`, kept
    /// otherwise.
    pub fn finish(mut self) -> Result<(), HostError> {
        if self.remove { self.discard() } else { Ok(()) }
    }
}
