//! The files that a container writes when its VM is saved, and that the host takes away from it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, ioctl_ficlone};
use rustix::process::geteuid;

use super::memory::{copy, sum};
use super::{FILES, KERNEL, MAX_TRACE, MEMORY, Meta, SEALED, STAGING, STATE, TRACE};
use crate::bounded;
use crate::spec::{SavedFile, SavedFiles};

/// The file in which a container finds whether to save its VM, and says that it has.
pub(super) const SAVED: &str = "saved";

/// Content of [`SAVED`] while the VM is to be saved.
const WANTED: &str = "wanted\n";

/// End of the wait for a VM to be saved, as its container tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The VM has been saved.
    Saved,
    /// The VM will not be saved.
    Abandoned,
}

impl Outcome {
    const ALL: [Self; 2] = [Self::Saved, Self::Abandoned];

    /// Content of [`SAVED`].
    const fn text(self) -> &'static str {
        match self {
            Self::Saved => "saved\n",
            Self::Abandoned => "abandoned\n",
        }
    }
}

/// Length of the longest content of [`SAVED`].
const MAX_SAVED: u64 = Outcome::Abandoned.text().len() as u64;

/// Limit for the size of a machine's state: QEMU's has a few MB, and a little for each device.
const MAX_STATE: u64 = 256 << 20;

/// Limit for the size of a kernel.
const MAX_KERNEL: u64 = 256 << 20;

/// The staging directory of one snapshot.
#[derive(Debug)]
pub struct Staging {
    snapshot: PathBuf,
    /// Size of the guest's memory, in bytes.
    memory: u64,
}

impl Staging {
    /// Makes the files to which a VM with this much `memory` is saved, and the place where they go.
    pub fn create(snapshot: &Path, memory: u64) -> io::Result<Self> {
        for dir in [STAGING, SEALED] {
            DirBuilder::new().mode(0o700).create(snapshot.join(dir))?;
        }
        let staging = Self::at(snapshot, memory);
        for name in FILES {
            new_file(&staging.path(name))?;
        }
        new_file(&staging.path(SAVED))?;
        fs::write(staging.path(SAVED), WANTED)?;
        Ok(staging)
    }

    /// Returns the staging directory of the snapshot in this directory, of a VM with this much
    /// `memory`.
    #[must_use]
    pub fn at(snapshot: &Path, memory: u64) -> Self {
        Self {
            snapshot: snapshot.to_owned(),
            memory,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.snapshot.join(STAGING).join(name)
    }

    /// Returns what has become of the VM, if the container has said it.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        let file = open_strangers(&self.path(SAVED), false);
        let text = file
            .and_then(|file| bounded::read(file, MAX_SAVED))
            .ok()??;
        let mut outcomes = Outcome::ALL.into_iter();
        outcomes.find(|outcome| text == outcome.text().as_bytes())
    }

    /// Copies the files to where no container can write to them, and describes the copies.
    pub fn seal(&self) -> io::Result<Meta> {
        let seal = |name: &str, most| self.seal_file(name, most);
        let memory = seal(MEMORY, self.memory)?;
        if memory.length != self.memory {
            return Err(io::Error::other("the memory has not the VM's size"));
        }
        let meta = Meta {
            files: SavedFiles {
                memory,
                state: seal(STATE, MAX_STATE)?,
                kernel: seal(KERNEL, MAX_KERNEL)?,
                trace: seal(TRACE, MAX_TRACE)?,
            },
        };
        meta.write(&self.snapshot)?;
        Ok(meta)
    }

    /// Copies one file, and looks at nothing but what has arrived in the copy: its first file may
    /// change at any time.
    fn seal_file(&self, name: &str, most: u64) -> io::Result<SavedFile> {
        let from = open_strangers(&self.path(name), false)?;
        let to = new_file(&self.snapshot.join(SEALED).join(name))?;
        let bounded = |file: &File| match file.metadata()?.len() {
            length if length <= most => Ok(length),
            _ => Err(io::Error::other(format!("the file {name} is too large"))),
        };
        if ioctl_ficlone(&to, &from).is_ok() {
            return sum(&to, bounded(&to)?);
        }
        copy(&from, &to, bounded(&from)?)
    }

    /// Gives the disk back what the files take. They stay: the container has them, and needs them to
    /// start again.
    pub fn empty(&self) -> io::Result<()> {
        // The mark is emptied first: without it, the VM is not saved when it starts again.
        for name in [SAVED].into_iter().chain(FILES) {
            open_strangers(&self.path(name), true)?.set_len(0)?;
        }
        Ok(())
    }
}

/// Returns true if the VM is to be saved whose container has its snapshot in `dir`.
#[must_use]
pub fn is_wanted(dir: &Path) -> bool {
    fs::read(dir.join(SAVED)).is_ok_and(|text| text == WANTED.as_bytes())
}

/// Says in `dir`, as the container sees it, what has become of the VM.
pub fn tell(dir: &Path, outcome: Outcome) -> io::Result<()> {
    fs::write(dir.join(SAVED), outcome.text())
}

/// Opens a file that a container can write to: a regular one of this user's, without following a link
/// and without waiting for anybody.
fn open_strangers(path: &Path, write: bool) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options()
        .read(true)
        .write(write)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let found = file.metadata()?;
    if found.is_file() && found.uid() == geteuid().as_raw() {
        Ok(file)
    } else {
        let text = format!("{} is not a file of this user's", path.display());
        Err(io::Error::other(text))
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn staging(dir: &Path) -> Staging {
        let staging = Staging::create(dir, 8192).expect("made");
        fs::write(staging.path(MEMORY), [1; 8192]).expect("written");
        fs::write(staging.path(STATE), "state").expect("written");
        fs::write(staging.path(KERNEL), "kernel").expect("written");
        fs::write(staging.path(TRACE), "trace").expect("written");
        staging
    }

    #[test]
    fn what_is_sealed_does_not_change_with_what_it_was_copied_from() {
        let dir = tempfile::tempdir().expect("a directory");
        let staging = staging(dir.path());
        let seen = dir.path().join(STAGING);
        assert!(is_wanted(&seen) && staging.outcome().is_none());
        for outcome in Outcome::ALL {
            tell(&seen, outcome).expect("written");
            assert!(!is_wanted(&seen) && staging.outcome() == Some(outcome));
        }

        let mut writer = File::options()
            .write(true)
            .open(staging.path(MEMORY))
            .expect("opened");
        let meta = staging.seal().expect("sealed");
        io::Write::write_all(&mut writer, b"changed").expect("written");
        let sealed = File::open(dir.path().join("sealed/memory")).expect("there");
        assert_eq!(sum(&sealed, 8192).expect("read"), meta.files.memory);
        assert_eq!(Meta::read(dir.path()).expect("whole"), meta);

        staging.empty().expect("emptied");
        for name in FILES.into_iter().chain([SAVED]) {
            let left = fs::metadata(staging.path(name)).expect("there");
            assert_eq!(left.len(), 0, "{name}");
        }
        assert!(!is_wanted(&seen) && staging.outcome().is_none());
    }

    /// The guest's memory is in there.
    #[test]
    fn nobody_but_its_owner_reads_or_writes_a_snapshot() {
        let dir = tempfile::tempdir().expect("a directory");
        staging(dir.path()).seal().expect("sealed");
        let mut seen = 0;
        let mut dirs = vec![dir.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).expect("listed") {
                let path = entry.expect("an entry").path();
                let found = fs::metadata(&path).expect("there");
                assert_eq!(found.mode() & 0o077, 0, "{}", path.display());
                seen += 1;
                dirs.extend(found.is_dir().then_some(path));
            }
        }
        // Two directories, five files to write, four that are sealed, and their description.
        assert_eq!(seen, 12);
    }

    #[test]
    fn what_a_container_puts_in_place_of_a_file_is_not_taken() {
        type Replace = fn(&Path);
        let cases: [(&str, Replace); 6] = [
            ("a file of another user", |path| {
                fs::write(path, [1; 8192]).expect("written");
                // Only root can give a file away.
                if chown(path, Some(65_534), None).is_err() {
                    fs::remove_file(path).expect("removed");
                }
            }),
            ("a link", |path| symlink("state", path).expect("linked")),
            ("a FIFO", |path| {
                mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("made");
            }),
            ("a directory", |path| fs::create_dir(path).expect("made")),
            ("a longer file", |path| {
                let file = File::create(path).expect("made");
                file.set_len(1 << 40).expect("longer");
            }),
            ("a shorter file", |path| {
                fs::write(path, "short").expect("written");
            }),
        ];
        for (what, replace) in cases {
            let dir = tempfile::tempdir().expect("a directory");
            let staging = staging(dir.path());
            fs::remove_file(staging.path(MEMORY)).expect("removed");
            replace(&staging.path(MEMORY));
            assert!(staging.seal().is_err(), "{what}");
            assert!(Meta::read(dir.path()).is_err(), "{what}");
        }
    }

    #[test]
    fn a_file_that_is_larger_than_any_of_its_kind_is_not_copied() {
        for (name, most) in [(STATE, MAX_STATE), (KERNEL, MAX_KERNEL), (TRACE, MAX_TRACE)] {
            let dir = tempfile::tempdir().expect("a directory");
            let staging = staging(dir.path());
            let file = File::options().write(true).open(staging.path(name));
            let file = file.expect("opened");
            file.set_len(most + 1).expect("longer");
            assert!(staging.seal().is_err(), "{name}");
        }
    }
}
