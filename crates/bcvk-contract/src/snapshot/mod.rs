//! A VM that was saved: its files, and whether they are whole.
//!
//! A snapshot is a directory of the host's. The supervisor that makes one is given the files in
//! [`STAGING`] and nothing else of it. The host copies what the supervisor has written there to
//! [`SEALED`], which no container can write to, and describes it in [`Meta`], which no container
//! sees: without that, there is no snapshot. A snapshot is good for as long as the host runs: files
//! that were written before a crash may never have reached the disk, and to wait for that would
//! cost more than the snapshot gains.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod memory;
mod staging;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use memory::{copy, copy_roughly, find_in_pages, sum, update, update_range};
use staging::SAVED;
pub use staging::{Outcome, Staging, is_wanted, tell};

use crate::bounded;
use crate::missing::if_exists;
use crate::replace::replace;
use crate::spec::{SavedFile, SavedFiles, SnapshotStage};

/// Version of the layout.
const VERSION: u32 = 3;

/// The guest's memory, sparse.
pub const MEMORY: &str = "memory";

/// The state of the machine's devices, as QEMU migrates it.
pub const STATE: &str = "state";

/// File that QEMU takes for the kernel when it makes the same machine once more. The guest never
/// runs it.
pub const KERNEL: &str = "kernel";

/// Record of all that the guest's boot has looked at of its image. An empty one says nothing.
pub const TRACE: &str = "trace";

/// Limit for the size of a trace.
pub const MAX_TRACE: u64 = 32 << 20;

/// The files of a snapshot.
const FILES: [&str; 4] = [MEMORY, STATE, KERNEL, TRACE];

/// The directory of the files that a VM is resumed from.
const SEALED: &str = "sealed";

/// The directory of the files that a VM is saved to.
const STAGING: &str = "staging";

const META: &str = "meta.json";

/// Limit for the size of a [`Meta`], which is always less.
const MAX_META: u64 = 64 * 1024;

/// Describes the files of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The files, as they were when the host copied them.
    pub files: SavedFiles,
}

/// [`Meta`] as it is written.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    /// The boot of the host during which the snapshot was made.
    boot_id: String,
    files: SavedFiles,
}

/// Reason why a snapshot cannot be resumed.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// It has no description, or none that can be read.
    #[error("{META} cannot be read: {0}")]
    Meta(#[source] io::Error),
    /// Another bcvk made it.
    #[error("its layout has version {0}, and not {VERSION}")]
    Version(u32),
    /// It is older than the host's boot.
    #[error("the host has booted since it was made")]
    Boot,
    /// A file is not what it was.
    #[error("its file {0} is damaged")]
    Damaged(&'static str),
    /// A file cannot be read.
    #[error("its file {0} cannot be read: {1}")]
    File(&'static str, #[source] io::Error),
}

impl Meta {
    /// Makes a snapshot of the sealed files in `dir`.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let written = Written {
            version: VERSION,
            boot_id: boot_id()?,
            files: self.files,
        };
        written.write(dir)
    }

    /// Reads the description of the snapshot in `dir`, if the host can still resume it.
    ///
    /// # Errors
    /// [`SnapshotError`], of which [`SnapshotError::Damaged`] comes only from files that have lost
    /// their end: their content is looked at where it is read.
    pub fn read(dir: &Path) -> Result<Self, SnapshotError> {
        let unreadable = SnapshotError::Meta;
        let text = File::open(dir.join(META))
            .and_then(|file| bounded::read(file, MAX_META))
            .map_err(unreadable)?
            .unwrap_or_default();
        let written = Written::parse(&text)?;
        if boot_id().map_err(unreadable)? != written.boot_id {
            return Err(SnapshotError::Boot);
        }
        let files = written.files;
        for (name, expected) in each(&files) {
            let path = dir.join(SEALED).join(name);
            let found = fs::symlink_metadata(path).map_err(|e| SnapshotError::File(name, e))?;
            if !found.is_file() || found.len() != expected.length {
                return Err(SnapshotError::Damaged(name));
            }
        }
        Ok(Self { files })
    }
}

impl Written {
    /// Parses the description of this version's layout. Another version may have other keys.
    fn parse(text: &[u8]) -> Result<Self, SnapshotError> {
        let unreadable = |e: serde_json::Error| SnapshotError::Meta(e.into());
        let value: serde_json::Value = serde_json::from_slice(text).map_err(unreadable)?;
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        let version = version.and_then(|v| u32::try_from(v).ok()).unwrap_or(0);
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        serde_json::from_value(value).map_err(unreadable)
    }

    fn write(&self, dir: &Path) -> io::Result<()> {
        replace(&dir.join(META), 0o600, &serde_json::to_vec(self)?)
    }
}

/// Returns the files with their names.
fn each(files: &SavedFiles) -> [(&'static str, SavedFile); 4] {
    [
        (MEMORY, files.memory),
        (STATE, files.state),
        (KERNEL, files.kernel),
        (TRACE, files.trace),
    ]
}

/// A mount of the container's: the path on the host, the path in the container, and whether it is
/// read-only there.
pub type SnapshotMount = (PathBuf, PathBuf, bool);

/// Returns the mount of the snapshot in `dir` for a container that resumes its VM from there, at this
/// `stage`.
#[must_use]
pub fn mount_to_resume(stage: SnapshotStage, dir: &Path) -> SnapshotMount {
    (dir.join(SEALED), stage.snapshot().into(), true)
}

/// Returns the mounts of the snapshot in `dir` for a container that saves its VM there at this `stage`:
/// the files alone, because in a directory it could make files that its user cannot remove.
pub fn mounts_to_save(stage: SnapshotStage, dir: &Path) -> impl Iterator<Item = SnapshotMount> {
    let names = FILES.into_iter().chain([SAVED]);
    names.map(move |name| {
        let inside = Path::new(stage.staging()).join(name);
        (dir.join(STAGING).join(name), inside, false)
    })
}

/// Removes the files of the snapshot in `dir`, beginning with the description that makes them one.
/// The directories and the files of [`STAGING`] stay, because containers have them. Returns true if
/// there were any.
pub fn empty(dir: &Path) -> io::Result<bool> {
    let mut any = if_exists(fs::remove_file(dir.join(META)))?.is_some();
    for name in FILES {
        any |= if_exists(fs::remove_file(dir.join(SEALED).join(name)))?.is_some();
    }
    Ok(any)
}

/// Returns an ID that differs from boot to boot of the host (proc_sys_kernel(5)).
pub fn boot_id() -> io::Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().to_owned())
}

/// Makes a snapshot that looks whole, for tests.
#[cfg(any(test, feature = "examples"))]
#[allow(clippy::missing_panics_doc, reason = "a test that panics has failed")]
#[must_use]
pub fn example(dir: &Path) -> Meta {
    let staging = if dir.join(STAGING).exists() {
        Staging::at(dir, 6)
    } else {
        Staging::create(dir, 6).expect("made")
    };
    for (name, text) in [
        (MEMORY, "memory"),
        (STATE, "state"),
        (KERNEL, "kernel"),
        (TRACE, "trace"),
    ] {
        fs::write(dir.join(STAGING).join(name), text).expect("written");
    }
    staging.seal().expect("sealed")
}

#[cfg(test)]
mod tests {
    use super::example as make;
    use super::*;

    #[test]
    fn a_whole_one_is_read_and_others_say_why_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path();
        assert!(matches!(Meta::read(dir), Err(SnapshotError::Meta(_))));
        let meta = make(dir);
        assert_eq!(Meta::read(dir).expect("whole"), meta);

        fs::write(dir.join("sealed/state"), "sta").expect("cut");
        assert!(matches!(
            Meta::read(dir),
            Err(SnapshotError::Damaged(STATE))
        ));
        fs::remove_file(dir.join("sealed/memory")).expect("removed");
        assert!(matches!(
            Meta::read(dir),
            Err(SnapshotError::File(MEMORY, _))
        ));
        std::os::unix::fs::symlink("state", dir.join("sealed/memory")).expect("linked");
        assert!(matches!(
            Meta::read(dir),
            Err(SnapshotError::Damaged(MEMORY))
        ));

        let change = |version, boot_id: &str| {
            let dir = tempfile::tempdir().expect("a directory");
            let written = Written {
                version,
                boot_id: boot_id.to_owned(),
                files: make(dir.path()).files,
            };
            written.write(dir.path()).expect("written");
            Meta::read(dir.path())
        };
        assert!(matches!(
            change(VERSION, "another"),
            Err(SnapshotError::Boot)
        ));
        assert!(matches!(change(4, ""), Err(SnapshotError::Version(4))));
        fs::write(dir.join(META), "{\"version\":3").expect("cut");
        assert!(matches!(Meta::read(dir), Err(SnapshotError::Meta(_))));
    }

    #[test]
    fn an_emptied_snapshot_keeps_only_what_a_container_has() {
        let dir = tempfile::tempdir().expect("a directory");
        let _ = make(dir.path());
        let sealed = dir.path().join(SEALED);
        assert!(empty(dir.path()).expect("emptied"));
        assert!(matches!(
            Meta::read(dir.path()),
            Err(SnapshotError::Meta(_))
        ));
        assert_eq!(fs::read_dir(&sealed).expect("listed").count(), 0);
        assert!(dir.path().join(STAGING).join(MEMORY).exists());
        assert!(!empty(dir.path()).expect("empty already"));
        // A seal that failed half-way leaves no description.
        fs::write(sealed.join(KERNEL), "kernel").expect("written");
        assert!(empty(dir.path()).expect("emptied"));
        assert!(!sealed.join(KERNEL).exists());
    }

    #[test]
    fn a_boot_has_an_id_of_its_own() {
        let id = boot_id().expect("read");
        assert_eq!(
            id.split('-').map(str::len).collect::<Vec<_>>(),
            [8, 4, 4, 4, 12]
        );
    }

    #[test]
    fn a_container_sees_the_files_and_not_what_describes_them() {
        let dir = Path::new("/cache/id");
        let show = |(from, to, read_only): SnapshotMount| {
            let rights = if read_only { "ro" } else { "rw" };
            format!("{} {} {rights}", from.display(), to.display())
        };
        assert_eq!(
            show(mount_to_resume(SnapshotStage::Ready, dir)),
            "/cache/id/sealed /run/bcvk-snapshot ro"
        );
        let shown: Vec<_> = mounts_to_save(SnapshotStage::Early, dir)
            .map(show)
            .collect();
        assert_eq!(
            shown,
            [
                "/cache/id/staging/memory /run/bcvk-staging-early/memory rw",
                "/cache/id/staging/state /run/bcvk-staging-early/state rw",
                "/cache/id/staging/kernel /run/bcvk-staging-early/kernel rw",
                "/cache/id/staging/trace /run/bcvk-staging-early/trace rw",
                "/cache/id/staging/saved /run/bcvk-staging-early/saved rw",
            ]
        );
    }
}
