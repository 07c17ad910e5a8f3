//! `run` and `run-ssh`.

use std::path::PathBuf;

use bcvk_contract::spec::{
    DiskRequest, Label, LogDir, SerialPort, ShareRequest, Stream, Timeout, Warm,
};
use bcvk_host::PullPolicy;
use clap::{Args, ValueHint};

use super::{GuestOptions, Keep, Output, Volume, heading, words};

/// Options of `run` and `run-ssh`: what a VM is like, and what of the host's it gets.
#[derive(Debug, Args)]
pub(crate) struct VmOptions {
    #[command(flatten)]
    pub(crate) guest: GuestOptions,

    /// Share a host directory with the VM
    ///
    /// It is at `/run/virtiofs-mnt-NAME` in the VM, and may be written. NAME is letters, digits,
    /// `_`, `.` and `-`; without it, the last component of HOST is taken. `HOST:/absolute/path`
    /// mounts it at that path instead, which is made if it does not exist, must not lead through a
    /// symlink, and ends in neither a blank nor a backslash. HOST and other paths that the VM is to
    /// see have any characters but carriage returns, and are UTF-8: podman hands no others on.
    #[arg(
        long,
        value_name = "HOST[:NAME]",
        value_hint = ValueHint::DirPath,
        help_heading = heading::FILES
    )]
    pub(crate) bind: Vec<ShareRequest>,

    /// Share a host directory read-only
    ///
    /// The file server refuses writes too, not only the mount in the VM.
    #[arg(
        long,
        value_name = "HOST[:NAME]",
        value_hint = ValueHint::DirPath,
        help_heading = heading::FILES
    )]
    pub(crate) ro_bind: Vec<ShareRequest>,

    /// Share a host directory at a path
    ///
    /// As **podman run** has it. It is **--bind** or, with `:ro`, **--ro-bind**. `rw`, `z` and `Z` may follow too and change
    /// nothing: SELinux does not separate a VM from the directory. Volumes of podman's are refused.
    #[arg(
        short,
        long,
        value_name = "HOST:/PATH[:ro]",
        value_hint = ValueHint::DirPath,
        help_heading = heading::FILES
    )]
    pub(crate) volume: Vec<Volume>,

    /// Share podman's images read-only
    ///
    /// The images of the host's container storage are at `/run/virtiofs-mnt-hoststorage`, and podman in
    /// the VM is configured to take images from there (`additionalimagestores`, see
    /// **containers-storage.conf**(5)). All images are shared, also those that come later. Secrets,
    /// volumes and the files of containers are not; the list of layers has the IDs of containers' layers.
    /// Where a layer of an image replaces a whole directory, files
    /// that earlier layers had there are seen too: overlayfs marks such directories for privileged
    /// readers only, and the file server is none.
    ///
    /// The images are also at `/usr/lib/bootc/storage`, where units look for logically bound images. A
    /// notice names those that the host lacks.
    #[arg(long, help_heading = heading::FILES)]
    pub(crate) bind_storage_ro: bool,

    /// Give the VM a disk, made if missing
    ///
    /// The VM may write to it, and has it at `/dev/disk/by-id/virtio-NAME`. NAME is at most 20
    /// characters; without it, it is output. `:raw` or `:qcow2` after NAME is the format; without
    /// it, that is qcow2 for a FILE that ends in `.qcow2`, otherwise raw. A FILE that does not exist
    /// is made: twice the size of the VM's image, at least 4 GiB, of which it takes up what is
    /// written to it. Only regular files are accepted, and no qcow2 file with a backing file. The
    /// first disk is `/dev/vda`.
    #[arg(
        long,
        value_name = "FILE[:NAME]",
        value_hint = ValueHint::FilePath,
        help_heading = heading::FILES
    )]
    pub(crate) mount_disk_file: Vec<DiskRequest>,

    /// Add the systemd units in DIR
    ///
    /// They are in DIR itself, or in its subdirectory `system` if there is one, with the drop-ins and
    /// the `.wants` directories beside them. A unit is started by a link in such a directory, as in
    /// `default.target.wants/hello.service`; `[Install]` sections say nothing. Mount units are
    /// started with `remote-fs.target`.
    #[arg(
        long,
        value_name = "DIR",
        value_hint = ValueHint::DirPath,
        help_heading = heading::BOOT
    )]
    pub(crate) systemd_units: Option<PathBuf>,

    /// Give the VM a configuration for Ignition
    ///
    /// An image without Ignition is refused.
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help_heading = heading::BOOT
    )]
    pub(crate) ignition: Option<PathBuf>,

    /// Give the VM user data for cloud-init
    ///
    /// FILE is what a cloud takes as user data, such as `#cloud-config` or a script, as text of at most
    /// 1 MiB. The image's cloud-init finds it through the data source NoCloud; an image whose cloud-init
    /// does not run is refused. Without the option, cloud-init runs only if a kernel argument says so.
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help_heading = heading::BOOT
    )]
    pub(crate) cloud_init: Option<PathBuf>,

    /// Resume a VM
    ///
    /// `auto` resumes the VM from a snapshot of one like it, a second after the command. The snapshot may
    /// be of an earlier build of the image, if nothing differs that its boot has looked at. If something
    /// does, but neither kernel nor initramfs, the VM is resumed before its image is mounted, and boots
    /// from there. If there is no snapshot, the VM boots, and two are made of it before anybody is let
    /// in. `off` boots. `require` resumes the VM when it is up or is an error. A VM that is given what has to be there from the beginning is
    /// always booted, and **--verbose** says why. See **bcvk-ephemeral-snapshots**(8).
    #[arg(
        long,
        default_value_t,
        value_name = "HOW",
        value_parser = words::parser::<Warm>(),
        help_heading = heading::BOOT
    )]
    pub(crate) warm: Warm,

    /// Network of the container, as in podman
    ///
    /// It is what **podman run** takes. Without the option it is `private`, whatever **containers.conf**(5)
    /// says. With `none` the VM has no network beyond QEMU's own, and ssh
    /// works all the same. With `host` the way to the guest's sshd begins at a port of the host's
    /// 127.0.0.1, where every user of the host can connect; logging in takes the VM's key. With
    /// **--no-ssh-keygen** there is no such port.
    #[arg(long, alias = "net", help_heading = heading::NETWORK)]
    pub(crate) network: Option<String>,

    /// Show the VM's console
    ///
    /// With **--execute** it is on standard error, as is the journal that **--output** shows. A
    /// terminal gets it without control characters and escape sequences; with **-i** or **-t** of
    /// **run** it gets all.
    #[arg(long, conflicts_with = "output", help_heading = heading::OUTPUT)]
    pub(crate) console: bool,

    /// Keep the journal, console, or both
    ///
    /// STREAMS is journal, console, or both with a comma. DIR is made if it does not exist. The files
    /// in it are `console.txt`, `journal.json` (of the whole boot, as **journalctl -o json** writes
    /// it) and `journal-initrd.json` (the part of it until the system is mounted, which is there also
    /// if the boot ends before). They are written as the VM speaks, over those of an earlier VM, and
    /// are cut at 1 GiB with a notice.
    #[arg(long, value_name = "STREAMS=DIR", help_heading = heading::OUTPUT)]
    pub(crate) log_dir: Option<LogDir>,

    /// Copy /dev/virtio-ports/NAME to FILE
    ///
    /// What the VM writes there is in FILE, anew for each start. FILE is a regular file or none yet.
    #[arg(long, value_name = "NAME:FILE", help_heading = heading::OUTPUT)]
    pub(crate) virtio_serial_out: Vec<SerialPort>,

    /// Take QEMU and bcvk's part from this image
    ///
    /// The host then needs podman and ssh alone. `make runner` in bcvk's source makes such an image,
    /// localhost/bcvk-runner:VERSION. It has to be of this version. Not with **--warm require**.
    #[arg(long, value_name = "IMAGE", help_heading = heading::MACHINE)]
    pub(crate) runner: Option<String>,

    /// Add a label to the container
    ///
    /// `bcvk.ephemeral` and `bcvk.vm` are bcvk's own.
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<Label>,

    /// Pull
    ///
    /// podman shows its progress. With `newer`, the image that is here is taken if it cannot be pulled.
    #[arg(
        long,
        default_value_t,
        hide_default_value = true,
        value_name = "WHEN",
        value_parser = words::parser::<PullPolicy>()
    )]
    pub(crate) pull: PullPolicy,

    /// Remove a VM with the same --name first
    ///
    /// It is removed even if it runs, once everything else has been checked.
    #[arg(long, requires = "name")]
    pub(crate) replace: bool,

    /// How long it may take to be ready
    ///
    /// Seconds, or numbers with the units h, m, s and ms, such as 90s or 1h30m. In the background,
    /// it is for the start of QEMU.
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub(crate) timeout: Timeout,

    /// Open a shell in the VM's container instead
    ///
    /// It is to look at what the VM would be started from: the image is at `/run/bcvk-image`, its
    /// description in `/run/bcvk-spec.json`, and `/run/bcvk-exe internal supervise` is what would
    /// run. The programs are those of the host.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) debug: bool,

    /// Print the podman and QEMU command lines only
    ///
    /// Nothing is started. What only a running VM knows stands in capitals. What **--warm** would add
    /// is left out. A missing image is still pulled, if **--pull** says so.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl VmOptions {
    /// The stream of the VM's that is to be shown.
    pub(crate) fn shown(&self) -> Option<Stream> {
        self.console
            .then_some(Stream::Console)
            .or(self.guest.output.and_then(Output::stream))
    }
}

/// Run a bootc container image as an ephemeral VM
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral run -d --rm --name testvm localhost/mybootc
  bcvk ephemeral run --console localhost/mybootc
  bcvk ephemeral run --rm --execute 'systemctl --failed' localhost/mybootc")]
pub(crate) struct Run {
    /// Container image to boot
    pub(crate) image: String,

    /// Run in the background; print the container ID
    ///
    /// Not with **-t**, **-i** or **--debug**. **podman logs** shows the console.
    #[arg(short, long, conflicts_with_all = ["tty", "interactive", "debug"])]
    pub(crate) detach: bool,

    /// Remove the container when the VM ends
    #[arg(long)]
    pub(crate) rm: bool,

    /// Give the console a terminal
    ///
    /// With **-i**, every key is for the VM, Ctrl-C too; Ctrl-P Ctrl-Q leaves it running, and
    /// `podman attach NAME` returns to it. Not with **--execute**.
    #[arg(short, long, conflicts_with = "execute")]
    pub(crate) tty: bool,

    /// Type into the VM's console
    ///
    /// The console logs in as root by itself. Not with **--execute**.
    #[arg(short, long, conflicts_with = "execute")]
    pub(crate) interactive: bool,

    #[command(flatten)]
    pub(crate) vm: VmOptions,
}

impl Run {
    /// Returns true if standard output is free for events: no console, shell or plan goes there.
    pub(crate) fn has_room_for_events(&self) -> bool {
        !(self.tty || self.interactive || self.vm.debug || self.vm.dry_run)
    }
}

/// Run an ephemeral VM, ssh into it, and remove it afterwards
#[derive(Debug, Args)]
#[command(
    // These options would leave nothing to ssh into, and are errors.
    mut_arg("no_ssh_keygen", |arg| arg.hide(true)),
    mut_arg("execute", |arg| arg.hide(true)),
    after_help = "\
Examples:
  bcvk ephemeral run-ssh localhost/mybootc
  bcvk ephemeral run-ssh localhost/mybootc 'journalctl -b | tail'
  bcvk ephemeral run-ssh --memory 8G localhost/mybootc -- systemctl --failed"
)]
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

    /// Log in as this user of the image instead of root
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    #[command(flatten)]
    pub(crate) keep: Keep,

    #[command(flatten)]
    pub(crate) vm: VmOptions,
}
