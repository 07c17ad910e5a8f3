//! Specification of a VM: parsed from the user's words, resolved against the host, written to
//! `spec.json`.
//!
//! [`VmSpec`] is all that the supervisor learns about the VM it runs. It reads no environment and
//! rediscovers nothing, so what is not in here cannot change how a VM boots.

mod arch;
mod choice;
mod disk;
mod env;
mod error;
mod expose;
mod fidelity;
mod initramfs;
mod itype;
mod karg;
mod label;
mod login;
mod machine_id;
mod memory;
mod name;
mod pod;
mod public;
mod publish;
mod purpose;
mod share;
mod stage;
mod stream;
mod swap;
mod timeout;
mod unit;
mod var;
mod warm;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::choice;
use crate::user_net::UserNet;

pub use arch::Arch;
pub use choice::{Choice, choose, list};
pub use disk::{Disk, DiskFormat, DiskRequest, SWAP_NAME, check_disks, guest_disk};
pub use env::{EnvRequest, EnvVar};
pub use error::SpecError;
pub use expose::Expose;
pub use fidelity::Fidelity;
pub use initramfs::Initramfs;
pub use itype::InstanceType;
pub use karg::Karg;
pub use label::{LABEL, LABEL_RUNNER, LABEL_VM, Label};
pub use login::{Login, Reachable, Ready};
pub use machine_id::{MachineId, MachineIdRequest};
pub use memory::MemorySize;
pub use name::VmName;
pub use pod::{check_pod_name, pod_ports, pod_volume};
pub use publish::{PortForward, Protocol};
pub use purpose::Purpose;
pub use share::fits_unit;
pub use share::{ShareRequest, ShareTarget};
pub use stage::SnapshotStage;
pub use stream::{KeptLogs, LogDir, SerialPort, Stream, check_serial_ports};
pub use swap::SwapSize;
pub use timeout::Timeout;
pub use unit::{UnitContent, UnitFile};
pub use var::{VAR_NAME, Var, VarSize, volatile_limit};
pub use warm::{
    Earlier, Otherwise, Resume, SavedFile, SavedFiles, Sha256Digest, Snapshot, SnapshotImage, Warm,
};

/// Version of the `spec.json` layout; a supervisor refuses any other.
pub const SPEC_VERSION: u32 = 1;

/// Limit for the size of a spec. The user's units and commands are most of it, and a command line
/// has at most 2 MiB (execve(2)).
pub const MAX_SPEC_BYTES: u64 = 16 << 20;

/// Path inside the container of the directory that the container writes and the host reads.
pub const CONTAINER_VM_DIR: &str = "/run/bcvk";
/// Path of the [`VmSpec`] inside the container.
pub const CONTAINER_SPEC: &str = "/run/bcvk-spec.json";
/// Path of the configuration for Ignition inside the container.
pub const CONTAINER_IGNITION: &str = "/run/bcvk-ignition.json";
/// Path of the user data for cloud-init inside the container.
pub const CONTAINER_USER_DATA: &str = "/run/bcvk-user-data";
/// Path inside the container of the lock of the command that an attached VM belongs to.
pub const CONTAINER_CLI_LOCK: &str = "/run/bcvk-cli.lock";
/// Path of QEMU's root inside the container.
pub const CONTAINER_QEMU_ROOT: &str = "/root";
/// Directory of the guest's kernel, initramfs and memory, in QEMU's root.
pub const QEMU_BOOT_DIR: &str = "/boot";
/// Path inside the container of the pristine image, which the guest boots from.
pub const CONTAINER_IMAGE: &str = "/run/bcvk-image";
/// Path of the bcvk binary inside the container.
pub const CONTAINER_EXE: &str = "/run/bcvk-exe";
/// Directory under which the sources of binds are seen inside the container.
pub const CONTAINER_SHARES: &str = "/run/bcvk-shares";
/// Directory under which disk images are seen inside the container.
pub const CONTAINER_DISKS: &str = "/run/bcvk-disks";
/// Path of the directory for logs inside the container.
pub const CONTAINER_LOGS: &str = "/run/bcvk-logs";
/// Directory under which the files behind virtio-serial ports are seen inside the container.
pub const CONTAINER_SERIAL: &str = "/run/bcvk-serial";

/// Returns where `path`, one of those above, is in the container of the VM `id`, whose root is the
/// image's.
///
/// The supervisor makes the directory that all of them are in its root. The image cannot know its
/// name, so no link of the image leads there or is in the way.
#[must_use]
pub fn in_container(id: &str, path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    Path::new("/")
        .join(format!("bcvk-{id}"))
        .join(path.strip_prefix("/").unwrap_or(path))
}

/// virtiofs tag and mount point of the host's container storage, as the existing bcvk has them.
pub const STORAGE_TAG: &str = "mount_hoststorage";
/// See [`STORAGE_TAG`].
pub const STORAGE_GUEST_PATH: &str = "/run/virtiofs-mnt-hoststorage";

/// One VM, complete: the host resolves it, the supervisor obeys it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VmSpec {
    /// Layout version, [`SPEC_VERSION`].
    pub version: u32,
    /// Name of the container and of the guest.
    pub name: VmName,
    /// The image that the guest boots.
    pub image: ImageIdentity,
    /// Architecture of the image, and so of the guest.
    pub arch: Arch,
    /// How guest instructions are executed.
    pub accel: Accelerator,
    /// True if the guest's processor has hardware virtualisation.
    pub nested: bool,
    /// Number of virtual processors.
    pub vcpus: u32,
    /// Guest memory.
    pub memory: MemorySize,
    /// Absolute path of QEMU's system emulator, on the host and therefore in the container.
    pub qemu: PathBuf,
    /// The guest's machine ID; without one, what its system makes of the image's.
    pub machine_id: Option<MachineId>,
    /// The user's kernel arguments, after the image's and ours.
    pub kargs: Vec<Karg>,
    /// Host directories that the guest sees.
    pub shares: Vec<Share>,
    /// True if the guest's podman is to use the share [`STORAGE_TAG`] as an image store.
    pub host_storage: bool,
    /// Disk images that the guest sees as block devices.
    pub disks: Vec<Disk>,
    /// Size of a swap device for the guest.
    pub swap: Option<SwapSize>,
    /// Place of the guest's `/var`.
    pub var: Var,
    /// systemd units that are added to the guest.
    pub units: Vec<UnitFile>,
    /// True if the VM directory has a configuration for Ignition.
    pub ignition: bool,
    /// True if the VM directory has user data for cloud-init.
    pub cloud_init: bool,
    /// Shell commands to run once the system is up, one after the other, until one fails. The
    /// guest powers off afterwards.
    pub execute: Vec<String>,
    /// Ports forwarded from the container's network into the guest.
    pub ports: Vec<GuestPort>,
    /// The guest's network, `10.0.2.0/24` unless the host has a route there.
    pub network: UserNet,
    /// Domain in which the guest looks for names that are one word, as its container does.
    pub domain: Option<String>,
    /// Ports of the guest that its container has too, so that its neighbours reach them.
    pub expose: Expose,
    /// Environment for the guest's services and sessions.
    pub env: Vec<EnvVar>,
    /// How the guest lets the user in.
    pub ssh: Option<SshAccess>,
    /// SSH host key for guests that have none, in OpenSSH's private key format: sshd does not
    /// start without one, whoever uses it. Never shown: see [`VmSpec::public`].
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub host_key: String,
    /// How much of the image's boot the guest repeats.
    pub fidelity: Fidelity,
    /// First file system of the guest, before its image.
    pub initramfs: Initramfs,
    /// Use of a snapshot of the VM; none if the VM only boots.
    pub snapshot: Option<Snapshot>,
    /// Lifetime of the VM.
    pub lifetime: Lifetime,
    /// Use of the container's standard input.
    pub console: Console,
    /// Stream of the guest that the container's standard output carries.
    pub output: Stream,
    /// Streams that are kept in a directory of the user's.
    pub logs: Option<KeptLogs>,
    /// virtio-serial ports whose output is kept in files of the user's.
    pub serial_ports: Vec<SerialPort>,
}

/// Image that a VM was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ImageIdentity {
    /// Reference as the user wrote it, such as `localhost/mybootc`.
    pub reference: String,
    /// Full image ID (64 hexadecimal digits); in a Pod, where nobody tells it, empty.
    pub id: String,
}

/// A resolved accelerator; `auto` has been decided by the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// Hardware virtualisation.
    Kvm,
    /// QEMU's translation: works everywhere, roughly ten times slower.
    Tcg,
}

choice!(Accelerator, "an accelerator", { Kvm: "kvm", Tcg: "tcg" });

/// One directory shared into the guest over virtiofs, besides the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Share {
    /// virtiofs tag, at most 36 bytes (virtio 1.2, section 5.11.4).
    pub tag: String,
    /// The directory on the host, for messages and `inspect`.
    pub host: PathBuf,
    /// Mount point in the guest.
    pub guest_path: PathBuf,
    /// True if the guest may only read.
    pub read_only: bool,
}

impl Share {
    /// Returns the path of the share's source in the container.
    #[must_use]
    pub fn container_path(&self) -> PathBuf {
        Path::new(CONTAINER_SHARES).join(&self.tag)
    }

    /// Returns true if the guest's mount point has to be in the image: systemd makes it where the
    /// guest can write, and the rest of its root is read-only.
    #[must_use]
    pub fn needs_mount_point(&self) -> bool {
        !["/run", "/tmp", "/etc", "/var", "/root"]
            .iter()
            .any(|writable| self.guest_path.starts_with(writable))
    }
}

/// A port of the container that QEMU forwards to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GuestPort {
    /// Port on which QEMU listens in the container's network namespace.
    pub container: u16,
    /// Port in the guest.
    pub guest: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// Access to the guest over SSH. The private half of the user's key never crosses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SshAccess {
    /// `authorized_keys` line for the guest's root.
    pub authorized_key: String,
    /// Way in.
    pub login: Login,
    /// Moment from which on the VM counts as ready.
    pub ready: Ready,
}

/// Event that ends a VM besides its own power-off and `podman stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// Nothing: the VM outlives the command that started it.
    Detached,
    /// The death of the CLI, however it dies: the supervisor watches the lock that the CLI holds.
    Cli,
}

/// Use of the supervisor's standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Console {
    /// Nothing.
    Log,
    /// Pass it to the guest's console.
    Interactive,
}

impl VmSpec {
    /// Checks what every supervisor relies on.
    ///
    /// # Errors
    /// [`SpecError`] when the version is another one, two shares, disks or ports are in one place, or
    /// the guest's `/var` has no room.
    pub fn validate(&self) -> Result<(), SpecError> {
        if self.version != SPEC_VERSION {
            return Err(SpecError::Version {
                found: self.version,
                known: SPEC_VERSION,
            });
        }
        check_shares(&self.shares)?;
        check_disks(&self.disks)?;
        self.var.check_fits(self.memory, self.swap)?;
        self.var.check_shares(&self.shares)?;
        check_serial_ports(&self.serial_ports)
    }

    /// Returns the paths of the host that are seen in the container because the user gave them.
    pub fn host_paths(&self) -> impl Iterator<Item = &Path> {
        let shares = self.shares.iter().map(|share| &share.host);
        let disks = self.disks.iter().map(|disk| &disk.host);
        let ports = self.serial_ports.iter().map(|port| &port.host);
        let logs = self.logs.iter().map(|logs| &logs.host);
        let all = shares.chain(disks).chain(ports).chain(logs);
        all.map(PathBuf::as_path)
    }

    /// Returns true if the guest is to send its journal.
    #[must_use]
    pub fn wants_journal(&self) -> bool {
        let kept = self.logs.as_ref();
        self.output == Stream::Journal || kept.is_some_and(|logs| logs.keeps(Stream::Journal))
    }
}

/// Checks that no two shares are in one place.
///
/// # Errors
/// [`SpecError::ShareClash`] when two have one tag or mount point.
pub fn check_shares(shares: &[Share]) -> Result<(), SpecError> {
    for (i, share) in shares.iter().enumerate() {
        let clash = shares[..i]
            .iter()
            .find(|o| o.tag == share.tag || o.guest_path == share.guest_path);
        if let Some(other) = clash {
            return Err(SpecError::ShareClash {
                first: other.host.clone(),
                second: share.host.clone(),
                guest_path: share.guest_path.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::example;

    #[test]
    fn a_spec_survives_the_crossing() {
        let spec = example();
        let text = serde_json::to_string(&spec).expect("serialize");
        assert_eq!(serde_json::from_str::<VmSpec>(&text).expect("parse"), spec);
        spec.validate().expect("valid");
        for accel in [Accelerator::Kvm, Accelerator::Tcg] {
            let word = serde_json::to_value(accel).expect("serialize");
            assert_eq!(word, accel.to_string());
        }
    }

    #[test]
    fn what_a_supervisor_does_not_know_is_refused() {
        let mut json = serde_json::to_value(example()).expect("serialize");
        json["new_option"] = true.into();
        assert!(serde_json::from_value::<VmSpec>(json).is_err());

        let mut other = example();
        other.version += 1;
        assert!(matches!(other.validate(), Err(SpecError::Version { .. })));
    }

    #[test]
    fn two_shares_cannot_be_at_one_place() {
        let mut spec = example();
        let mut again = spec.shares[0].clone();
        again.tag = "mount_other".into();
        spec.shares.push(again);
        assert!(matches!(spec.validate(), Err(SpecError::ShareClash { .. })));
        spec.shares[1].guest_path = "/run/elsewhere".into();
        spec.validate().expect("nothing is the same");
        spec.shares[1].tag = spec.shares[0].tag.clone();
        assert!(matches!(spec.validate(), Err(SpecError::ShareClash { .. })));
    }

    #[test]
    fn what_a_user_gives_is_known_on_the_host_and_in_the_container() {
        let spec = example();
        let given: Vec<_> = spec.host_paths().collect();
        let expected = [
            "/home/user/my, project",
            "/home/user/my, disk.img",
            "/home/user/results.txt",
            "/home/user/logs",
        ];
        assert_eq!(given, expected.map(Path::new));
        let share = spec.shares[0].container_path();
        assert_eq!(share, Path::new("/run/bcvk-shares/mount_project"));
        let share = in_container("c0ffee", share);
        let expected = "/bcvk-c0ffee/run/bcvk-shares/mount_project";
        assert_eq!(share, Path::new(expected));
    }
}
