//! Start of a VM from one that has booted before.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::unit::start_after_boot;
use super::{Arch, Console, SnapshotStage, SshAccess, VmSpec};
use crate::choice;

/// Greatest number of shares and disks that a resumed VM can be given: one slot each of the bridge
/// that they are plugged into.
const MAX_PLUGGED: usize = 24;

/// Permission to resume a VM from a snapshot instead of booting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Warm {
    /// Resumes the VM if there is a snapshot; otherwise boots it and makes a snapshot of it.
    Auto,
    /// Boots the VM.
    #[default]
    Off,
    /// Resumes the VM; without a snapshot, it is an error.
    Require,
}

choice!(Warm, "a rule for warm starts", { Auto: "auto", Off: "off", Require: "require" });

/// Use that a supervisor makes of snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Snapshot {
    /// It boots the VM and saves it at every stage, to [`SnapshotStage::staging`].
    Save,
    /// It resumes the VM.
    Resume(Resume),
}

/// A snapshot at [`SnapshotStage::snapshot`] that a VM is resumed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The moment at which it was taken.
    pub stage: SnapshotStage,
    /// The files that it has to consist of.
    pub files: SavedFiles,
    /// The image that it was taken of.
    pub of: SnapshotImage,
    /// The snapshot of the early stage that is tried if this does not hold for the VM's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Earlier>,
    /// Consequence of a failure to resume the VM.
    pub otherwise: Otherwise,
}

/// A snapshot of the early stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Earlier {
    /// The files that it has to consist of.
    pub files: SavedFiles,
    /// The image that it was taken of.
    pub of: SnapshotImage,
}

/// The image of the VM that a snapshot was taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotImage {
    /// The VM's own image.
    Same,
    /// Another image: the snapshot holds only if its boot has looked at nothing that differs.
    Other,
}

/// Consequence of a failure to resume a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Otherwise {
    /// It boots.
    Boot,
    /// It boots and is saved at every stage.
    Save,
    /// It fails.
    Fail,
}

impl Snapshot {
    /// The snapshot that the VM is resumed from.
    #[must_use]
    pub const fn resume(&self) -> Option<&Resume> {
        match self {
            Self::Save => None,
            Self::Resume(resume) => Some(resume),
        }
    }

    /// Returns the resumption from the early stage that is tried in place of one that does not hold.
    #[must_use]
    pub fn earlier(&self) -> Option<Self> {
        let resume = self.resume()?;
        let Earlier { files, of } = resume.earlier?;
        Some(Self::Resume(Resume {
            stage: SnapshotStage::Early,
            files,
            of,
            earlier: None,
            otherwise: resume.otherwise,
        }))
    }

    /// Returns the stage that the VM is resumed from.
    #[must_use]
    pub fn stage(&self) -> Option<SnapshotStage> {
        self.resume().map(|resume| resume.stage)
    }

    /// Returns true if the VM is saved when it boots.
    #[must_use]
    pub const fn saves_a_boot(&self) -> bool {
        match self {
            Self::Save => true,
            Self::Resume(resume) => matches!(resume.otherwise, Otherwise::Save),
        }
    }
}

/// The files of a snapshot, as the host has seen them when it put them out of the reach of VMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SavedFiles {
    /// The guest's memory.
    pub memory: SavedFile,
    /// The state of the machine's devices.
    pub state: SavedFile,
    /// The kernel that QEMU is given.
    pub kernel: SavedFile,
    /// The record of all that the boot has looked at of the image.
    pub trace: SavedFile,
}

/// Length and content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SavedFile {
    /// Bytes, with the holes.
    pub length: u64,
    /// SHA-256 over the SHA-256 of the file's parts.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub sha256: Sha256Digest,
}

/// A SHA-256 digest, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Digest(pub [u8; 32]);

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Sha256Digest> for String {
    fn from(digest: Sha256Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Sha256Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "a SHA-256 digest has 64 hexadecimal digits";
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(WRONG);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = &text[2 * index..2 * index + 2];
            *byte = u8::from_str_radix(digits, 16).map_err(|_| WRONG)?;
        }
        Ok(Self(bytes))
    }
}

impl VmSpec {
    /// Returns why this VM can only be booted, if there is a reason: what it is given has to be
    /// there from the beginning.
    #[must_use]
    pub fn snapshot_obstacle(&self) -> Option<&'static str> {
        let plugged = self.shares.len() + self.disks.len();
        let reasons = [
            (
                self.arch != Arch::X86_64,
                "only x86-64 guests can be resumed",
            ),
            (self.ssh.is_none(), "nobody can log in to it"),
            (self.ignition, "it has a configuration for Ignition"),
            (self.cloud_init, "it has user data for cloud-init"),
            (self.swap.is_some(), "it has a swap device"),
            (self.var.disk().is_some(), "its /var is on a disk"),
            (self.host_storage, "it has the host's images"),
            (self.logs.is_some(), "its logs are kept"),
            (self.wants_journal(), "its output is the journal"),
            (!self.serial_ports.is_empty(), "it has virtio-serial ports"),
            (
                self.console == Console::Interactive,
                "its console is interactive",
            ),
            (
                plugged > MAX_PLUGGED,
                "it has more shares and disks than can be plugged in",
            ),
            (
                self.shares.iter().any(super::Share::needs_mount_point),
                "a share is to be mounted where the guest cannot make a directory",
            ),
            (
                !start_after_boot(&self.units),
                "one of its units takes part in the early boot or changes one of the image",
            ),
            (
                self.env
                    .iter()
                    .any(|var| var.value.contains(char::is_control)),
                "one of its variables has a control character",
            ),
        ];
        let reason = reasons.into_iter().find(|(applies, _)| *applies);
        reason.map(|(_, reason)| reason)
    }

    /// Returns the VM that is saved and resumed: without what is given to it once it runs, which is
    /// also all that is secret.
    #[must_use]
    pub fn base(&self) -> Self {
        Self {
            machine_id: None,
            shares: Vec::new(),
            disks: Vec::new(),
            units: Vec::new(),
            execute: Vec::new(),
            env: Vec::new(),
            host_key: String::new(),
            ssh: self.ssh.as_ref().map(|ssh| SshAccess {
                authorized_key: String::new(),
                ..*ssh
            }),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Stream, Var};
    use super::*;
    use crate::examples::{example, saved_files};

    #[test]
    fn what_has_to_be_there_from_the_beginning_is_named() {
        type Change = fn(&mut VmSpec);
        let resumable = VmSpec {
            ignition: false,
            cloud_init: false,
            swap: None,
            var: Var::Shared,
            logs: None,
            serial_ports: Vec::new(),
            ..example()
        };
        assert_eq!(resumable.snapshot_obstacle(), None);
        let cases: [(&str, Change); 15] = [
            ("only x86-64", |spec| spec.arch = Arch::Aarch64),
            ("log in", |spec| spec.ssh = None),
            ("Ignition", |spec| spec.ignition = true),
            ("cloud-init", |spec| spec.cloud_init = true),
            ("swap", |spec| spec.swap = example().swap),
            ("/var", |spec| spec.var = example().var),
            ("images", |spec| spec.host_storage = true),
            ("logs", |spec| spec.logs = example().logs),
            ("journal", |spec| spec.output = Stream::Journal),
            ("virtio-serial", |spec| {
                spec.serial_ports = example().serial_ports;
            }),
            ("interactive", |spec| spec.console = Console::Interactive),
            ("plugged in", |spec| {
                spec.shares = vec![spec.shares[0].clone(); MAX_PLUGGED];
            }),
            ("a share is to be mounted", |spec| {
                spec.shares[0].guest_path = "/srv/data".into();
            }),
            ("early boot", |spec| {
                spec.units[0].path = "of-the-image.service.d/hello.conf".into();
            }),
            ("control character", |spec| spec.env[0].value.push('\n')),
        ];
        for (expected, change) in cases {
            let mut spec = resumable.clone();
            change(&mut spec);
            let why = spec.snapshot_obstacle();
            assert!(
                why.is_some_and(|why| why.contains(expected)),
                "{expected}: {why:?}"
            );
        }
        // One slot is a disk's.
        let mut full = resumable;
        full.shares = vec![full.shares[0].clone(); MAX_PLUGGED - 1];
        assert_eq!(full.snapshot_obstacle(), None);
    }

    #[test]
    fn a_snapshots_use_and_files_survive_the_crossing() {
        let resume = |of, otherwise| {
            Snapshot::Resume(Resume {
                stage: SnapshotStage::Ready,
                files: saved_files(),
                of,
                earlier: (otherwise == Otherwise::Save).then_some(Earlier {
                    files: saved_files(),
                    of,
                }),
                otherwise,
            })
        };
        for (snapshot, saves) in [
            (Snapshot::Save, true),
            (resume(SnapshotImage::Same, Otherwise::Boot), false),
            (resume(SnapshotImage::Other, Otherwise::Save), true),
            (resume(SnapshotImage::Other, Otherwise::Fail), false),
        ] {
            assert_eq!(snapshot.saves_a_boot(), saves);
            assert_eq!(snapshot.resume().is_none(), snapshot == Snapshot::Save);
            let text = serde_json::to_string(&snapshot).expect("serialised");
            let read: Snapshot = serde_json::from_str(&text).expect("parsed");
            assert_eq!(read, snapshot, "{text}");
            // The one that is tried next is the last, and ends in the same way.
            let next = snapshot.earlier();
            assert_eq!(next.is_some(), text.contains("earlier"));
            if let Some(next) = next {
                assert_eq!(next.stage(), Some(SnapshotStage::Early));
                assert!(next.saves_a_boot() && next.earlier().is_none());
            }
        }
    }

    #[test]
    fn the_base_has_nothing_that_one_vm_alone_has() {
        let base = example().base();
        assert!(base.shares.is_empty() && base.disks.is_empty() && base.execute.is_empty());
        assert!(base.units.is_empty() && base.env.is_empty() && base.machine_id.is_none());
        assert!(base.host_key.is_empty());
        assert!(base.ssh.is_some_and(|ssh| ssh.authorized_key.is_empty()));
    }

    #[test]
    fn a_digest_is_written_in_hexadecimal_digits() {
        let text = "0a".repeat(32);
        let digest = Sha256Digest::try_from(text.clone()).expect("a digest");
        assert_eq!((digest.0, digest.to_string()), ([10; 32], text));
        for wrong in ["", "0a", &"0g".repeat(32), &"é".repeat(32)] {
            assert!(Sha256Digest::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
