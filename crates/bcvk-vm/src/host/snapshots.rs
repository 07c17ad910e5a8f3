//! Where snapshots are kept: one directory for each, under the user's cache directory.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::lock::{self, Lock};
use super::vmdir::VmDir;
use crate::bounded;
use crate::missing::if_exists;
use crate::snapshot::{self, Meta, SnapshotError};
use crate::spec::VmSpec;

/// Bytes of a digest that name a snapshot.
const NAME_BYTES: usize = 16;

/// Where they are among the user's caches.
const DIR: &str = "bcvk/snapshots";

/// What says of what VM a snapshot is.
const ABOUT: &str = "about.json";

/// More than any [`SnapshotAbout`].
const MAX_ABOUT: u64 = 64 * 1024;

/// Its time of change is when the snapshot was last used.
const USED: &str = "used";

/// Links to the directories of VMs that may start again, and whose containers have the snapshot's.
const VMS: &str = "vms";

/// The user's snapshots.
#[derive(Debug, Clone)]
pub struct Snapshots {
    path: PathBuf,
}

/// A digest over all that a guest can see of what it was booted from and on: two VMs with the same
/// can be resumed from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotKey(String);

/// A snapshot, or one in the making.
#[derive(Debug, Clone)]
pub struct SnapshotEntry {
    path: PathBuf,
}

/// A snapshot that is kept from being removed.
#[derive(Debug)]
pub struct HeldSnapshot {
    entry: SnapshotEntry,
    _lock: Lock,
}

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotAbout {
    /// The image's name.
    pub image: String,
    /// Its ID.
    pub image_id: String,
    /// The VM's memory, in MiB.
    pub memory_mib: u32,
    /// The number of its processors.
    pub vcpus: u32,
}

impl SnapshotKey {
    /// The key of `spec` when the programs `exe` and the VM's QEMU boot it here.
    ///
    /// # Errors
    /// If one of them, or what the host says of itself, cannot be looked at.
    pub fn new(spec: &VmSpec, exe: &Path) -> io::Result<Self> {
        // What is in here decides alone: whoever adds an option to a spec has to think of it.
        let VmSpec {
            version,
            name: _,
            image,
            arch,
            accel,
            vcpus,
            memory,
            qemu,
            machine_id: _,
            kargs,
            shares: _,
            host_storage: _,
            disks: _,
            swap: _,
            units,
            ignition: _,
            execute: _,
            ports: _,
            env,
            ssh: _,
            host_key: _,
            fidelity,
            initramfs,
            snapshot: _,
            lifetime: _,
            console: _,
            output: _,
            logs: _,
            serial_ports: _,
        } = spec;
        let text = serde_json::to_vec(&(
            (version, &image.id, arch, accel, vcpus, memory),
            (kargs, units, env, fidelity, initramfs),
            (file(exe)?, file(qemu)?, processor()?, kernel()?),
        ))?;
        let digest = Sha256::digest(text);
        let hex = digest[..NAME_BYTES].iter().map(|b| format!("{b:02x}"));
        Ok(Self(hex.collect()))
    }
}

/// A program that was replaced is another file, or has another size or time.
fn file(path: &Path) -> io::Result<(u64, u64, u64, i64, i64)> {
    let found = fs::metadata(path)?;
    Ok((
        found.dev(),
        found.ino(),
        found.size(),
        found.mtime(),
        found.mtime_nsec(),
    ))
}

/// What a guest can see of the host's processor.
fn processor() -> io::Result<Vec<String>> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let first = text.lines().take_while(|line| !line.trim().is_empty());
    let told = ["vendor_id", "model name", "microcode", "flags"];
    Ok(first
        .filter(|line| told.iter().any(|name| line.starts_with(name)))
        .map(str::to_owned)
        .collect())
}

fn kernel() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/osrelease")
}

impl Snapshots {
    /// Those under `cache`, such as `~/.cache`. Makes the directory, which only its owner may enter:
    /// a guest's memory is in there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(cache: &Path) -> io::Result<Self> {
        let path = cache.join(DIR);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)?;
        Ok(Self { path })
    }

    /// The same, whether there are some or not. Nothing is made.
    #[must_use]
    pub fn existing(cache: &Path) -> Self {
        Self {
            path: cache.join(DIR),
        }
    }

    /// A snapshot with this key that can be resumed. One that cannot is removed, and `told` hears
    /// why.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn find(
        &self,
        key: &SnapshotKey,
        told: &mut dyn FnMut(&SnapshotError),
    ) -> io::Result<Option<HeldSnapshot>> {
        let prefix = format!("{}-", key.0);
        for entry in self.list()? {
            if !entry.id().starts_with(&prefix) {
                continue;
            }
            // One that is being removed has lost its description, or will have lost its lock.
            let held = entry.hold();
            match (entry.check(), held) {
                (Ok(()), Ok(held)) => {
                    entry.touch()?;
                    return Ok(Some(held));
                }
                (Ok(()), Err(_)) => {}
                (Err(error), held) => {
                    drop(held);
                    if entry.remove_if_unused()? {
                        told(&error);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Makes room for a new snapshot of `spec`.
    ///
    /// # Errors
    /// If there is none.
    pub fn create(&self, key: &SnapshotKey, spec: &VmSpec) -> io::Result<HeldSnapshot> {
        let (path, lock) = lock::create_held(&self.path, &format!("{}-", key.0))?;
        let entry = SnapshotEntry { path };
        let about = SnapshotAbout {
            image: spec.image.reference.clone(),
            image_id: spec.image.id.clone(),
            memory_mib: spec.memory.mib(),
            vcpus: spec.vcpus,
        };
        fs::write(entry.path.join(ABOUT), serde_json::to_vec(&about)?)?;
        entry.touch()?;
        Ok(HeldSnapshot { entry, _lock: lock })
    }

    /// All of them, the one that was used last first.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn list(&self) -> io::Result<Vec<SnapshotEntry>> {
        let mut entries = Vec::new();
        for found in fs::read_dir(&self.path)? {
            let path = found?.path();
            if path.is_dir() {
                entries.push(SnapshotEntry { path });
            }
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.last_used()));
        Ok(entries)
    }

    /// The one with this id, or with the only id that begins so.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn by_id(&self, id: &str) -> io::Result<Option<SnapshotEntry>> {
        let mut entries = self.list()?;
        entries.retain(|entry| !id.is_empty() && entry.id().starts_with(id));
        Ok(entries.pop().filter(|_| entries.is_empty()))
    }

    /// Removes what nobody can resume, and of the rest those used longest ago, until the others take
    /// no more than `most` bytes. Returns how many are gone.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn prune(&self, most: u64) -> io::Result<usize> {
        let mut gone = 0;
        let mut total = 0;
        for entry in self.list()? {
            total += entry.size()?;
            if (entry.check().is_err() || total > most) && entry.remove_if_unused()? {
                gone += 1;
            }
        }
        Ok(gone)
    }
}

impl HeldSnapshot {
    /// Which it is.
    #[must_use]
    pub fn entry(&self) -> &SnapshotEntry {
        &self.entry
    }
}

impl SnapshotEntry {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        let name = self.path.file_name();
        name.and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Whether it can be resumed, as far as that can be seen at a glance.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), SnapshotError> {
        Meta::read(&self.path).map(drop)
    }

    /// What it is of, if that can be read.
    #[must_use]
    pub fn about(&self) -> Option<SnapshotAbout> {
        let file = File::open(self.path.join(ABOUT)).ok()?;
        let text = bounded::read(file, MAX_ABOUT).ok()??;
        serde_json::from_slice(&text).ok()
    }

    /// When it was last used.
    #[must_use]
    pub fn last_used(&self) -> Option<SystemTime> {
        fs::metadata(self.path.join(USED)).ok()?.modified().ok()
    }

    /// Bytes that it takes on the disk.
    ///
    /// # Errors
    /// If it cannot be looked at.
    pub fn size(&self) -> io::Result<u64> {
        const BLOCK: u64 = 512;
        let mut blocks = 0;
        for file in fs::read_dir(&self.path)? {
            blocks += if_exists(file?.metadata())?.map_or(0, |found| found.blocks());
        }
        Ok(blocks * BLOCK)
    }

    /// Keeps it from being removed by others.
    ///
    /// # Errors
    /// If its lock cannot be taken.
    pub fn hold(&self) -> io::Result<HeldSnapshot> {
        Ok(HeldSnapshot {
            entry: self.clone(),
            _lock: lock::hold(&self.path)?,
        })
    }

    /// Keeps a place for the VM that has this directory: `podman start` needs it, also when there is
    /// no snapshot any more.
    ///
    /// # Errors
    /// If it cannot be noted.
    pub(super) fn keep_for(&self, vm: &VmDir) -> io::Result<()> {
        let vms = self.path.join(VMS);
        DirBuilder::new().recursive(true).mode(0o700).create(&vms)?;
        symlink(vm.path(), vms.join(vm.id()))
    }

    /// Whether a VM may start again whose container has this directory.
    fn is_kept(&self) -> io::Result<bool> {
        let vms = if_exists(fs::read_dir(self.path.join(VMS)))?;
        for vm in vms.into_iter().flatten() {
            // The link's target.
            if vm?.path().is_dir() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes it, unless somebody holds it; says whether that made a difference. An empty directory
    /// stays for a VM that may start again, and boots then.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove_if_unused(&self) -> io::Result<bool> {
        if !self.is_kept()? {
            return lock::remove_unless_held(&self.path);
        }
        let Some(_alone) = lock::try_take(&self.path)? else {
            return Ok(false);
        };
        snapshot::empty(&self.path)
    }

    fn touch(&self) -> io::Result<()> {
        fs::write(self.path.join(USED), "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::tests::make;
    use crate::spec::tests::example;
    use crate::spec::{Fidelity, ImageIdentity, MemorySize};

    fn key(spec: &VmSpec) -> SnapshotKey {
        let spec = VmSpec {
            qemu: "/proc/self/exe".into(),
            ..spec.clone()
        };
        SnapshotKey::new(&spec, Path::new("/proc/self/exe")).expect("a key")
    }

    #[test]
    fn what_a_guest_sees_at_its_boot_makes_another_key() {
        let spec = example();
        let same = VmSpec {
            name: "other".parse().expect("a name"),
            shares: Vec::new(),
            host_key: String::new(),
            ..spec.clone()
        };
        assert_eq!(key(&spec), key(&same));
        for other in [
            VmSpec {
                memory: MemorySize::from_mib(1024),
                ..spec.clone()
            },
            VmSpec {
                fidelity: Fidelity::Full,
                ..spec.clone()
            },
            VmSpec {
                kargs: Vec::new(),
                ..spec.clone()
            },
            // The same name for another image.
            VmSpec {
                image: ImageIdentity {
                    id: "decade".to_owned(),
                    ..spec.image.clone()
                },
                ..spec.clone()
            },
        ] {
            assert_ne!(key(&spec), key(&other));
        }
    }

    #[test]
    fn a_whole_snapshot_is_found_and_what_is_left_of_others_goes() {
        let cache = tempfile::tempdir().expect("a directory");
        let snapshots = Snapshots::open(cache.path()).expect("made");
        let spec = example();
        let key = key(&spec);
        let mut told = Vec::new();
        let mut find = || {
            let found = snapshots.find(&key, &mut |error| told.push(error.to_string()));
            found
                .expect("read")
                .map(|held| held.entry().id().to_owned())
        };
        assert_eq!(find(), None);

        let hold = snapshots.create(&key, &spec).expect("made");
        let entry = hold.entry().clone();
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!(mode(entry.path()), 0o700);
        assert_eq!(mode(&cache.path().join("bcvk/snapshots")), 0o700);
        assert_eq!(find(), None);
        assert!(entry.path().exists(), "it is in the making");
        make(entry.path());
        assert_eq!(find().as_deref(), Some(entry.id()));
        let about = entry.about().expect("said");
        assert_eq!(about.image, "localhost/mybootc");

        drop(hold);
        fs::write(entry.path().join("state"), "").expect("cut");
        assert_eq!(find(), None);
        assert!(!entry.path().exists());
        assert_eq!(told, ["its file state is damaged"]);
    }

    #[test]
    fn a_vm_that_may_start_again_finds_the_directory() {
        let cache = tempfile::tempdir().expect("a directory");
        let snapshots = Snapshots::open(cache.path()).expect("made");
        let spec = example();
        let held = snapshots.create(&key(&spec), &spec).expect("made");
        let entry = held.entry().clone();
        make(entry.path());
        let vm = cache.path().join("vm");
        fs::create_dir(&vm).expect("made");
        entry.keep_for(&VmDir::at(&vm)).expect("kept");
        assert!(!entry.remove_if_unused().expect("looked at"), "it is held");
        drop(held);

        assert_eq!(snapshots.prune(0).expect("pruned"), 1);
        assert!(entry.path().is_dir());
        assert!(entry.check().is_err());
        assert!(!entry.path().join("memory").exists());
        assert_eq!(snapshots.prune(0).expect("pruned"), 0);

        fs::remove_dir(&vm).expect("removed");
        assert_eq!(snapshots.prune(0).expect("pruned"), 1);
        assert!(!entry.path().exists());
    }

    #[test]
    fn those_used_longest_ago_go_first() {
        let cache = tempfile::tempdir().expect("a directory");
        let snapshots = Snapshots::open(cache.path()).expect("made");
        let spec = example();
        let made: Vec<_> = (0..3)
            .map(|_| {
                let held = snapshots.create(&key(&spec), &spec).expect("made");
                let entry = held.entry().clone();
                make(entry.path());
                entry.touch().expect("touched");
                std::thread::sleep(std::time::Duration::from_millis(20));
                entry
            })
            .collect();
        let size = made[0].size().expect("looked at");
        assert_eq!(snapshots.prune(2 * size).expect("pruned"), 1);
        assert!(!made[0].path().exists() && made[1].path().exists() && made[2].path().exists());
        let found = snapshots.by_id(&made[1].id()[..40]).expect("read");
        assert_eq!(found.expect("one").id(), made[1].id());
        assert!(snapshots.by_id("").expect("read").is_none());
        let hold = made[2].hold().expect("held");
        assert_eq!(snapshots.prune(0).expect("pruned"), 1);
        drop(hold);
        assert_eq!(snapshots.prune(0).expect("pruned"), 1);
    }
}
