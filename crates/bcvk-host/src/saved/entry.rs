//! One snapshot, finished or in the making.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bcvk_contract::bounded;
use bcvk_contract::lock::{Lock, lock_file};
use bcvk_contract::missing::if_exists;
use bcvk_contract::snapshot::{self, Meta, Outcome, SnapshotError, Staging, boot_id};
use bcvk_contract::spec::{ImageIdentity, SavedFiles, SnapshotStage, VmSpec};
use serde::{Deserialize, Serialize};

use super::place::{booted_at, is_own_dir};
use crate::vm::dir::VmDir;
use crate::vm::held_dir;

/// The file that describes the VM that a snapshot was taken from.
const ABOUT: &str = "about.json";

/// Limit for the size of the file: more than any [`SnapshotAbout`] takes.
const MAX_ABOUT: u64 = 64 * 1024;

/// File whose mtime records the last use.
const USED: &str = "used";

/// Directory of links to the directories of VMs that may start again, and whose containers have the
/// snapshot's directory.
const VMS: &str = "vms";

/// File on which the process that keeps the snapshot has a lock.
const KEEPER: &str = "keeper";

/// Longest time that a VM waits for the snapshot that is being copied for it. A copy takes a second;
/// where the host is emulated it takes more than ten, and a boot more than a minute.
const COPIED: Duration = Duration::from_secs(30);

/// Pause between two looks whether the snapshot has been copied. The keeper's lock is polled, because
/// waiting for a lock has no time-out (flock(2)).
const PAUSE: Duration = Duration::from_millis(20);

/// A snapshot, finished or in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEntry {
    pub(super) path: PathBuf,
}

/// A snapshot that is kept from being removed.
#[derive(Debug)]
pub struct HeldSnapshot {
    pub(super) entry: SnapshotEntry,
    pub(super) _lock: Lock,
}

/// Describes the VM that a snapshot was taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotAbout {
    /// The image's name.
    pub image: String,
    /// ID of the image.
    pub image_id: String,
    /// Digests of the image's layers, the lowest first.
    pub layers: Vec<String>,
    /// The VM's memory, in MiB.
    pub memory_mib: u32,
    /// Number of the VM's processors.
    pub vcpus: u32,
    /// Moment of its boot at which the VM was saved.
    pub stage: SnapshotStage,
    /// Boot ID of the host that the VM runs on.
    boot_id: String,
}

impl SnapshotAbout {
    /// Returns true if a snapshot of this VM may be tried for another `image`: one of the same name, or
    /// one that is built upon this. Whoever made either trusts the other, so that a VM which has taken
    /// over its file server and lies about what it has looked at can harm no stranger.
    pub(super) fn is_relative(&self, image: &ImageIdentity, layers: &[String]) -> bool {
        repository(&self.image) == repository(&image.reference)
            || (!self.layers.is_empty() && layers.starts_with(&self.layers))
    }
}

/// Returns the name of an image without its tag or digest.
fn repository(reference: &str) -> &str {
    let name = reference
        .split_once('@')
        .map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        // A colon before a slash belongs to a port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

impl HeldSnapshot {
    /// Returns the snapshot.
    #[must_use]
    pub fn entry(&self) -> &SnapshotEntry {
        &self.entry
    }
}

impl SnapshotEntry {
    /// Returns the snapshot's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the snapshot's name.
    #[must_use]
    pub fn id(&self) -> &str {
        let name = self.path.file_name();
        name.and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Returns the files to resume from, if they are there, as far as that can be seen at a glance.
    ///
    /// # Errors
    /// The reason why the snapshot cannot be resumed.
    pub fn check(&self) -> Result<SavedFiles, SnapshotError> {
        Meta::read(&self.path).map(|meta| meta.files)
    }

    /// Describes the VM that will be saved here, and makes the files that it is saved to.
    pub(super) fn prepare(
        &self,
        stage: SnapshotStage,
        spec: &VmSpec,
        layers: &[String],
    ) -> io::Result<()> {
        let about = SnapshotAbout {
            image: spec.image.reference.clone(),
            image_id: spec.image.id.clone(),
            layers: layers.to_vec(),
            memory_mib: spec.memory.mib(),
            vcpus: spec.vcpus,
            stage,
            boot_id: boot_id()?,
        };
        fs::write(self.path.join(ABOUT), serde_json::to_vec(&about)?)?;
        Staging::create(&self.path, spec.memory.bytes())?;
        self.touch()
    }

    /// Returns the files that a VM is saved to.
    pub(super) fn staging(&self) -> io::Result<Staging> {
        let about = self.about();
        let about = about.ok_or_else(|| io::Error::other("nobody knows what it is of"))?;
        let memory = u64::from(about.memory_mib) << 20;
        Ok(Staging::at(&self.path, memory))
    }

    /// Takes the lock that shows that the snapshot is being made. Whoever asks for that has it for a
    /// moment.
    pub(super) fn lock_as_keeper(&self) -> io::Result<Lock> {
        Lock::once_free(lock_file(&self.path.join(KEEPER))?)
    }

    /// Returns true while the snapshot is being made.
    #[must_use]
    pub fn is_being_saved(&self) -> bool {
        let keeper = File::open(self.path.join(KEEPER));
        keeper.and_then(Lock::is_exclusive).unwrap_or(false)
    }

    /// Waits for a snapshot that is being copied, which means that its VM is ready already.
    pub(super) fn await_copy(&self) {
        let outcome = self.staging().ok().and_then(|staging| staging.outcome());
        let saved = outcome == Some(Outcome::Saved);
        let until = Instant::now() + COPIED;
        while saved && Instant::now() < until && self.is_being_saved() {
            thread::sleep(PAUSE);
        }
    }

    /// Returns true if another host that shares this user's home and has this host's machine ID may
    /// be using the snapshot: it is of another boot, and was used since this host has booted.
    pub(super) fn is_of_another_host(&self) -> bool {
        let own = boot_id().ok();
        let about = self.about();
        if about.is_none_or(|about| Some(about.boot_id) == own) {
            return false;
        }
        let (used, booted) = (self.last_used(), booted_at().ok());
        used.zip(booted).is_none_or(|(used, booted)| used > booted)
    }

    /// Returns the snapshots whose place this takes: those with the same key and of the same stage, of
    /// another image with the same name.
    pub(super) fn earlier(&self) -> io::Result<Vec<Self>> {
        let (Some(about), Some(dir)) = (self.about(), self.path.parent()) else {
            return Ok(Vec::new());
        };
        let key = |entry: &Self| entry.id().split('-').next().map(str::to_owned);
        let mut entries = Self::all_in(dir)?;
        entries.retain(|entry| {
            let same_name = entry.about().is_some_and(|other| {
                other.image == about.image
                    && other.image_id != about.image_id
                    && other.stage == about.stage
            });
            same_name && key(entry) == key(self)
        });
        Ok(entries)
    }

    /// Returns all snapshots in `dir` that are this user's, in no order.
    pub(super) fn all_in(dir: &Path) -> io::Result<Vec<Self>> {
        let mut entries = Vec::new();
        for found in fs::read_dir(dir)? {
            let path = found?.path();
            if is_own_dir(&path)? {
                entries.push(Self { path });
            }
        }
        Ok(entries)
    }

    /// Returns the description of the VM, if it can be read.
    #[must_use]
    pub fn about(&self) -> Option<SnapshotAbout> {
        let file = File::open(self.path.join(ABOUT)).ok()?;
        let text = bounded::read(file, MAX_ABOUT).ok()??;
        serde_json::from_slice(&text).ok()
    }

    /// Returns the time at which the snapshot was last used.
    #[must_use]
    pub fn last_used(&self) -> Option<SystemTime> {
        fs::metadata(self.path.join(USED)).ok()?.modified().ok()
    }

    /// Returns the bytes that the snapshot takes on the disk.
    ///
    /// # Errors
    /// If the snapshot's directory cannot be read.
    pub fn size(&self) -> io::Result<u64> {
        const BLOCK: u64 = 512;
        let mut blocks = 0;
        let mut dirs = vec![self.path.clone()];
        while let Some(dir) = dirs.pop() {
            // A file that vanishes meanwhile takes no space.
            for file in if_exists(fs::read_dir(dir))?.into_iter().flatten() {
                let file = file?;
                let Some(found) = if_exists(file.metadata())? else {
                    continue;
                };
                if found.is_dir() {
                    dirs.push(file.path());
                }
                blocks += found.blocks();
            }
        }
        Ok(blocks * BLOCK)
    }

    /// Keeps the snapshot from being removed by others.
    ///
    /// # Errors
    /// If the snapshot's lock cannot be taken.
    pub fn hold(&self) -> io::Result<HeldSnapshot> {
        Ok(HeldSnapshot {
            entry: self.clone(),
            _lock: held_dir::hold(&self.path)?,
        })
    }

    /// Keeps the directory for the VM in `vm`, whose container has it mounted: `podman start` needs
    /// the directory, also when there is no snapshot any more.
    ///
    /// # Errors
    /// If the link cannot be made.
    pub(crate) fn keep_for(&self, vm: &VmDir) -> io::Result<()> {
        let vms = self.path.join(VMS);
        DirBuilder::new().recursive(true).mode(0o700).create(&vms)?;
        symlink(vm.path(), vms.join(vm.id()))
    }

    /// Returns true if a VM may start again whose container has this directory.
    fn is_kept(&self) -> io::Result<bool> {
        let vms = if_exists(fs::read_dir(self.path.join(VMS)))?;
        for vm in vms.into_iter().flatten() {
            // The path is that of the link's target.
            if vm?.path().is_dir() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the snapshot, unless somebody holds it; returns true if that made a difference. An
    /// empty directory stays for a VM that may start again, and boots then.
    ///
    /// # Errors
    /// If the snapshot cannot be removed.
    pub fn remove_if_unused(&self) -> io::Result<bool> {
        if !self.is_kept()? {
            return held_dir::remove_unless_held(&self.path);
        }
        let Some(Some(_alone)) = if_exists(held_dir::try_take(&self.path))? else {
            return Ok(false);
        };
        snapshot::empty(&self.path)
    }

    /// Records that the snapshot is used now.
    pub(super) fn touch(&self) -> io::Result<()> {
        fs::write(self.path.join(USED), "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_begins_although_somebody_asks_whether_one_is_at_work() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().to_owned();
        let entry = SnapshotEntry { path };
        assert!(!entry.is_being_saved());
        let asks = Lock::shared(lock_file(&dir.path().join(KEEPER)).expect("made"));
        let asks = asks.expect("nobody has it");
        let asker = thread::spawn(move || {
            thread::sleep(PAUSE);
            drop(asks);
        });
        let works = entry.lock_as_keeper().expect("once nobody asks");
        assert!(entry.is_being_saved());
        drop(works);
        assert!(!entry.is_being_saved());
        asker.join().expect("ended");
    }
}
