//! `run` and `run-ssh`.

use std::path::PathBuf;

use bcvk_vm::host::{AccelRequest, PullPolicy};
use bcvk_vm::spec::{
    DiskRequest, Fidelity, Initramfs, InstanceType, Karg, Label, LogDir, MemorySize, PortForward,
    SerialPort, Stream, SwapSize, Timeout, VmName, Warm,
};
use clap::Args;

/// What a VM is like: options of `run` and `run-ssh`.
#[derive(Debug, Args)]
#[command(next_help_heading = "VM")]
pub(crate) struct VmOptions {
    /// KubeVirt instance type, u1.nano to u1.8xlarge; overrides --memory and --vcpus
    #[arg(long, value_name = "TYPE")]
    pub(crate) itype: Option<InstanceType>,

    /// Memory: 4G, 2048M; a plain number is MiB
    #[arg(long, value_name = "SIZE", default_value = "4G")]
    pub(crate) memory: MemorySize,

    /// Number of virtual processors [default: all of the host's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(crate) vcpus: Option<u32>,

    /// Name of the VM [default: bcvk- and a random number]
    #[arg(long)]
    pub(crate) name: Option<VmName>,

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

    /// Give the VM a swap device
    #[arg(long, value_name = "SIZE")]
    pub(crate) add_swap: Option<SwapSize>,

    /// Add the systemd units in DIR, or in DIR/system
    #[arg(long, value_name = "DIR")]
    pub(crate) systemd_units: Option<PathBuf>,

    /// Give the VM a configuration for Ignition
    #[arg(long, value_name = "FILE")]
    pub(crate) ignition: Option<PathBuf>,

    /// Run a command in the VM once its system is up, then power it off
    #[arg(long, value_name = "CMD", allow_hyphen_values = true)]
    pub(crate) execute: Vec<String>,

    /// Add a kernel argument
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) karg: Vec<Karg>,

    /// Set an environment variable for the VM's services and sessions; without a value, pass on
    /// your own
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,

    /// Forward a port of the host into the VM
    #[arg(short, long, value_name = "[IP:]HOST:GUEST[/tcp|udp]")]
    pub(crate) publish: Vec<PortForward>,

    /// The container's network, as for podman run
    #[arg(long)]
    pub(crate) network: Option<String>,

    /// Add a label to the container
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<Label>,

    /// Make an SSH key for the VM; this is the default
    #[arg(short = 'K', long, overrides_with = "no_ssh_keygen")]
    pub(crate) ssh_keygen: bool,

    /// Do not make the VM reachable by SSH
    #[arg(long)]
    pub(crate) no_ssh_keygen: bool,

    /// Show the VM's console
    #[arg(long)]
    pub(crate) console: bool,

    /// Show the VM's console or its journal
    #[arg(long, value_name = "STREAM", conflicts_with = "console")]
    pub(crate) output: Option<Stream>,

    /// Keep the VM's journal, console, or both, in a directory
    #[arg(long, value_name = "STREAMS=DIR")]
    pub(crate) log_dir: Option<LogDir>,

    /// Keep what the VM writes to /dev/virtio-ports/NAME
    #[arg(long, value_name = "NAME:FILE")]
    pub(crate) virtio_serial_out: Vec<SerialPort>,

    /// How much of the image's boot to repeat: fast, without what only a host that lasts needs, or
    /// full
    #[arg(long, default_value = "fast", value_name = "HOW")]
    pub(crate) fidelity: Fidelity,

    /// What to boot through: the image's own initramfs, or direct, with one that does nothing but
    /// make the image the root
    #[arg(long, default_value = "image", value_name = "WHICH")]
    pub(crate) initramfs: Initramfs,

    /// Whether to resume the VM from a snapshot: auto makes one for the next time if there is none,
    /// off boots, require refuses to boot
    #[arg(long, default_value = "off", value_name = "HOW")]
    pub(crate) warm: Warm,

    /// How to run the guest: kvm, tcg (emulation), or auto, which takes kvm where it works
    #[arg(long, default_value = "auto", value_name = "WHICH")]
    pub(crate) accel: AccelRequest,

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
        self.console.then_some(Stream::Console).or(self.output)
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
