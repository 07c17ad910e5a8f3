//! Errors that only the command line can make.

use std::io;
use std::path::PathBuf;

use bcvk_contract::checkpoint::{MAX_CHECKPOINTS, Refusal};
use bcvk_contract::spec::Timeout;
use bcvk_contract::status::{Failure, Phase};

use super::hint::{failure_hint, file_hint};
use super::{Explain, Kind, Words};

/// Options, or what they name, that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    #[error("{place}: {problem}")]
    Setting { place: String, problem: String },
    #[error("{verb} runs its command over SSH, not with --execute")]
    ExecuteOverSsh { verb: &'static str },
    #[error("{verb} logs in over SSH, and --no-ssh-keygen leaves that out")]
    SshNeeded { verb: &'static str },
    #[error(
        "--ready early is not possible with --login image: that is ready when its sshd answers"
    )]
    EarlyImageLogin,
    #[error("--output json does not go with {0}: only one can have standard output")]
    NoEvents(&'static str),
    #[error(
        "{0} has no place with --detach and --execute: the container's output is that of the command; keep the console and the journal with --log-dir"
    )]
    StreamOverCommand(&'static str),
    #[error(
        "--ignition has no place with --initramfs direct: Ignition runs in the image's own initramfs; leave one of the two out"
    )]
    IgnitionWithoutInitramfs,
    #[error(
        "--publish has no meaning with --network host: the VM has no address of its own there; leave one of them out"
    )]
    PublishOnHostNetwork,
    #[error(
        "--var-size is the size of a /var in memory, and --var-disk puts /var on a disk: leave one of them out; --var-disk=SIZE is the size of the disk"
    )]
    VarTwice,
    #[error("in the template of --format, {0}")]
    Template(String),
    #[error("one VM can be followed at a time")]
    FollowSeveral,
    #[error("neither of the two is in a VM: NAME:PATH is")]
    CopyWithoutVm,
    #[error("files are copied between a VM and this machine, not between two VMs")]
    CopyBetweenVms,
    #[error("this VM cannot be resumed from a snapshot: {0}")]
    NotResumable(&'static str),
    #[error("the {what} cannot go to {}", path.display())]
    ResultFile {
        /// The result, in a word.
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl Explain for UsageError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Setting { .. } => "`man bcvk-config` describes the settings".to_owned(),
            Self::ExecuteOverSsh { verb } => format!(
                "give the command after the image: {verb} … IMAGE -- CMD; or use `bcvk ephemeral run \
                 --execute`"
            ),
            Self::SshNeeded { .. } => {
                "leave --no-ssh-keygen out, or use `bcvk ephemeral run`".to_owned()
            }
            Self::NoEvents(_) => {
                "leave one of them out; a VM of `bcvk ephemeral run --output json` can be reached \
                 with `bcvk ephemeral ssh`"
                    .to_owned()
            }
            Self::StreamOverCommand(_)
            | Self::IgnitionWithoutInitramfs
            | Self::PublishOnHostNetwork
            | Self::VarTwice
            | Self::Template(_)
            | Self::EarlyImageLogin => return None,
            Self::FollowSeveral => "leave --follow out, or name one VM".to_owned(),
            Self::CopyWithoutVm => {
                "`bcvk ephemeral cp FILE VM:/PATH` copies into VM; `bcvk ephemeral ps` shows the names"
                    .to_owned()
            }
            Self::CopyBetweenVms => {
                "copy to a directory here first, or boot both with one `--bind`".to_owned()
            }
            Self::NotResumable(_) => COLD.to_owned(),
            Self::ResultFile { path, source, .. } => return file_hint(path, source.kind()),
        };
        Some(hint)
    }
}

/// Hint for a VM that cannot be resumed, which `--warm require` demands.
const COLD: &str =
    "--warm auto boots a VM that cannot be resumed, and makes a snapshot of it if it can";

/// Requests about VMs and snapshots that cannot be met.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("there is no snapshot of this VM")]
    NoSnapshot,
    #[error("there is no snapshot {0}, or more than one whose name begins so")]
    NoSuchSnapshot(String),
    #[error("snapshot {0} is in use")]
    SnapshotInUse(String),
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
    #[error("no port of the host leads to {port} of VM {name}")]
    NotPublished { name: String, port: String },
    #[error("VM {name} is not ready: its boot has come to \"{}\"", phase.describe())]
    NotReady { name: String, phase: Phase },
    #[error("VM {name} {}", refused(refusal, checkpoint.as_deref()))]
    Checkpoint {
        name: String,
        /// The checkpoint that was named.
        checkpoint: Option<String>,
        refusal: Refusal,
    },
    #[error("removing every VM needs a confirmation, and standard input is not a terminal")]
    NeedsForce,
    #[error("VM {name} ended before {awaited}")]
    EndedBefore {
        name: String,
        awaited: String,
        failure: Option<Box<Failure>>,
    },
    #[error("VM {name} {state} after {timeout}{}", still_at(*phase))]
    Timeout {
        name: String,
        state: String,
        phase: Option<Phase>,
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
}

/// Returns what a VM has not done about a checkpoint, and why.
fn refused(refusal: &Refusal, checkpoint: Option<&str>) -> String {
    let named = checkpoint.map_or_else(String::new, |name| format!(" {name}"));
    match refusal {
        Refusal::NotReady => "is not ready, or about to end".to_owned(),
        Refusal::NoSuch => format!("has no checkpoint{named}"),
        Refusal::Exists => format!("has a checkpoint{named} already"),
        Refusal::TooMany => {
            format!("has {MAX_CHECKPOINTS} checkpoints, and can have no more")
        }
        Refusal::NoWayIn => {
            "can have no checkpoints: they need bcvk's own way in, which is closed".to_owned()
        }
        Refusal::RunsCommands => {
            "can have no checkpoints: it runs commands, whose output cannot be taken back"
                .to_owned()
        }
        Refusal::UsersDisk(disk) => format!(
            "can have no checkpoints: its disk {disk} is a file of the host's, which would not be saved"
        ),
        Refusal::HostImages => {
            "can have no checkpoints: it sees the host's images, whose file server cannot be saved"
                .to_owned()
        }
        Refusal::Failed(_) => "could not be saved or taken back, and goes on as before".to_owned(),
    }
}

/// Returns how to have what was refused.
fn refusal_hint(name: &str, refusal: &Refusal) -> String {
    match refusal {
        Refusal::NotReady => format!("`bcvk ephemeral wait {name}` returns when it is"),
        Refusal::NoSuch => format!(
            "`bcvk ephemeral checkpoint {name}` makes one; `bcvk ephemeral snapshots ls` shows all"
        ),
        Refusal::Exists => "--replace puts the new one in its place".to_owned(),
        Refusal::TooMany => {
            format!("`bcvk ephemeral snapshots rm {name}/CHECKPOINT` removes one")
        }
        Refusal::NoWayIn => "start it with --login bcvk and without --no-ssh-keygen".to_owned(),
        Refusal::RunsCommands => format!(
            "start it without --execute, and run them with `bcvk ephemeral ssh {name} COMMAND`"
        ),
        Refusal::UsersDisk(_) => {
            "start it without; --var-disk and --add-swap give it disks that are saved too"
                .to_owned()
        }
        Refusal::HostImages => "start it without --bind-storage-ro".to_owned(),
        Refusal::Failed(_) => {
            format!(
                "`podman logs {name}` may say more, and `bcvk doctor` whether this machine is fit"
            )
        }
    }
}

/// Returns the phase as the end of a sentence.
fn still_at(phase: Option<Phase>) -> String {
    phase.map_or_else(String::new, |phase| {
        format!("; it was still at: {}", phase.describe())
    })
}

impl Explain for RequestError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoSnapshot | Self::NoSuchSnapshot(_) | Self::SnapshotInUse(_) => Kind::Host,
            Self::NoSuchVm { .. }
            | Self::NotAVm { .. }
            | Self::NotRunning { .. }
            | Self::StillRunning { .. }
            | Self::NoSsh { .. }
            | Self::NotPublished { .. }
            | Self::NotReady { .. }
            | Self::NeedsForce
            | Self::Checkpoint { .. }
            | Self::UnitNotActive { .. }
            | Self::InGuest { .. } => Kind::Refused,
            Self::EndedBefore { .. } => Kind::Ended,
            Self::Timeout { .. } => Kind::Timeout,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoSnapshot => COLD.to_owned(),
            Self::NoSuchSnapshot(_) => {
                "`bcvk ephemeral snapshots ls` shows which there are".to_owned()
            }
            Self::SnapshotInUse(_) => {
                "a VM is being resumed from it or saved to it; `bcvk ephemeral ps` shows VMs"
                    .to_owned()
            }
            Self::NoSuchVm { .. } => "`bcvk ephemeral ps -a` lists the VMs there are".to_owned(),
            Self::NotAVm { name } => format!("`podman` manages it: `podman rm {name}`"),
            Self::NotRunning { name } => format!("`bcvk ephemeral start {name}` boots it again"),
            Self::StillRunning { name } => {
                format!("`bcvk ephemeral stop {name}` first, or `bcvk ephemeral rm -f {name}`")
            }
            Self::NoSsh { name } => {
                format!("start it without, or read its console: `bcvk ephemeral logs {name}`")
            }
            Self::NotPublished { name, .. } => format!(
                "`bcvk ephemeral port {name}` lists those that do; `--publish` of `bcvk ephemeral run` adds one, and `bcvk \
                 ephemeral ssh -N -L 8080:localhost:80 {name}` leads one in now"
            ),
            Self::NotReady { name, phase } if *phase < Phase::Ready => {
                format!("`bcvk ephemeral wait {name}` returns when it is")
            }
            Self::NotReady { .. } => "boot another one".to_owned(),
            Self::Checkpoint { name, refusal, .. } => refusal_hint(name, refusal),
            Self::NeedsForce => "use `bcvk ephemeral rm-all -f`".to_owned(),
            Self::EndedBefore { name, failure, .. } => {
                let hint = failure.as_deref().and_then(failure_hint);
                hint.unwrap_or_else(|| {
                    format!("`bcvk ephemeral logs {name}` shows its console, if it was kept")
                })
            }
            Self::Timeout { name, .. } => format!(
                "`bcvk ephemeral logs {name}` shows its console; `bcvk ephemeral wait` waits as long \
                 as its --timeout says"
            ),
            Self::UnitNotActive { name, unit, .. } => {
                format!("`bcvk ephemeral ssh {name} systemctl status {unit}` says more")
            }
            Self::InGuest { name, .. } => {
                format!("`bcvk ephemeral ssh {name}` may say more; `logs {name}` shows its console")
            }
        })
    }

    fn words(&self) -> Words {
        match self {
            Self::EndedBefore {
                failure: Some(failure),
                ..
            } => {
                let mut words = Words::from(&**failure);
                words.causes.insert(0, failure.sentence());
                words
            }
            Self::Timeout {
                starting,
                console_tail,
                ..
            } => Words::of_slow_boot(starting, console_tail),
            Self::Checkpoint {
                refusal: Refusal::Failed(why),
                ..
            } => Words {
                causes: vec![why.clone()],
                ..Words::default()
            },
            Self::InGuest { stderr, .. } => Words {
                causes: stderr.lines().map(str::to_owned).collect(),
                ..Words::default()
            },
            _ => Words::default(),
        }
    }
}
