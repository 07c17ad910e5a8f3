//! Errors that keep the host from running a VM.

use std::io;
use std::path::PathBuf;

use bcvk_contract::linkage::NotStatic;
use bcvk_contract::spec::{Arch, LABEL_RUNNER, MemorySize, SpecError, Timeout};
use bcvk_contract::status::{Failure, Phase};

use crate::Tool;

/// Everything that can go wrong on the host's side, in the user's words.
///
/// The CLI adds the hint and chooses the exit code by variant.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each message says what the variant and its fields are"
)]
pub enum HostError {
    #[error(transparent)]
    NotStatic(#[from] NotStatic),
    #[error("{} is not installed", .0.program())]
    ToolMissing(Tool),
    #[error("QEMU at {} cannot be used: only the host's /usr is visible to the VM's container", .0.display())]
    QemuOutsideUsr(PathBuf),
    #[error("containers with the host's /usr cannot run here: {} is a directory of its own, and no link into /usr", .0.display())]
    UsrNotMerged(PathBuf),
    #[error("{user} has too few subordinate IDs in {file} for rootless containers")]
    FewSubIds { user: String, file: &'static str },
    #[error("image {reference} does not exist here")]
    ImageMissing { reference: String },
    #[error("{reference:?} cannot name an image")]
    ImageName { reference: String },
    #[error("image {reference} could not be pulled")]
    PullFailed { reference: String },
    #[error(
        "image {reference} has the annotation {annotation:?}, which would steer the container's runtime"
    )]
    ImageSteersRuntime {
        reference: String,
        annotation: String,
    },
    #[error("image {reference} is for {found}; a VM needs x86_64 or aarch64")]
    ImageArch { reference: String, found: String },
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
    #[error("the VM's supervisor could not start in a container of image {reference}")]
    SupervisorNotStarted { reference: String },
    #[error("KVM was asked for, but cannot be used: {obstacle}")]
    NoKvm {
        obstacle: String,
        remedy: Option<String>,
    },
    #[error("a VM with {asked} of memory cannot fit: {whose} has {total} ({available} available)")]
    MemoryTooLarge {
        asked: MemorySize,
        whose: String,
        total: MemorySize,
        available: MemorySize,
    },
    #[error("only {allowed} files may be open at once here; a VM and podman need {needed}")]
    FewOpenFiles { allowed: u64, needed: u64 },
    #[error("cannot share {}", path.display())]
    ShareSource {
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
    #[error("the VM's output cannot go to {}", path.display())]
    OutputFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the picture cannot go to {}", path.display())]
    Picture {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{0:?} cannot be given to a container: podman takes paths of UTF-8 text without carriage returns"
    )]
    PathNotText(PathBuf),
    #[error("{verb} runs its command over SSH, not with --execute")]
    ExecuteOverSsh { verb: &'static str },
    #[error("--output json does not go with {0}: only one can have standard output")]
    NoEvents(&'static str),
    #[error("this VM cannot be resumed from a snapshot: {0}")]
    NotResumable(&'static str),
    #[error("there is no snapshot of this VM")]
    NoSnapshot,
    #[error("there is no snapshot {0}, or more than one whose name begins so")]
    NoSuchSnapshot(String),
    #[error("snapshot {0} is in use")]
    SnapshotInUse(String),
    #[error("a container named {name} already exists")]
    NameTaken { name: String },
    #[error("there is no VM named {name}")]
    NoSuchVm { name: String },
    #[error("{name} is not a bcvk VM but another container")]
    NotAVm { name: String },
    #[error("VM {name} is not running")]
    NotRunning { name: String },
    #[error("VM {name} is running; only one that has ended is removed")]
    StillRunning { name: String },
    #[error("nobody can log in to VM {name}: it was started with --no-ssh-keygen")]
    NoSsh { name: String },
    #[error("{verb} logs in over SSH, and --no-ssh-keygen leaves that out")]
    SshNeeded { verb: &'static str },
    #[error("VM {name} is not ready: its boot has come to \"{}\"", phase.describe())]
    NotReady { name: String, phase: Phase },
    #[error("removing every VM needs a confirmation, and standard input is not a terminal")]
    NeedsForce,
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
    #[error("{}", .0.sentence())]
    Vm(Box<Failure>),
    #[error("the VM's supervisor ended without saying why (phase: {})", phase.describe())]
    SupervisorVanished {
        phase: Phase,
        console_tail: Vec<String>,
    },
    #[error("the VM was stopped before it was ready")]
    Stopped,
    #[error("the VM was not ready after {seconds:.0} s; it was still at: {phase}")]
    ReadyTimeout {
        seconds: f64,
        phase: String,
        starting: Vec<String>,
        console_tail: Vec<String>,
    },
    #[error("VM {name} ended before {awaited}")]
    EndedBefore {
        name: String,
        awaited: String,
        failure: Option<Box<Failure>>,
    },
    #[error("VM {name} {state} after {timeout}{}", still_at(phase.as_deref()))]
    WaitTimeout {
        name: String,
        state: String,
        phase: Option<String>,
        timeout: Timeout,
        starting: Vec<String>,
        console_tail: Vec<String>,
    },
    #[error("unit {unit} in VM {name} will not become active: it is {state}")]
    UnitNotActive {
        name: String,
        unit: String,
        state: String,
    },
    #[error("could not {action} in VM {name}")]
    InGuest {
        name: String,
        action: &'static str,
        stderr: String,
    },
    #[error("{place}: {problem}")]
    Setting { place: String, problem: String },
    #[error("detached from the VM's console; the VM goes on running")]
    Detached,
    #[error("interrupted")]
    Interrupted { signal: i32 },
    #[error(transparent)]
    Spec(#[from] SpecError),
}

/// Returns the phase as the end of a sentence.
fn still_at(phase: Option<&str>) -> String {
    phase.map_or_else(String::new, |phase| format!("; it was still at: {phase}"))
}

impl HostError {
    /// Makes an I/O error that says what was being done.
    pub fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
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
