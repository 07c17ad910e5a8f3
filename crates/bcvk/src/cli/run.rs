//! `run` and `run-ssh`.

use std::path::PathBuf;

use bcvk_vm::host::PullPolicy;
use bcvk_vm::spec::{DiskRequest, Label, LogDir, SerialPort, Stream, Timeout, Warm};
use clap::Args;

use super::GuestOptions;

/// Options of `run` and `run-ssh`: what a VM is like, and what of the host's it gets.
#[derive(Debug, Args)]
#[command(next_help_heading = "VM")]
pub(crate) struct VmOptions {
    #[command(flatten)]
    pub(crate) guest: GuestOptions,

    /// Share a host directory read-write, at /run/virtiofs-mnt-NAME in the VM
    #[arg(long, value_name = "HOST[:NAME]")]
    pub(crate) bind: Vec<String>,

    /// Share a host directory read-only
    #[arg(long, value_name = "HOST[:NAME]")]
    pub(crate) ro_bind: Vec<String>,

    /// Let podman in the VM use the host's images, read-only
    #[arg(long)]
    pub(crate) bind_storage_ro: bool,

    /// Give the VM a disk, at /dev/disk/by-id/virtio-NAME; a file that is missing is made, sparse
    #[arg(long, value_name = "FILE[:NAME[:FORMAT]]")]
    pub(crate) mount_disk_file: Vec<DiskRequest>,

    /// Add the systemd units in DIR, or in DIR/system
    #[arg(long, value_name = "DIR")]
    pub(crate) systemd_units: Option<PathBuf>,

    /// Give the VM a configuration for Ignition
    #[arg(long, value_name = "FILE")]
    pub(crate) ignition: Option<PathBuf>,

    /// The container's network, as for podman run
    #[arg(long)]
    pub(crate) network: Option<String>,

    /// Add a label to the container
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<Label>,

    /// Show the VM's console
    #[arg(long, conflicts_with = "output")]
    pub(crate) console: bool,

    /// Keep the VM's journal, console, or both, in a directory
    #[arg(long, value_name = "STREAMS=DIR")]
    pub(crate) log_dir: Option<LogDir>,

    /// Keep what the VM writes to /dev/virtio-ports/NAME
    #[arg(long, value_name = "NAME:FILE")]
    pub(crate) virtio_serial_out: Vec<SerialPort>,

    /// Whether to resume the VM from a snapshot: auto makes one for the next time if there is none,
    /// off boots, require refuses to boot
    #[arg(long, default_value = "off", value_name = "HOW")]
    pub(crate) warm: Warm,

    /// Take QEMU and bcvk's part in the container from this image, instead of from the host
    #[arg(long, value_name = "IMAGE")]
    pub(crate) runner: Option<String>,

    /// When to pull the image: never, missing, or always
    #[arg(long, default_value = "missing", value_name = "WHEN")]
    pub(crate) pull: PullPolicy,

    /// How long the VM may take until it is ready; without effect in the background
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub(crate) timeout: Timeout,

    /// Open a shell in the VM's container instead of starting the VM
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) debug: bool,

    /// Print the podman and QEMU command lines and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl VmOptions {
    /// The stream of the VM's that is to be shown.
    pub(crate) fn shown(&self) -> Option<Stream> {
        self.console
            .then_some(Stream::Console)
            .or(self.guest.output)
    }
}

/// Run a bootc container image as an ephemeral VM
///
/// Attached, the command ends when the VM does, and Ctrl-C shuts the VM down.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral run -d --rm --name testvm localhost/mybootc
  bcvk ephemeral run --console localhost/mybootc
  bcvk ephemeral run --rm --execute 'systemctl --failed' localhost/mybootc")]
pub(crate) struct Run {
    /// Container image to boot
    pub(crate) image: String,

    /// Run in the background and print the container ID
    #[arg(short, long, conflicts_with_all = ["tty", "interactive", "console", "debug"])]
    pub(crate) detach: bool,

    /// Remove the container when the VM ends
    #[arg(long)]
    pub(crate) rm: bool,

    /// Give the console a terminal
    #[arg(short, long, conflicts_with = "execute")]
    pub(crate) tty: bool,

    /// Type into the VM's console
    #[arg(short, long, conflicts_with = "execute")]
    pub(crate) interactive: bool,

    #[command(flatten)]
    pub(crate) vm: VmOptions,
}

/// Run an ephemeral VM, ssh into it, and remove it afterwards
///
/// Without CMD, opens a shell. The exit code is that of CMD or the shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral run-ssh localhost/mybootc
  bcvk ephemeral run-ssh --memory 8G localhost/mybootc -- systemctl is-system-running --wait")]
pub(crate) struct RunSsh {
    /// Container image to boot
    pub(crate) image: String,

    /// Command to run in the VM instead of a shell
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,

    /// Remove the container afterwards; always done
    #[arg(long, hide = true)]
    pub(crate) rm: bool,

    /// Give CMD a terminal, as ssh -t does
    #[arg(short, long)]
    pub(crate) tty: bool,

    /// Keep standard input open; always done
    #[arg(short, long, hide = true)]
    pub(crate) interactive: bool,

    #[command(flatten)]
    pub(crate) vm: VmOptions,
}
