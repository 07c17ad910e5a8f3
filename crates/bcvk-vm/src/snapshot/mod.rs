//! A VM that was saved: its files, and whether they are whole.
//!
//! A snapshot is a directory. The supervisor that makes it writes [`STATE`], [`MEMORY`] and
//! [`KERNEL`], and [`Meta`] at last, by rename: without that, there is no snapshot. It is good for as
//! long as the host runs: what was written before a crash may never have reached the disk, and to
//! wait for that would cost more than the snapshot gains.

mod memory;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use memory::Contents;
pub(crate) use memory::{copy, sum};

use crate::bounded;
use crate::missing::if_exists;

/// Version of the layout.
const VERSION: u32 = 1;

/// The guest's memory, sparse.
pub(crate) const MEMORY: &str = "memory";

/// The state of the machine's devices, as QEMU migrates it.
pub(crate) const STATE: &str = "state";

/// What QEMU takes for the kernel when it makes the same machine once more. The guest never runs it.
pub(crate) const KERNEL: &str = "kernel";

const META: &str = "meta.json";

/// More than any [`Meta`].
const MAX_META: u64 = 64 * 1024;

/// What is known of a snapshot's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    version: u32,
    /// The boot of the host during which it was made.
    boot_id: String,
    /// What is in [`MEMORY`].
    pub(crate) memory: Contents,
    /// What is in [`STATE`].
    pub(crate) state: Contents,
    /// Whether the guest is named after its VM.
    pub(crate) named: bool,
}

/// Why a snapshot cannot be resumed.
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
    /// Describes the files of a snapshot that is made now.
    pub(crate) fn new(memory: Contents, state: Contents, named: bool) -> io::Result<Self> {
        Ok(Self {
            version: VERSION,
            boot_id: boot_id()?,
            memory,
            state,
            named,
        })
    }

    /// Makes a snapshot of the files in `dir`.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let aside = dir.join("meta.json.new");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(aside, dir.join(META))
    }

    /// The description of the snapshot in `dir`, if the host can still resume it.
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
        let value: serde_json::Value =
            serde_json::from_slice(&text).map_err(|e| unreadable(e.into()))?;
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        let version = version.and_then(|v| u32::try_from(v).ok()).unwrap_or(0);
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let meta: Self = serde_json::from_value(value).map_err(|e| unreadable(e.into()))?;
        if boot_id().map_err(unreadable)? != meta.boot_id {
            return Err(SnapshotError::Boot);
        }
        for (name, contents) in [(MEMORY, meta.memory), (STATE, meta.state)] {
            let found = fs::metadata(dir.join(name)).map_err(|e| SnapshotError::File(name, e))?;
            if found.len() != contents.length {
                return Err(SnapshotError::Damaged(name));
            }
        }
        Ok(meta)
    }
}

/// Removes the files of the snapshot in `dir`, and first what makes them one. Says whether there
/// were any.
pub(crate) fn empty(dir: &Path) -> io::Result<bool> {
    let mut any = false;
    for name in [META, MEMORY, STATE, KERNEL] {
        any |= if_exists(fs::remove_file(dir.join(name)))?.is_some();
    }
    Ok(any)
}

/// Differs from boot to boot of the host (proc_sys_kernel(5)).
fn boot_id() -> io::Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A snapshot that looks whole.
    pub(crate) fn make(dir: &Path) -> Meta {
        let contents = |name: &str, text: &str| {
            fs::write(dir.join(name), text).expect("written");
            Contents {
                length: text.len() as u64,
                stored: text.len() as u64,
                crc: 0,
            }
        };
        let meta = Meta::new(contents(MEMORY, "memory"), contents(STATE, "state"), true);
        let meta = meta.expect("a boot");
        meta.write(dir).expect("written");
        meta
    }

    #[test]
    fn a_whole_one_is_read_and_others_say_why_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path();
        assert!(matches!(Meta::read(dir), Err(SnapshotError::Meta(_))));
        let meta = make(dir);
        assert_eq!(Meta::read(dir).expect("whole"), meta);

        fs::write(dir.join(STATE), "sta").expect("cut");
        assert!(matches!(
            Meta::read(dir),
            Err(SnapshotError::Damaged(STATE))
        ));
        fs::remove_file(dir.join(MEMORY)).expect("removed");
        assert!(matches!(
            Meta::read(dir),
            Err(SnapshotError::File(MEMORY, _))
        ));

        let change = |change: &dyn Fn(&mut Meta)| {
            let mut other = make(dir);
            change(&mut other);
            other.write(dir).expect("written");
            Meta::read(dir)
        };
        let other_boot = change(&|meta| meta.boot_id = "another".to_owned());
        assert!(matches!(other_boot, Err(SnapshotError::Boot)));
        let newer = change(&|meta| meta.version += 1);
        assert!(matches!(newer, Err(SnapshotError::Version(2))));
        fs::write(dir.join(META), "{\"version\":1").expect("cut");
        assert!(matches!(Meta::read(dir), Err(SnapshotError::Meta(_))));
    }
}
