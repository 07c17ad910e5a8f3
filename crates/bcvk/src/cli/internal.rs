//! Subcommands that bcvk runs of itself.

use std::ffi::OsString;
use std::path::PathBuf;

use bcvk_contract::control::Message;
use bcvk_contract::spec::{Expose, Sha256Digest};
use bcvk_contract::user_net::UserNet;
use bcvk_guest::login::Launch;
use clap::{Args, Subcommand};

use super::{GuestOptions, words};

/// Not for users, and not stable.
#[derive(Debug, Subcommand)]
pub(crate) enum Internal {
    /// PID 1 of a VM's container
    Supervise(ContainerRoot),
    /// A shell in the container, where its supervisor would be
    Debug(ContainerRoot),
    /// PID 1 of a runner's container that nobody has prepared for its VM, in a Kubernetes Pod
    Pod(Box<Pod>),
    /// Whether the VM of this container is ready
    Ready,
    /// Serve one share on the socket that is standard input
    Virtiofs {
        #[arg(long)]
        read_only: bool,
        #[arg(long)]
        immutable: bool,
        #[arg(long, requires = "read_only")]
        images: bool,
        /// Record all that the guest looks at in this file
        #[arg(long, requires_all = ["immutable", "given"])]
        trace: Option<PathBuf>,
        /// Record what it has looked at before it is mounted in this file
        #[arg(long, requires = "trace")]
        early: Option<PathBuf>,
        /// Digest of what the guest is given of the image
        #[arg(long, value_parser = digest)]
        given: Option<Sha256Digest>,
        /// File of the image that the guest is given
        #[arg(long)]
        file: Vec<PathBuf>,
        dir: PathBuf,
    },
    /// Give up all rights and become QEMU
    ExecQemu {
        /// Change to the root whose directory is standard input
        #[arg(long)]
        root: bool,
        /// Directory with the files of the guest
        #[arg(long)]
        files: Option<PathBuf>,
        /// User and group to become, as UID:GID
        #[arg(long, value_parser = user)]
        user: Option<(u32, u32)>,
        /// Keep the use of /dev/kvm
        #[arg(long)]
        kvm: bool,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Connect standard input and output with a VM, for a session of this user
    Proxy { dir: PathBuf, user: Option<String> },
    /// The same inside the container
    Relay { dir: PathBuf, user: Option<String> },
    /// Remove the directory of a VM whose container is gone
    Forget { dir: PathBuf },
    /// Make a snapshot of what a VM has saved
    KeepSnapshot { snapshot: PathBuf, dir: PathBuf },
    #[command(flatten)]
    InGuest(InGuest),
}

/// Tasks of the program in a VM.
#[derive(Debug, Subcommand)]
pub(crate) enum InGuest {
    /// In an initramfs: mount the image, and make it writable and volatile
    MountRoot,
    /// In an initramfs: put in place what the image's system starts from
    HandOver,
    /// In a VM: do what its host says
    Agent,
    /// In a VM: take the sessions of its user, and tell the host what listens
    Login {
        #[arg(value_parser = words::parser::<Expose>())]
        exposes: Expose,
    },
    /// In a VM: tell the host what listens
    ReportListening,
    /// In a VM: become a process of a user's session
    Session {
        launch: Launch,
        /// Program with its arguments; without one, files are served with SFTP
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// In a VM: tell the host a message of the control port
    Tell {
        #[arg(value_parser = message)]
        message: Message,
    },
    /// In a VM: tell the host which units failed
    ReportFailed,
    /// In a VM: tell the host whom the image's sshd refuses
    ReportRefusals,
    /// In a VM: run the commands that it is for, and power off
    Execute,
    /// In a VM: send the journal to the host, through the virtio-serial port of this number
    SendJournal { port: u8 },
    /// In a VM: give the network card its address in this network
    ConfigureNetwork {
        net: UserNet,
        /// Domain in which names of one word are looked for
        domain: Option<String>,
    },
    /// In a VM: keep this program for the root that a soft-reboot changes to
    KeepProgram,
}

/// Root of a container that is prepared for its supervisor.
#[derive(Debug, Args)]
pub(crate) struct ContainerRoot {
    /// Directory of the container that has all of it
    #[arg(long)]
    pub(crate) root: PathBuf,
    /// QEMU comes from this container's image
    #[arg(long)]
    pub(crate) runner: bool,
}

fn digest(text: &str) -> Result<Sha256Digest, &'static str> {
    text.to_owned().try_into()
}

fn message(text: &str) -> Result<Message, String> {
    Message::parse(text).ok_or_else(|| "not a message".to_owned())
}

fn user(text: &str) -> Result<(u32, u32), String> {
    let ids = text
        .split_once(':')
        .map(|(uid, gid)| (uid.parse(), gid.parse()));
    match ids {
        Some((Ok(uid), Ok(gid))) => Ok((uid, gid)),
        _ => Err("not UID:GID".to_owned()),
    }
}

/// A VM whose image is mounted already.
#[derive(Debug, Args)]
pub(crate) struct Pod {
    /// Its image, for messages
    pub(crate) image: String,

    #[command(flatten)]
    pub(crate) guest: GuestOptions,
}
