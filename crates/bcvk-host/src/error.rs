//! Errors that keep the host from running a VM, in the user's words. The CLI adds hints and chooses
//! exit codes.

use std::io;
use std::path::PathBuf;

use bcvk_contract::spec::{Arch, LABEL_RUNNER, MemorySize, SpecError};
use bcvk_contract::status::{Failure, Phase};

use crate::Tool;

/// Error of the host's machine, of podman, or of a file of bcvk's own.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each message says what the variant and its fields are"
)]
pub enum HostError {
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} is not installed", .0.program())]
    ToolMissing(Tool),
    #[error(
        "{variable} is set, which makes podman the client of a service; a VM needs podman itself, on this machine"
    )]
    RemotePodman { variable: &'static str },
    #[error("QEMU at {} cannot be used: it was built without user networking (libslirp)", .0.display())]
    NoUserNetwork(PathBuf),
    #[error("QEMU at {} cannot be used: only the host's /usr is visible to the VM's container", .0.display())]
    QemuOutsideUsr(PathBuf),
    #[error("containers with the host's /usr cannot run here: {} is a directory of its own, and no link into /usr", .0.display())]
    UsrNotMerged(PathBuf),
    #[error("{user} has too few subordinate IDs in {file} for rootless containers")]
    FewSubIds { user: String, file: &'static str },
    #[error("KVM was asked for, but cannot be used: {obstacle}")]
    NoKvm {
        obstacle: String,
        remedy: Option<String>,
    },
    #[error("a guest cannot run VMs of its own here: {module} was loaded with `nested` turned off")]
    NestedOff { module: &'static str },
    #[error("a guest for {0} cannot run VMs of its own; one for x86_64 can")]
    NestedArch(Arch),
    #[error("a VM with {asked} of memory cannot fit: {whose} has {total} ({available} available)")]
    MemoryTooLarge {
        asked: MemorySize,
        whose: String,
        total: MemorySize,
        available: MemorySize,
    },
    #[error("only {allowed} files may be open at once here; a VM and podman need {needed}")]
    FewOpenFiles { allowed: u64, needed: u64 },
    #[error("a container named {name} already exists")]
    NameTaken { name: String },
    #[error("podman could not {action}")]
    Podman { action: Operation, stderr: String },
    #[error("cannot {action}")]
    Io {
        action: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot make the VM's files in {}", dir.display())]
    VmDir {
        dir: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl HostError {
    /// Makes an I/O error that says what was being done.
    pub fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}

/// Image that is not here, or is not what it was given for.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each message says what the variant and its fields are"
)]
pub enum ImageError {
    #[error("image {reference} does not exist here")]
    Missing { reference: String },
    #[error("{reference:?} cannot name an image")]
    Name { reference: String },
    #[error("image {reference} could not be pulled")]
    PullFailed { reference: String },
    #[error(
        "image {reference} has the annotation {annotation:?}, which would steer the container's runtime"
    )]
    SteersRuntime {
        reference: String,
        annotation: String,
    },
    #[error("image {reference} is for {found}; a VM needs x86_64 or aarch64")]
    Arch { reference: String, found: String },
    #[error("image {reference} is no runner: it has no label {LABEL_RUNNER}")]
    NotARunner { reference: String },
    #[error("runner {reference} has bcvk {found}; this is {}", env!("CARGO_PKG_VERSION"))]
    RunnerVersion { reference: String, found: String },
    #[error("runner {reference} is for {found}, the image for {wanted}")]
    RunnerArch {
        reference: String,
        found: Arch,
        wanted: Arch,
    },
}

/// File of the user's that cannot be what it was given for.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each message says what the variant and its fields are"
)]
pub enum FileError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("cannot share {}", path.display())]
    Share {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot share {}: it is not a directory", .0.display())]
    ShareNotDirectory(PathBuf),
    #[error("{} cannot be a disk of the VM", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} cannot be a disk of the VM: only regular files can", .0.display())]
    DiskNotRegular(PathBuf),
    #[error("{} looks like qcow2, but would be read as raw", file.display())]
    DiskLooksQcow2 { file: PathBuf, name: String },
    #[error("{} is not a qcow2 file", .0.display())]
    DiskNotQcow2(PathBuf),
    #[error("{} cannot be a disk of the VM: a part of it is in another file, which the VM would not see", .0.display())]
    DiskHasBacking(PathBuf),
    #[error("the systemd units in {} cannot be read", dir.display())]
    Units {
        dir: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} has no systemd units", .0.display())]
    NoUnits(PathBuf),
    #[error("{} cannot be used as Ignition's configuration", path.display())]
    Ignition {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} cannot be used as cloud-init's user data", path.display())]
    UserData {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the VM's output cannot go to {}", path.display())]
    Output {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{0:?} cannot be given to a container: podman takes paths of UTF-8 text without carriage returns"
    )]
    NotText(PathBuf),
}

/// Reason why waiting for a VM ended without what was awaited.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each message says what the variant and its fields are"
)]
pub enum WatchError {
    #[error("{}", .0.sentence())]
    Vm(Box<Failure>),
    #[error("the VM's supervisor could not start in a container of image {reference}")]
    SupervisorNotStarted { reference: String },
    #[error("the VM's supervisor ended without saying why (phase: {})", phase.describe())]
    SupervisorVanished {
        phase: Phase,
        console_tail: Vec<String>,
    },
    #[error("the VM was stopped before it was ready")]
    Stopped,
    #[error("the VM was not ready after {seconds:.0} s; it was still at: {}", phase.describe())]
    ReadyTimeout {
        seconds: f64,
        phase: Phase,
        starting: Vec<String>,
        console_tail: Vec<String>,
    },
    #[error("detached from the VM's console; the VM goes on running")]
    Detached,
    #[error("interrupted")]
    Interrupted { signal: i32 },
}

/// Task that podman was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `podman image inspect`
    InspectImage,
    /// `podman run`
    Start,
    /// `podman run` of a container that does nothing
    Try,
    /// `podman ps`
    List,
    /// `podman images`
    ListImages,
    /// `podman info`
    FindStorage,
    /// `podman stop`
    Stop,
    /// `podman rm`
    Remove,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InspectImage => "look at the image",
            Self::Start => "start the VM's container",
            Self::Try => "start a container",
            Self::List => "list containers",
            Self::ListImages => "list images",
            Self::FindStorage => "say where its storage is",
            Self::Stop => "stop the VM",
            Self::Remove => "remove the VM",
        })
    }
}
