//! The snapshots of a user on this host: one directory for each, under the user's cache directory.

mod entry;
mod keeper;
mod key;
mod place;

use std::io;
use std::path::{Path, PathBuf};

pub use entry::{HeldSnapshot, SnapshotAbout, SnapshotEntry};
pub use keeper::keep_snapshot;
pub(super) use keeper::start as start_keeper;
pub use key::SnapshotKey;

use crate::vm::held_dir;
use bcvk_contract::missing::if_exists;
use bcvk_contract::snapshot::SnapshotError;
use bcvk_contract::spec::{ImageIdentity, SavedFiles, SnapshotImage, SnapshotStage, VmSpec};

/// The user's snapshots.
#[derive(Debug, Clone)]
pub struct Snapshots {
    path: PathBuf,
}

impl Snapshots {
    /// Opens the directory under `cache`, such as `~/.cache`, and makes it if it is missing.
    ///
    /// # Errors
    /// If the directory cannot be made, or others could change what is in there.
    pub fn open(cache: &Path) -> io::Result<Self> {
        let path = place::open(cache)?;
        Ok(Self { path })
    }

    /// Returns the snapshots under `cache` without making the directory, whether it exists or not.
    #[must_use]
    pub fn existing(cache: &Path) -> Self {
        Self {
            path: place::existing(cache),
        }
    }

    /// Finds a snapshot of this `stage` with this key that can be resumed, and its files: one of this
    /// `image` if there is any, or else of a relative of it. A snapshot that cannot be resumed is removed, and `told` is
    /// called with the reason.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn find(
        &self,
        stage: SnapshotStage,
        key: &SnapshotKey,
        image: &ImageIdentity,
        layers: &[String],
        told: &mut dyn FnMut(&SnapshotError),
    ) -> io::Result<Option<(HeldSnapshot, SavedFiles, SnapshotImage)>> {
        let prefix = key.prefix(stage);
        let mut relatives = Vec::new();
        for entry in self.list()? {
            if !entry.id().starts_with(&prefix) {
                continue;
            }
            let Some(about) = entry.about().filter(|about| about.stage == stage) else {
                continue;
            };
            if about.image_id == image.id {
                if let Some((held, files)) = usable(&entry, told)? {
                    return Ok(Some((held, files, SnapshotImage::Same)));
                }
            } else if about.is_relative(image, layers) {
                relatives.push(entry);
            }
        }
        for entry in relatives {
            if let Some((held, files)) = usable(&entry, told)? {
                return Ok(Some((held, files, SnapshotImage::Other)));
            }
        }
        Ok(None)
    }

    /// Makes the directory for a new snapshot of `spec` at this `stage`.
    ///
    /// # Errors
    /// If the directory or a file in it cannot be made.
    pub fn create(
        &self,
        stage: SnapshotStage,
        key: &SnapshotKey,
        spec: &VmSpec,
        layers: &[String],
    ) -> io::Result<HeldSnapshot> {
        let (path, lock) = held_dir::create_held(&self.path, &key.prefix(stage))?;
        let entry = SnapshotEntry { path };
        entry.prepare(stage, spec, layers)?;
        Ok(HeldSnapshot { entry, _lock: lock })
    }

    /// Returns all snapshots, the one that was used last first.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn list(&self) -> io::Result<Vec<SnapshotEntry>> {
        let mut entries = SnapshotEntry::all_in(&self.path)?;
        // Each time is read only once, because it may change meanwhile.
        entries.sort_by_cached_key(|entry| std::cmp::Reverse(entry.last_used()));
        Ok(entries)
    }

    /// Returns the snapshot with this id, or with the only id that begins so.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn by_id(&self, id: &str) -> io::Result<Option<SnapshotEntry>> {
        let mut entries = self.list()?;
        entries.retain(|entry| !id.is_empty() && entry.id().starts_with(id));
        Ok(entries.pop().filter(|_| entries.is_empty()))
    }

    /// Removes the snapshots that nobody can resume, and of the rest those used longest ago, until
    /// the others take no more than `most` bytes. Snapshots that another host may be using do not
    /// count. Returns the number of snapshots that were removed.
    ///
    /// # Errors
    /// If one of them cannot be removed.
    pub fn prune(&self, most: u64) -> io::Result<usize> {
        let mut gone = 0;
        let mut total = 0;
        for entry in self.list()? {
            if entry.is_of_another_host() {
                continue;
            }
            total += entry.size()?;
            if (entry.check().is_err() || total > most) && entry.remove_if_unused()? {
                gone += 1;
            }
        }
        Ok(gone)
    }
}

/// Takes a snapshot, if it can be resumed; otherwise it is removed, and `told` is called.
fn usable(
    entry: &SnapshotEntry,
    told: &mut dyn FnMut(&SnapshotError),
) -> io::Result<Option<(HeldSnapshot, SavedFiles)>> {
    if entry.check().is_err() {
        entry.await_copy();
    }
    // A snapshot that is being removed has lost its description, or will have lost its lock.
    let held = entry.hold();
    match (entry.check(), held) {
        // The snapshot may be gone by now; a VM that is resumed from it later needs it to be there.
        (Ok(files), Ok(held)) => Ok(if_exists(entry.touch())?.map(|()| (held, files))),
        (Ok(_), Err(_)) => Ok(None),
        (Err(error), held) => {
            drop(held);
            if entry.remove_if_unused()? {
                told(&error);
            }
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests;
