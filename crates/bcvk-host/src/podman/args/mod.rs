//! The command line of `podman run`, as pure functions of what a VM needs.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use bcvk_contract::limits::{LOG_BYTES, STOP_TIMEOUT_SECONDS};
use bcvk_contract::snapshot;
use bcvk_contract::spec::{
    CONTAINER_CLI_LOCK, CONTAINER_EXE, CONTAINER_IGNITION, CONTAINER_IMAGE, CONTAINER_LOGS,
    CONTAINER_QEMU_ROOT, CONTAINER_SPEC, CONTAINER_USER_DATA, CONTAINER_VM_DIR, Expose, GuestPort,
    LABEL, LABEL_VM, Label, Lifetime, PortForward, QEMU_BOOT_DIR, Share, SnapshotStage, VmSpec,
    in_container,
};

use crate::FileError;
use crate::podman::claims::{ImageClaims, LABEL_CAPABILITIES};
use crate::vm::dir::VmDir;

/// Bytes for a kernel and an initramfs beside the guest's memory: twice the largest that is read.
const BOOT_FILES_BYTES: u64 = 4 << 30;

/// A container around one VM, as `podman run` is told to make it.
#[derive(Debug, Clone)]
pub struct ContainerPlan<'a> {
    /// Description of the VM that the supervisor obeys.
    pub spec: &'a VmSpec,
    /// The VM directory on the host.
    pub dir: &'a VmDir,
    /// The image's wishes for the container, which are overruled.
    pub claims: &'a ImageClaims,
    /// Limits for the container's processes.
    pub limits: Option<Limits>,
    /// Limits for each of these processes.
    pub ulimits: Ulimits,
    /// The bcvk binary on the host.
    pub exe: &'a Path,
    /// ID of the image that QEMU and the supervisor come from, instead of from the host.
    pub runner: Option<&'a str>,
    /// Directory with the OCI hook that removes the VM directory once the container is gone.
    pub hooks_dir: Option<&'a Path>,
    /// True if podman removes the container when it ends.
    pub remove: bool,
    /// True if standard input stays open.
    pub interactive: bool,
    /// True if the container gets a terminal.
    pub tty: bool,
    /// True if the user gets a shell in place of the supervisor.
    pub debug: bool,
    /// The directories of the snapshots that the VM may be resumed from.
    pub resumes: Vec<(SnapshotStage, &'a Path)>,
    /// The directories of the snapshots that are made of the VM.
    pub saves: Vec<(SnapshotStage, &'a Path)>,
    /// The user's `--label`s.
    pub labels: &'a [Label],
    /// The user's `--network`.
    pub network: Option<&'a str>,
    /// The user's `--publish`es.
    pub publish: &'a [PortForward],
    /// True if `/dev/kvm` is passed in.
    pub kvm: bool,
    /// Groups that are needed to open `/dev/kvm`, as podman names them.
    pub groups: Option<String>,
}

/// Limits of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: u64,
    /// Processes and threads.
    pub tasks: u32,
}

/// Limits of a process (setrlimit(2)). podman's own defaults are above those of some users, who may not
/// raise them, and `default_ulimits` of `containers.conf(5)` may be too low for a guest. Each of them is
/// given, because one in the command line makes podman forget all of that setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ulimits {
    /// Open files.
    pub open_files: u64,
    /// Processes of the user.
    pub processes: u64,
}

impl Ulimits {
    /// Returns podman's options.
    pub(crate) fn args(self) -> [String; 2] {
        let Self {
            open_files,
            processes,
        } = self;
        [
            format!("--ulimit=nofile={open_files}:{open_files}"),
            format!("--ulimit=nproc={processes}:{processes}"),
        ]
    }
}

/// Capabilities of podman's default that no process of a VM needs. Some versions of podman do not
/// give them anyway.
const UNNEEDED: &str = "AUDIT_WRITE,MKNOD,NET_BIND_SERVICE,NET_RAW";

/// Parts of a container that `containers.conf(5)` and `PODMAN_USERNS` may set otherwise for every
/// container of the user's:
/// - VMs share no IPC, processes and network with each other and the host;
/// - the container's root is podman's own user, who reads and writes the VM directory, also as seen
///   from the host;
/// - a container has no rights but those below, no first process but the supervisor, and a root in
///   which that makes its directory.
pub(crate) const OWN: [&str; 6] = [
    "--ipc=private",
    "--pid=private",
    "--userns=host",
    "--privileged=false",
    "--init=false",
    "--read-only=false",
];

/// First port that a process without rights may listen on, unless the kernel is told otherwise (Linux,
/// Documentation/networking/ip-sysctl, `ip_unprivileged_port_start`).
const FIRST_UNPRIVILEGED: u16 = 1024;

/// Network of a container unless its user says otherwise: one of its own, as `netns` of
/// `containers.conf(5)` may not have it.
pub(crate) const OWN_NETWORK: &str = "private";

/// Capabilities that a VM's processes need:
/// - the file servers of writable shares act for the guest's users (`CHOWN`, `DAC_OVERRIDE`,
///   `FOWNER`, `FSETID`, `SETFCAP`, `SETGID`, `SETUID`), those of other shares read everybody's files
///   (`DAC_OVERRIDE`);
/// - the supervisor and the file servers leave the image's root for their own (`SYS_CHROOT`);
/// - QEMU becomes another user (`SETGID`, `SETUID`), and is killed as one (`KILL`);
/// - what a process gives up leaves its bounding set too (`SETPCAP`).
const CAPABILITIES: &str =
    "CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,SETFCAP,SETGID,SETPCAP,SETUID,SYS_CHROOT";

/// Returns the arguments of `podman`, without the program itself.
///
/// podman has to know that the container is one of the image, but nothing of the image has an effect
/// on it. The first process is static and changes its root to a directory of ours; all that it needs
/// is mounted there ([`in_container`]). What deviates from a plain `podman run IMAGE` is one of:
/// - nothing of the image's own configuration counts (entrypoint, user, volumes, health check,
///   environment, stop signal, annotations, capabilities): it describes a use as a container;
/// - the container has fewer capabilities than podman's default, and podman's seccomp profile;
/// - QEMU's root has the host's `/usr`, or is that of a runner's image;
/// - `label=disable`: SELinux would otherwise forbid reading the host's `/usr`.
#[must_use]
pub fn run_args(plan: &ContainerPlan<'_>) -> Vec<OsString> {
    let mut args = Args::default();
    if let Some(dir) = plan.hooks_dir {
        args.pair("--hooks-dir", dir);
    }
    args.flag("run");
    add_container(&mut args, plan);
    add_wishes(&mut args, plan);
    add_confinement(&mut args, plan);
    add_overrides(&mut args);
    if plan.kvm {
        args.flag("--device=/dev/kvm");
    }
    if let Some(groups) = &plan.groups {
        args.pair("--group-add", groups);
    }
    add_qemu_root(&mut args, plan);
    add_mounts(&mut args, plan);
    add_command(&mut args, plan);
    args.0
}

/// Adds the container's name, its files, and how it is run.
fn add_container(args: &mut Args, plan: &ContainerPlan<'_>) {
    if !plan.debug {
        args.flag("--detach");
    }
    args.pair("--name", plan.spec.name.as_str());
    args.pair("--cidfile", plan.dir.container_id_file());
    args.pair("--pidfile", plan.dir.pid_file());
    args.flag("--pull=never");
    for (wanted, flag) in [
        (plan.remove, "--rm"),
        (plan.interactive, "--interactive"),
        (plan.tty, "--tty"),
    ] {
        if wanted {
            args.flag(flag);
        }
    }
}

/// Adds labels, bcvk's and the user's, and the user's network and ports.
fn add_wishes(args: &mut Args, plan: &ContainerPlan<'_>) {
    args.pair("--label", format!("{LABEL}=1"));
    args.pair("--label", format!("{LABEL_VM}={}", plan.dir.id()));
    for label in plan.labels {
        args.pair("--label", label.as_str());
    }
    args.pair("--network", plan.network.unwrap_or(OWN_NETWORK));
    for forward in plan.publish {
        args.pair("--publish", publish_arg(forward));
    }
    let is_low = |port: &GuestPort| port.container < FIRST_UNPRIVILEGED;
    if plan.spec.expose == Expose::All || plan.spec.ports.iter().any(is_low) {
        // QEMU has no rights, and listens on the guest's ports in a network that is the VM's own.
        args.flag("--sysctl=net.ipv4.ip_unprivileged_port_start=0");
    }
}

/// Adds what takes the place of the image's configuration and of podman's own defaults.
fn add_overrides(args: &mut Args) {
    for flag in OWN {
        args.flag(flag);
    }
    for flag in [
        "--user=0:0",
        "--workdir=/",
        "--systemd=false",
        "--no-healthcheck",
        "--image-volume=ignore",
        "--unsetenv-all",
        "--stop-signal=SIGTERM",
    ] {
        args.flag(flag);
    }
    args.pair("--stop-timeout", STOP_TIMEOUT_SECONDS.to_string());
    // podman itself sets no limit, and a guest would fill the disk. The driver is not left to the
    // user either: journald's has no limit and takes a priority from each line, and the other drivers
    // keep nothing.
    args.flag("--log-driver=k8s-file");
    args.pair("--log-opt", format!("max-size={LOG_BYTES}"));
}

/// Adds the mounts in the directory that the supervisor makes its root.
fn add_mounts(args: &mut Args, plan: &ContainerPlan<'_>) {
    let mut mount = |source: &Path, destination: &Path, read_only| {
        let destination = in_container(plan.dir.id(), destination);
        args.pair("--mount", bind(source, &destination, read_only));
    };
    mount(plan.exe, Path::new(CONTAINER_EXE), true);
    mount(&plan.dir.spec(), Path::new(CONTAINER_SPEC), true);
    // If a shell takes the supervisor's place, no supervisor watches the lock.
    if plan.spec.lifetime == Lifetime::Cli && !plan.debug {
        mount(&plan.dir.cli_lock(), Path::new(CONTAINER_CLI_LOCK), true);
    }
    if plan.spec.ignition {
        let config = plan.dir.ignition_config();
        mount(&config, Path::new(CONTAINER_IGNITION), true);
    }
    if plan.spec.cloud_init {
        mount(&plan.dir.user_data(), Path::new(CONTAINER_USER_DATA), true);
    }
    let shared = plan.dir.shared();
    mount(shared.paths().dir(), Path::new(CONTAINER_VM_DIR), false);
    add_optional_mounts(&mut mount, plan);
    // The root is writable only into a layer that is removed with the container, for the mount points
    // that the image lacks.
    args.pair(
        "--mount",
        format!(
            "type=image,source={},destination={},rw={}",
            plan.spec.image.id,
            in_container(plan.dir.id(), CONTAINER_IMAGE).display(),
            plan.spec.host_storage || plan.spec.shares.iter().any(Share::needs_mount_point),
        ),
    );
}

/// Adds the image, and the command that is run in its container.
fn add_command(args: &mut Args, plan: &ContainerPlan<'_>) {
    let exe = in_container(plan.dir.id(), CONTAINER_EXE);
    args.pair("--entrypoint", format!("[\"{}\"]", exe.display()));
    args.flag(plan.runner.unwrap_or(&plan.spec.image.id));
    args.flag("internal");
    args.flag(if plan.debug { "debug" } else { "supervise" });
    args.pair("--root", in_container(plan.dir.id(), "/"));
    if plan.runner.is_some() {
        args.flag("--runner");
    }
}

/// Adds the container's rights, whatever its image says of them, and its limits.
fn add_confinement(args: &mut Args, plan: &ContainerPlan<'_>) {
    args.pair("--cap-drop", UNNEEDED);
    if plan.claims.capabilities {
        args.pair("--label", format!("{LABEL_CAPABILITIES}={CAPABILITIES}"));
    }
    // An OCI runtime reads some annotations, and podman can only be told other values for them.
    for annotation in &plan.claims.annotations {
        args.pair("--annotation", format!("{annotation}="));
    }
    args.flag("--security-opt=label=disable");
    // No process in the container needs to gain rights by executing a file.
    args.flag("--security-opt=no-new-privileges");
    for limit in plan.ulimits.args() {
        args.flag(&limit);
    }
    if let Some(limits) = plan.limits {
        args.pair("--memory", format!("{}b", limits.memory));
        args.pair("--pids-limit", limits.tasks.to_string());
    }
}

/// Adds QEMU's root: the host's programs in a skeleton, and a directory in memory for the guest's
/// kernel, initramfs and memory.
fn add_qemu_root(args: &mut Args, plan: &ContainerPlan<'_>) {
    let id = plan.dir.id();
    let root = in_container(id, CONTAINER_QEMU_ROOT);
    let in_root = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    if plan.runner.is_none() {
        args.pair("--mount", bind(&plan.dir.qemu_root(), &root, true));
        for path in ["/usr", "/etc/ld.so.cache", "/etc/ld.so.conf.d"].map(Path::new) {
            if path.exists() {
                args.pair("--mount", bind(path, &in_root(path), true));
            }
        }
        if plan.kvm {
            let kvm = Path::new("/dev/kvm");
            args.pair("--mount", bind(kvm, &in_root(kvm), false));
        }
    }
    args.pair(
        "--mount",
        format!(
            "type=tmpfs,destination={},tmpfs-size={},tmpfs-mode=0755,notmpcopyup",
            in_root(Path::new(QEMU_BOOT_DIR)).display(),
            plan.spec.memory.bytes() + BOOT_FILES_BYTES,
        ),
    );
}

/// Adds mounts that a VM has only because its user asked for them.
fn add_optional_mounts(mount: &mut impl FnMut(&Path, &Path, bool), plan: &ContainerPlan<'_>) {
    let resumes = plan.resumes.iter();
    let to_resume = resumes.map(|(stage, dir)| snapshot::mount_to_resume(*stage, dir));
    let saves = plan.saves.iter();
    let to_save = saves.flat_map(|(stage, dir)| snapshot::mounts_to_save(*stage, dir));
    for (host, container, read_only) in to_resume.chain(to_save) {
        mount(&host, &container, read_only);
    }
    for share in &plan.spec.shares {
        mount(&share.host, &share.container_path(), share.read_only);
    }
    for disk in &plan.spec.disks {
        mount(&disk.host, &disk.container_path(), false);
    }
    for port in &plan.spec.serial_ports {
        mount(&port.host, &port.container_path(), false);
    }
    if let Some(logs) = &plan.spec.logs {
        mount(&logs.host, Path::new(CONTAINER_LOGS), false);
    }
}

/// Refuses a path that would not arrive in a container as it is: the OCI runtime's configuration is
/// JSON, in which other bytes become U+FFFD, and podman's CSV reader drops a carriage return before
/// a line break.
///
/// # Errors
/// [`FileError::NotText`].
pub fn check_path(path: &Path) -> Result<(), FileError> {
    match path.to_str() {
        Some(text) if !text.contains('\r') => Ok(()),
        _ => Err(FileError::NotText(path.to_owned())),
    }
}

/// Returns a bind mount for `--mount`. The value is CSV, so a field with a comma or a quote is
/// quoted.
pub(crate) fn bind(source: &Path, destination: &Path, read_only: bool) -> OsString {
    let mut arg = OsString::from("type=bind,");
    arg.push(csv_field("source=", source.as_os_str()));
    arg.push(",");
    arg.push(csv_field("destination=", destination.as_os_str()));
    if read_only {
        arg.push(",readonly=true");
    }
    arg
}

fn csv_field(key: &str, value: &OsStr) -> OsString {
    let value = value.as_bytes();
    let mut field = key.as_bytes().to_vec();
    if value.iter().any(|byte| b",\"\n\r".contains(byte)) {
        field.insert(0, b'"');
        for &byte in value {
            field.extend(std::iter::repeat_n(byte, 1 + usize::from(byte == b'"')));
        }
        field.push(b'"');
    } else {
        field.extend(value);
    }
    OsString::from_vec(field)
}

fn publish_arg(forward: &PortForward) -> String {
    let host_port = match forward.host_port {
        0 => String::new(),
        port => port.to_string(),
    };
    let host = match forward.host_ip {
        Some(std::net::IpAddr::V6(ip)) => format!("[{ip}]:{host_port}"),
        Some(ip) => format!("{ip}:{host_port}"),
        None => host_port,
    };
    format!("{host}:{}/{}", forward.guest_port, forward.protocol)
}

#[derive(Default)]
struct Args(Vec<OsString>);

impl Args {
    fn flag(&mut self, flag: &str) {
        self.0.push(flag.into());
    }

    fn pair(&mut self, flag: &str, value: impl AsRef<OsStr>) {
        let mut arg = OsString::from(flag);
        arg.push("=");
        arg.push(value);
        self.0.push(arg);
    }
}

#[cfg(test)]
mod tests;
