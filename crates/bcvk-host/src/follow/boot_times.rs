//! Times that VMs took to become ready, remembered so that the next VM like them can be compared.

#![allow(
    clippy::disallowed_methods,
    reason = "opens a file of the user's cache"
)]

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bcvk_contract::missing::if_exists;
use bcvk_contract::replace::replace;
use bcvk_contract::spec::{Accelerator, Fidelity, Initramfs, Snapshot, SnapshotStage, VmSpec};
use bcvk_contract::status::{Phase, Status};
use bcvk_contract::untrusted;
use serde::{Deserialize, Serialize};

const FILE: &str = "boot-times.json";

/// File of the times that `check` compares: those of images by name, whatever an image's ID is.
const FILE_OF_CHECKS: &str = "check-times.json";

/// Version of the file's layout. A file of another version is ignored.
const VERSION: u32 = 1;

/// Most kinds of VM that are remembered; if there are more, those not booted for longest are
/// forgotten.
const MAX_BOOTS: usize = 100;

/// Limit for the size of the file: more than [`MAX_BOOTS`] entries take.
const MAX_BYTES: u64 = 128 * 1024;

/// Properties that decide how long a VM takes to become ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootKind {
    image: String,
    accel: Accelerator,
    vcpus: u32,
    initramfs: Initramfs,
    fidelity: Fidelity,
    /// True if the VM waits for sshd.
    ssh: bool,
    start: Start,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Start {
    Boot,
    BootAndSave,
    Resume,
    /// Resumed before its system started.
    ResumeEarly,
}

impl BootKind {
    /// Returns the kind of the VM of `spec`, by what is known of the VM so far.
    #[must_use]
    pub fn of(spec: &VmSpec, status: &Status) -> Self {
        let start = match spec.snapshot {
            // The VM was to be resumed, or saved, and was not.
            _ if status.cold.is_some() => Start::Boot,
            None => Start::Boot,
            Some(Snapshot::Save) => Start::BootAndSave,
            Some(Snapshot::Resume(_)) if status.stage == Some(SnapshotStage::Early) => {
                Start::ResumeEarly
            }
            Some(Snapshot::Resume(_)) if status.differs.is_some() => Start::BootAndSave,
            Some(Snapshot::Resume(_)) => Start::Resume,
        };
        Self {
            image: spec.image.id.clone(),
            accel: spec.accel,
            vcpus: spec.vcpus,
            initramfs: spec.initramfs,
            fidelity: spec.fidelity,
            ssh: spec.ssh.is_some(),
            start,
        }
    }

    /// Returns the same kind, but for every image of this name.
    #[must_use]
    pub fn by_name(spec: &VmSpec, status: &Status) -> Self {
        Self {
            image: spec.image.reference.clone(),
            ..Self::of(spec, status)
        }
    }
}

/// Beginning of each phase of a boot, in milliseconds after the first one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootTime(BTreeMap<Phase, u64>);

impl BootTime {
    /// Returns the time of a VM that is ready.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
        let first = status.history.first()?.at;
        let after = |at| {
            Duration::from_secs_f64(bcvk_contract::status::Timestamp::seconds_since(at, first))
        };
        let phases = status.history.iter().filter(|e| e.phase <= Phase::Ready);
        let times = phases.map(|e| (e.phase, millis(after(e.at))));
        Some(Self(times.collect())).filter(Self::is_whole)
    }

    /// Returns true if the times can have happened: the clock may be set while a VM boots.
    fn is_whole(&self) -> bool {
        const LONGEST: u64 = 24 * 3600 * 1000;
        let times = || self.0.values();
        self.0.contains_key(&Phase::Ready)
            && times().zip(times().skip(1)).all(|(a, b)| a <= b)
            && times().all(|t| *t <= LONGEST)
    }

    /// Returns the time until the VM was ready.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.at(Phase::Ready)
    }

    /// Returns the time at which this boot was as far as a VM that has been in `phase` for `since`.
    /// The result is never later than the end of that phase.
    #[must_use]
    pub fn reached(&self, phase: Phase, since: Duration) -> Duration {
        let begin = self.0.range(..=phase).next_back();
        let begin = begin.map_or(Duration::ZERO, |(_, at)| Duration::from_millis(*at));
        let later = self.0.iter().find(|(other, _)| **other > phase);
        let end = later.map_or(begin, |(_, at)| Duration::from_millis(*at));
        (begin + since).min(end)
    }

    fn at(&self, phase: Phase) -> Duration {
        Duration::from_millis(self.0.get(&phase).copied().unwrap_or_default())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The times of VMs that became ready, the last one first.
#[derive(Debug)]
pub struct BootTimes {
    /// Directory of the file, if there is one, and the file's name.
    dir: Option<PathBuf>,
    file: &'static str,
    boots: Vec<Boot>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Boot {
    kind: BootKind,
    time: BootTime,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    boots: Vec<Boot>,
}

impl BootTimes {
    /// Reads the times under `cache`, such as `~/.cache`. A file that is missing, damaged or another
    /// user's counts as empty.
    #[must_use]
    pub fn read(cache: Option<&Path>) -> Self {
        Self::read_file(cache, FILE)
    }

    /// Reads the times that are compared by [`BootKind::by_name`].
    #[must_use]
    pub fn read_checks(cache: Option<&Path>) -> Self {
        Self::read_file(cache, FILE_OF_CHECKS)
    }

    fn read_file(cache: Option<&Path>, file: &'static str) -> Self {
        let dir = cache.map(|cache| cache.join("bcvk"));
        let boots = dir.as_deref().and_then(|dir| match boots(&dir.join(file)) {
            Ok(boots) => boots,
            Err(error) => {
                tracing::debug!(%error, "the times of earlier boots cannot be read");
                None
            }
        });
        Self {
            dir,
            file,
            boots: boots.unwrap_or_default(),
        }
    }

    /// Returns the time that a VM of this kind took last.
    #[must_use]
    pub fn last(&self, kind: &BootKind) -> Option<&BootTime> {
        let boot = self.boots.iter().find(|boot| boot.kind == *kind)?;
        Some(&boot.time)
    }

    /// Remembers the time of the VM that has just become ready. If it cannot be written to the file,
    /// it is forgotten again. If two commands do this at the same time, one of the times may be lost.
    pub fn remember(&mut self, kind: BootKind, status: &Status) {
        let Some(time) = BootTime::of(status) else {
            return;
        };
        let Some(dir) = self.dir.clone().filter(|_| !kind.image.is_empty()) else {
            return;
        };
        // Other commands may have written the file meanwhile.
        let file = dir.join(self.file);
        let mut boots = boots(&file).ok().flatten().unwrap_or_default();
        boots.retain(|boot| boot.kind != kind);
        boots.insert(0, Boot { kind, time });
        boots.truncate(MAX_BOOTS);
        if let Err(error) = write(&file, &boots) {
            tracing::debug!(%error, "the time of this boot cannot be remembered");
        }
        self.boots = boots;
    }
}

fn boots(file: &Path) -> io::Result<Option<Vec<Boot>>> {
    let Some(text) = if_exists(untrusted::read(file, MAX_BYTES))? else {
        return Ok(None);
    };
    let kept: Kept = serde_json::from_slice(&text)?;
    let whole = |boot: &Boot| boot.time.is_whole();
    Ok((kept.version == VERSION).then(|| kept.boots.into_iter().filter(whole).collect()))
}

/// Replaces the file. One that a crash of the host destroys is ignored.
fn write(file: &Path, boots: &[Boot]) -> io::Result<()> {
    if let Some(dir) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let text = serde_json::to_vec(&Kept {
        version: VERSION,
        boots: boots.to_vec(),
    })?;
    replace(file, 0o600, &text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use bcvk_contract::examples::{resume, status as ready};

    fn cold() -> Status {
        ready(&[
            (Phase::Preparing, 0),
            (Phase::Qemu, 1),
            (Phase::Kernel, 2),
            (Phase::Initrd, 10),
            (Phase::Userspace, 12),
            (Phase::Ready, 22),
        ])
    }

    fn kind() -> BootKind {
        BootKind::of(&bcvk_contract::examples::example(), &cold())
    }

    #[test]
    fn a_boot_is_never_further_than_its_phase_was() {
        let time = BootTime::of(&cold()).expect("ready");
        assert_eq!(time.total(), Duration::from_secs(22));
        for (phase, since, reached) in [
            (Phase::Preparing, 0, 0),
            (Phase::Preparing, 9, 1),
            (Phase::Kernel, 3, 5),
            (Phase::Kernel, 30, 10),
            (Phase::Userspace, 4, 16),
            (Phase::Userspace, 600, 22),
            (Phase::Ready, 5, 22),
        ] {
            let reached = Duration::from_secs(reached);
            assert_eq!(
                time.reached(phase, Duration::from_secs(since)),
                reached,
                "{phase:?}"
            );
        }
        // This VM was resumed last time, so most phases are missing.
        let time =
            BootTime::of(&ready(&[(Phase::Preparing, 0), (Phase::Ready, 2)])).expect("ready");
        assert_eq!(
            time.reached(Phase::Kernel, Duration::from_secs(1)),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn what_cannot_have_happened_is_not_remembered() {
        for status in [
            ready(&[(Phase::Preparing, 0), (Phase::Kernel, 2)]),
            ready(&[(Phase::Preparing, 0), (Phase::Kernel, 9), (Phase::Ready, 3)]),
            ready(&[(Phase::Preparing, 0), (Phase::Ready, 365 * 24 * 3600)]),
        ] {
            assert_eq!(BootTime::of(&status), None);
        }
    }

    #[test]
    fn the_last_boot_of_each_kind_is_remembered() {
        let cache = tempfile::tempdir().expect("temporary directory");
        let mut times = BootTimes::read(Some(cache.path()));
        assert_eq!(times.last(&kind()), None);
        times.remember(kind(), &ready(&[(Phase::Preparing, 0), (Phase::Ready, 40)]));
        times.remember(kind(), &cold());
        let other = BootKind { vcpus: 7, ..kind() };
        times.remember(
            other.clone(),
            &ready(&[(Phase::Preparing, 0), (Phase::Ready, 3)]),
        );

        let times = BootTimes::read(Some(cache.path()));
        let total = |kind| times.last(kind).expect("remembered").total().as_secs();
        assert_eq!((total(&kind()), total(&other)), (22, 3));
        assert_eq!(times.boots.len(), 2);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&cache.path().join("bcvk")), 0o700);
        assert_eq!(mode(&cache.path().join("bcvk").join(FILE)), 0o600);
        let names = fs::read_dir(cache.path().join("bcvk")).expect("a directory");
        assert_eq!(names.count(), 1);
    }

    #[test]
    fn checks_compare_images_by_name_in_a_file_of_their_own() {
        let cache = tempfile::tempdir().expect("temporary directory");
        let mut spec = bcvk_contract::examples::example();
        let kind = BootKind::by_name(&spec, &cold());
        let mut times = BootTimes::read_checks(Some(cache.path()));
        times.remember(kind.clone(), &cold());
        spec.image.id = "another build".to_owned();
        let times = BootTimes::read_checks(Some(cache.path()));
        let last = times.last(&BootKind::by_name(&spec, &cold()));
        assert_eq!(last.map(BootTime::total), Some(Duration::from_secs(22)));
        spec.image.reference = "localhost/other".to_owned();
        assert_eq!(times.last(&BootKind::by_name(&spec, &cold())), None);
        assert_eq!(BootTimes::read(Some(cache.path())).last(&kind), None);
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let cache = tempfile::tempdir().expect("temporary directory");
        let mut times = BootTimes::read(Some(cache.path()));
        for vcpus in 0..150 {
            let kind = BootKind {
                image: "f".repeat(64),
                vcpus,
                ..kind()
            };
            times.remember(kind, &cold());
        }
        let times = BootTimes::read(Some(cache.path()));
        assert_eq!(times.boots.len(), MAX_BOOTS);
        assert_eq!(times.boots[0].kind.vcpus, 149);
    }

    #[test]
    fn what_is_no_file_of_ours_is_ignored_and_does_no_harm() {
        let cache = tempfile::tempdir().expect("temporary directory");
        let dir = cache.path().join("bcvk");
        fs::create_dir(&dir).expect("make a directory");
        let file = dir.join(FILE);
        for text in [
            "",
            "{",
            "[]",
            "\0\0\0",
            r#"{"version": 2, "boots": []}"#,
            r#"{"version": 1, "boots": [{"kind": 1}]}"#,
        ] {
            fs::write(&file, text).expect("write");
            let mut times = BootTimes::read(Some(cache.path()));
            assert!(times.boots.is_empty(), "{text}");
            times.remember(kind(), &cold());
            assert_eq!(BootTimes::read(Some(cache.path())).boots.len(), 1, "{text}");
        }
        // A symbolic link is replaced, not followed.
        let elsewhere = cache.path().join("elsewhere");
        fs::write(&elsewhere, "mine").expect("write");
        fs::remove_file(&file).expect("remove");
        symlink(&elsewhere, &file).expect("link");
        BootTimes::read(Some(cache.path())).remember(kind(), &cold());
        assert_eq!(fs::read_to_string(&elsewhere).expect("read"), "mine");
        // A directory is in the way: nothing is remembered, and nothing is left behind.
        fs::remove_file(&file).expect("remove");
        fs::create_dir(&file).expect("make a directory");
        BootTimes::read(Some(cache.path())).remember(kind(), &cold());
        assert_eq!(fs::read_dir(&dir).expect("a directory").count(), 1);
        // There is no cache directory at all.
        fs::remove_dir_all(&dir).expect("remove");
        fs::write(&dir, "").expect("write");
        BootTimes::read(Some(cache.path())).remember(kind(), &cold());
        BootTimes::read(None).remember(kind(), &cold());
    }

    #[test]
    fn each_way_to_start_has_a_time_of_its_own() {
        let mut spec = bcvk_contract::examples::example();
        let start = |spec: &VmSpec, status: &Status| BootKind::of(spec, status).start;
        assert_eq!(start(&spec, &cold()), Start::Boot);
        spec.snapshot = Some(Snapshot::Save);
        assert_eq!(start(&spec, &cold()), Start::BootAndSave);
        spec.snapshot = Some(Snapshot::Resume(resume()));
        assert_eq!(start(&spec, &cold()), Start::Resume);
        let differs = Status {
            differs: Some("/etc/app.conf is new".to_owned()),
            ..cold()
        };
        assert_eq!(start(&spec, &differs), Start::BootAndSave);
        let early = Status {
            stage: Some(SnapshotStage::Early),
            ..differs
        };
        assert_eq!(start(&spec, &early), Start::ResumeEarly);
        let booted = Status {
            cold: Some("the snapshot is damaged".to_owned()),
            ..cold()
        };
        assert_eq!(start(&spec, &booted), Start::Boot);
    }
}
