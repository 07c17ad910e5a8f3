//! Starting a VM from one that has booted before.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Arch, Console, SpecError, SshAccess, VmSpec};

/// The most shares and disks that a resumed VM can be given: one slot each of the bridge that they
/// are plugged into.
const MAX_PLUGGED: usize = 24;

/// Whether a VM may be resumed from a snapshot instead of booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Warm {
    /// It is if there is a snapshot; otherwise it boots, and a snapshot is made of it.
    Auto,
    /// It boots.
    #[default]
    Off,
    /// It is, or there is no VM.
    Require,
}

impl FromStr for Warm {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        match value {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            "require" => Ok(Self::Require),
            other => Err(SpecError::Warm(other.to_owned())),
        }
    }
}

/// What a supervisor does with the snapshot at [`CONTAINER_SNAPSHOT`](super::CONTAINER_SNAPSHOT).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Snapshot {
    /// It boots the VM and saves it there.
    Save,
    /// It resumes the VM from there, and boots it if that fails.
    Resume,
    /// It resumes the VM from there, or fails.
    ResumeOnly,
}

impl VmSpec {
    /// Why this VM can only be booted, if there is a reason: what it is given has to be there from
    /// the beginning.
    #[must_use]
    pub fn why_only_cold(&self) -> Option<&'static str> {
        let plugged = self.shares.len() + self.disks.len();
        let reasons = [
            (
                self.arch != Arch::X86_64,
                "only x86-64 guests can be resumed",
            ),
            (self.ssh.is_none(), "--no-ssh-keygen is given"),
            (self.ignition, "--ignition is given"),
            (self.swap.is_some(), "--add-swap is given"),
            (self.host_storage, "--bind-storage-ro is given"),
            (self.logs.is_some(), "--log-dir is given"),
            (self.wants_journal(), "--output journal is given"),
            (
                !self.serial_ports.is_empty(),
                "--virtio-serial-out is given",
            ),
            (self.console == Console::Interactive, "-i is given"),
            (
                plugged > MAX_PLUGGED,
                "it has more shares and disks than can be plugged in",
            ),
            (
                self.shares.iter().any(super::Share::needs_mount_point),
                "a share is to be mounted where the guest cannot make a directory",
            ),
        ];
        let reason = reasons.into_iter().find(|(applies, _)| *applies);
        reason.map(|(_, reason)| reason)
    }

    /// The VM that is saved and resumed: without what is given to it once it runs.
    #[must_use]
    pub fn base(&self) -> Self {
        Self {
            shares: Vec::new(),
            disks: Vec::new(),
            execute: Vec::new(),
            ssh: self.ssh.as_ref().map(|_| SshAccess {
                authorized_key: String::new(),
            }),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::example;

    #[test]
    fn what_has_to_be_there_from_the_beginning_is_named() {
        let warm = VmSpec {
            ignition: false,
            swap: None,
            logs: None,
            serial_ports: Vec::new(),
            ..example()
        };
        assert_eq!(warm.why_only_cold(), None);
        let with_journal = VmSpec {
            output: super::super::Stream::Journal,
            ..warm.clone()
        };
        assert_eq!(
            with_journal.why_only_cold(),
            Some("--output journal is given")
        );
        let mut elsewhere = warm;
        elsewhere.shares[0].guest_path = "/srv/data".into();
        assert!(
            elsewhere
                .why_only_cold()
                .is_some_and(|why| why.contains("mounted"))
        );
    }

    #[test]
    fn the_base_has_nothing_that_one_vm_alone_has() {
        let base = example().base();
        assert!(base.shares.is_empty() && base.disks.is_empty() && base.execute.is_empty());
        assert!(base.ssh.is_some_and(|ssh| ssh.authorized_key.is_empty()));
    }
}
