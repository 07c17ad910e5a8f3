//! What bcvk runs of itself.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::GuestOptions;

/// Not for users, and not stable.
#[derive(Debug, Subcommand)]
pub(crate) enum Internal {
    /// PID 1 of a VM's container
    Supervise,
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
        dir: PathBuf,
    },
    /// Give up all rights and become QEMU
    ExecQemu {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Connect standard input and output with a VM's sshd
    Proxy { dir: PathBuf },
    /// Remove the directory of a VM whose container is gone
    Forget { dir: PathBuf },
    /// In an initramfs: mount the image, and make it writable and volatile
    MountRoot,
    /// In an initramfs: put in place what the image's system starts from
    HandOver,
    /// In a VM: do what its host says
    Agent,
}

/// A VM whose image is mounted already.
#[derive(Debug, Args)]
pub(crate) struct Pod {
    /// Its image, for messages
    pub(crate) image: String,

    #[command(flatten)]
    pub(crate) guest: GuestOptions,
}
