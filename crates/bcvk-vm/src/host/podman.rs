//! podman: command lines as pure functions, and the one place that runs them.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use crate::host::image::ImageClaims;
use crate::host::vmdir::{VmDir, VmDirs};
use crate::host::{HostError, Operation};
use crate::snapshot;
use crate::spec::{
    CONTAINER_CLI_LOCK, CONTAINER_EXE, CONTAINER_IGNITION, CONTAINER_IMAGE, CONTAINER_LOGS,
    CONTAINER_QEMU_ROOT, CONTAINER_SPEC, CONTAINER_VM_DIR, LABEL, LABEL_VM, Label, Lifetime,
    PortForward, QEMU_BOOT_DIR, Share, VmName, VmSpec, in_container,
};

/// Seconds that `podman stop` leaves a guest for its shutdown before it kills the container.
/// podman's own 10 are not enough for an emulated guest.
pub const STOP_TIMEOUT_SECONDS: u32 = 30;

/// The most that podman keeps of what the container writes on its standard streams. When it comes
/// to that, conmon begins the log anew.
pub(crate) const LOG_BYTES: u64 = 64 << 20;

/// Room for a kernel and an initramfs beside the guest's memory: twice the largest that is read.
const BOOT_FILES_BYTES: u64 = 4 << 30;

/// A container around one VM, as `podman run` is told to make it.
#[derive(Debug, Clone)]
pub struct ContainerPlan<'a> {
    /// What the supervisor will do.
    pub spec: &'a VmSpec,
    /// The VM directory on the host.
    pub dir: &'a VmDir,
    /// The image's wishes for the container, which are overruled.
    pub claims: &'a ImageClaims,
    /// The most that the container's processes may take.
    pub limits: Option<Limits>,
    /// The bcvk binary on the host.
    pub exe: &'a Path,
    /// ID of the image that QEMU and the supervisor come from, instead of from the host.
    pub runner: Option<&'a str>,
    /// Directory with the OCI hook that removes the VM directory once the container is gone.
    pub hooks_dir: Option<&'a Path>,
    /// Whether podman removes the container when it ends.
    pub remove: bool,
    /// Whether standard input stays open.
    pub interactive: bool,
    /// Whether the container gets a terminal.
    pub tty: bool,
    /// Whether a shell takes the supervisor's place, with the user at it.
    pub debug: bool,
    /// The directory of the VM's snapshot, if it has one.
    pub snapshot: Option<&'a Path>,
    /// The user's `--label`s.
    pub labels: &'a [Label],
    /// The user's `--network`.
    pub network: Option<&'a str>,
    /// The user's `--publish`es with the container ports chosen for them.
    pub publish: &'a [(PortForward, u16)],
    /// Whether `/dev/kvm` is passed in.
    pub kvm: bool,
    /// Whether the user's supplementary groups are needed to open `/dev/kvm`.
    pub keep_groups: bool,
}

/// Limits of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: u64,
    /// Processes and threads.
    pub tasks: u32,
}

/// Capabilities of podman's default that no process of a VM needs. Some podmans do not give them anyway.
const UNNEEDED: &str = "AUDIT_WRITE,MKNOD,NET_BIND_SERVICE,NET_RAW";

/// Capabilities that a VM's processes need:
/// - the file servers of writable shares act for the guest's users (`CHOWN`, `DAC_OVERRIDE`,
///   `FOWNER`, `FSETID`, `SETFCAP`, `SETGID`, `SETUID`), those of others read everybody's files
///   (`DAC_OVERRIDE`);
/// - the supervisor and the file servers leave the image's root for their own (`SYS_CHROOT`);
/// - QEMU becomes another user (`SETGID`, `SETUID`), and is killed as one (`KILL`);
/// - what a process gives up leaves its bounding set too (`SETPCAP`).
const CAPABILITIES: &str =
    "CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,SETFCAP,SETGID,SETPCAP,SETUID,SYS_CHROOT";

/// The label by which an image says what capabilities its container needs, instead of all
/// (podman-run(1), `--cap-add`). The container's own of that name counts more.
pub(super) const LABEL_CAPABILITIES: &str = "io.containers.capabilities";

/// The arguments of `podman`, without the program itself.
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
    args.pair("--label", format!("{LABEL}=1"));
    args.pair("--label", format!("{LABEL_VM}={}", plan.dir.id()));
    for label in plan.labels {
        args.pair("--label", label.as_str());
    }
    if let Some(network) = plan.network {
        args.pair("--network", network);
    }
    for (forward, container_port) in plan.publish {
        args.pair("--publish", publish_arg(forward, *container_port));
    }
    add_confinement(&mut args, plan);
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
    // podman's own limit is none, and a guest would fill the disk. The driver is not the user's either:
    // journald's knows no limit and takes a priority from each line, and the others keep nothing.
    args.flag("--log-driver=k8s-file");
    args.pair("--log-opt", format!("max-size={LOG_BYTES}"));
    if plan.kvm {
        args.flag("--device=/dev/kvm");
    }
    if plan.keep_groups {
        args.flag("--group-add=keep-groups");
    }
    add_qemu_root(&mut args, plan);
    let mut mount = |source: &Path, destination: &Path, read_only| {
        let destination = in_container(plan.dir.id(), destination);
        args.pair("--mount", bind(source, &destination, read_only));
    };
    mount(plan.exe, Path::new(CONTAINER_EXE), true);
    mount(&plan.dir.spec(), Path::new(CONTAINER_SPEC), true);
    // With a shell in its place there is no supervisor to watch it.
    if plan.spec.lifetime == Lifetime::Cli && !plan.debug {
        mount(&plan.dir.cli_lock(), Path::new(CONTAINER_CLI_LOCK), true);
    }
    if plan.spec.ignition {
        let config = plan.dir.ignition_config();
        mount(&config, Path::new(CONTAINER_IGNITION), true);
    }
    let shared = plan.dir.shared();
    mount(shared.paths().dir(), Path::new(CONTAINER_VM_DIR), false);
    add_mounts(&mut mount, plan);
    // Writable only into a layer that goes with the container, for the mount points that the
    // image lacks.
    args.pair(
        "--mount",
        format!(
            "type=image,source={},destination={},rw={}",
            plan.spec.image.id,
            in_container(plan.dir.id(), CONTAINER_IMAGE).display(),
            plan.spec.shares.iter().any(Share::needs_mount_point),
        ),
    );
    let exe = in_container(plan.dir.id(), CONTAINER_EXE);
    args.pair("--entrypoint", format!("[\"{}\"]", exe.display()));
    args.flag(plan.runner.unwrap_or(&plan.spec.image.id));
    args.flag("internal");
    args.flag(if plan.debug { "debug" } else { "supervise" });
    args.pair("--root", in_container(plan.dir.id(), "/"));
    if plan.runner.is_some() {
        args.flag("--runner");
    }
    args.0
}

/// The container's rights, whatever its image says of them, and the most that it may take.
fn add_confinement(args: &mut Args, plan: &ContainerPlan<'_>) {
    args.pair("--cap-drop", UNNEEDED);
    if plan.claims.capabilities {
        args.pair("--label", format!("{LABEL_CAPABILITIES}={CAPABILITIES}"));
    }
    // An OCI runtime reads some of them; podman can only be told other values.
    for annotation in &plan.claims.annotations {
        args.pair("--annotation", format!("{annotation}="));
    }
    args.flag("--security-opt=label=disable");
    // Nothing in the container executes a file to gain rights.
    args.flag("--security-opt=no-new-privileges");
    if let Some(limits) = plan.limits {
        args.pair("--memory", format!("{}b", limits.memory));
        args.pair("--pids-limit", limits.tasks.to_string());
    }
}

/// QEMU's root: the host's programs in a skeleton, and a directory in memory for the guest's kernel,
/// initramfs and memory.
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

/// What only this VM has.
fn add_mounts(mount: &mut impl FnMut(&Path, &Path, bool), plan: &ContainerPlan<'_>) {
    if let (Some(dir), Some(snapshot)) = (plan.snapshot, plan.spec.snapshot) {
        for (host, container, read_only) in snapshot::mounts(dir, snapshot) {
            mount(&host, &container, read_only);
        }
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
/// [`HostError::PathNotText`].
pub fn check_path(path: &Path) -> Result<(), HostError> {
    match path.to_str() {
        Some(text) if !text.contains('\r') => Ok(()),
        _ => Err(HostError::PathNotText(path.to_owned())),
    }
}

/// A bind mount for `--mount`. The value is CSV, so a field with a comma or a quote is quoted.
pub(super) fn bind(source: &Path, destination: &Path, read_only: bool) -> OsString {
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

fn publish_arg(forward: &PortForward, container_port: u16) -> String {
    let host_port = match forward.host_port {
        0 => String::new(),
        port => port.to_string(),
    };
    let host = match forward.host_ip {
        Some(std::net::IpAddr::V6(ip)) => format!("[{ip}]:{host_port}"),
        Some(ip) => format!("{ip}:{host_port}"),
        None => host_port,
    };
    format!("{host}:{container_port}/{}", forward.protocol)
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

/// A container as `podman ps --format json` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// Full container ID.
    pub id: String,
    /// Its names; podman gives one.
    #[serde(default)]
    pub names: Vec<String>,
    /// `running`, `exited`, `created`, …
    #[serde(default)]
    pub state: String,
    /// When it was made, in podman's words.
    #[serde(default)]
    pub created_at: String,
    /// Unix time at which it started.
    #[serde(default)]
    pub started_at: i64,
    /// Exit code, once it has exited.
    #[serde(default)]
    pub exit_code: i32,
    /// The image's name.
    #[serde(default)]
    pub image: String,
    /// What runs in it.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// Its labels.
    #[serde(default)]
    pub labels: Option<std::collections::BTreeMap<String, String>>,
}

impl Container {
    /// Its name, or its ID where it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.first().map_or(&self.id, String::as_str)
    }

    /// The id of its VM directory.
    #[must_use]
    pub fn vm_id(&self) -> Option<&str> {
        self.labels.as_ref()?.get(LABEL_VM).map(String::as_str)
    }

    /// Whether podman says that it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }
}

/// The part of `podman container inspect` that says how a container was made.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
    config: CreatedConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreatedConfig {
    #[serde(default)]
    create_command: Vec<String>,
}

/// Returns true if `words` are a command line of ours for the VM `id`. An image can set no word of it.
fn is_run_command(words: &[String], id: &str) -> bool {
    let cidfile = format!("/bcvk/vms/{id}/container-id");
    words
        .iter()
        .filter_map(|word| word.strip_prefix("--cidfile="))
        .any(|path| path.ends_with(&cidfile))
}

/// The podman of this host.
#[derive(Debug, Clone)]
pub struct Podman {
    program: PathBuf,
}

impl Podman {
    /// Uses the podman at `program`.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }

    /// Where it is.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A podman command without the terminal's signals: a Ctrl-C reaches bcvk, which lets podman
    /// finish what it is at and then undoes it. Killed half-way, podman may leave storage locked.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.process_group(0);
        command
    }

    /// Runs podman to its end with nothing on stdin; stdout and stderr are collected.
    pub fn output<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> io::Result<Output> {
        self.command().args(args).stdin(Stdio::null()).output()
    }

    /// What podman says on stdout, if it ends well in time. What takes longer is killed, so it has to
    /// be a command that only looks.
    pub(super) fn output_within<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        limit: Duration,
    ) -> Option<Vec<u8>> {
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut stdout = child.stdout.take()?;
        let (sender, receiver) = mpsc::channel();
        // It ends with podman, or with this process.
        thread::spawn(move || {
            let mut said = Vec::new();
            let read = stdout.read_to_end(&mut said);
            // Nobody listens any more when that took too long.
            let _ = sender.send(read.map(|_| said));
        });
        let Ok(said) = receiver.recv_timeout(limit) else {
            // Waiting for it could take as long again.
            let _ = child.kill();
            return None;
        };
        let ended_well = child.wait().is_ok_and(|status| status.success());
        said.ok().filter(|_| ended_well)
    }

    /// Pulls an image with the user watching: podman's progress goes to stderr, and Ctrl-C
    /// reaches it.
    pub fn pull(&self, reference: &str, quiet: bool) -> io::Result<ExitStatus> {
        let mut command = Command::new(&self.program);
        command.arg("pull");
        if quiet {
            command.arg("--quiet");
        }
        command
            .arg("--")
            .arg(reference)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
    }

    /// All containers, stopped ones included, that are VMs of this user's.
    pub fn vms(&self, dirs: &VmDirs) -> Result<Vec<Container>, HostError> {
        self.only_vms(self.labelled()?, dirs)
    }

    /// All containers that have a VM's label. Anybody can give a container that, and any image.
    pub(super) fn labelled(&self) -> Result<Vec<Container>, HostError> {
        self.ps(&[&format!("label={LABEL}=1")])
    }

    /// Keeps the `containers` that bcvk has made.
    ///
    /// A VM's directory has its container's ID. Where that directory is gone, as after a boot of the
    /// host, podman still knows the command line.
    pub fn only_vms(
        &self,
        containers: Vec<Container>,
        dirs: &VmDirs,
    ) -> Result<Vec<Container>, HostError> {
        let (mut ours, others): (Vec<_>, Vec<_>) = containers
            .into_iter()
            .partition(|container| dirs.of(container).is_some());
        let unknown: Vec<&Container> = others.iter().filter(|c| c.vm_id().is_some()).collect();
        if unknown.is_empty() {
            return Ok(ours);
        }
        let mut args = vec!["container", "inspect", "--format=json", "--"];
        args.extend(unknown.iter().map(|container| container.id.as_str()));
        let output = self.output(&args).map_err(HostError::io("run podman"))?;
        // One that is gone by now is left out of the answer, whatever the exit code.
        let created: Vec<Created> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        ours.extend(others.into_iter().filter(|container| {
            created.iter().any(|made| {
                made.id == container.id
                    && container
                        .vm_id()
                        .is_some_and(|id| is_run_command(&made.config.create_command, id))
            })
        }));
        Ok(ours)
    }

    /// The container with this name or ID prefix, whatever it is.
    pub fn find(&self, name: &str) -> Result<Option<Container>, HostError> {
        // What no container can be named is not worth a question, nor an expression for podman.
        if name.parse::<VmName>().is_err() {
            return Ok(None);
        }
        let is_id = name.len() >= 4 && name.bytes().all(|b| b.is_ascii_hexdigit());
        // `name=` is a regular expression to podman; VM names contain no special character but
        // the dot, and the exact match below settles it.
        let mut found = self.ps(&[&format!("name=^{name}$")])?;
        found.retain(|c| c.names.iter().any(|n| n == name));
        if found.is_empty() && is_id {
            found = self.ps(&[&format!("id={name}")])?;
        }
        Ok(found.into_iter().next())
    }

    fn ps(&self, filters: &[&str]) -> Result<Vec<Container>, HostError> {
        let mut args = vec!["ps", "--all", "--format=json"];
        for filter in filters {
            args.push("--filter");
            args.push(filter);
        }
        let failed = |stderr: String| HostError::Podman {
            action: Operation::List,
            stderr,
        };
        let output = self.output(&args).map_err(HostError::io("run podman"))?;
        if !output.status.success() {
            return Err(failed(stderr_of(&output)));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|e| failed(format!("unexpected answer: {e}")))
    }

    /// Where images are kept (`podman info`, `graphRoot`).
    pub fn storage(&self) -> Result<PathBuf, HostError> {
        let output = self
            .output(["info", "--format={{.Store.GraphRoot}}"])
            .map_err(HostError::io("run podman"))?;
        let path = OsStr::from_bytes(output.stdout.trim_ascii());
        if output.status.success() && Path::new(path).is_absolute() {
            Ok(path.into())
        } else {
            Err(HostError::Podman {
                action: Operation::FindStorage,
                stderr: stderr_of(&output),
            })
        }
    }

    /// The OCI bundle of a container (`podman container inspect`, `OCIConfigPath`).
    pub(super) fn bundle(&self, id: &str) -> Option<PathBuf> {
        let format = "--format={{.OCIConfigPath}}";
        let output = self
            .output(["container", "inspect", format, "--", id])
            .ok()?;
        let config = Path::new(OsStr::from_bytes(output.stdout.trim_ascii()));
        let bundle = config.parent().filter(|path| path.is_absolute())?;
        output.status.success().then(|| bundle.to_owned())
    }

    /// Runs podman with the user's own standard streams, to its end.
    pub fn interact<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> io::Result<ExitStatus> {
        Command::new(&self.program).args(args).status()
    }

    /// Connects the terminal with a VM's console until either ends.
    pub fn attach(&self, id: &str) -> io::Result<Child> {
        Command::new(&self.program)
            .args(["attach", "--sig-proxy=false", "--", id])
            .spawn()
    }

    /// Starts to wait for a container to have ended in podman's eyes too; a container that is gone
    /// ends it as well.
    pub fn await_end(&self, id: &str) -> io::Result<Child> {
        self.command()
            .args(["wait", "--", id])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }

    /// Shuts a VM down as `podman stop` does.
    pub fn stop(&self, id: &str) -> Result<(), HostError> {
        self.expect(Operation::Stop, &["stop", "--", id])
    }

    /// Sends a signal to a VM's supervisor. One that has ended already is no error.
    pub fn kill(&self, id: &str, signal: &str) -> Result<(), HostError> {
        let signal = format!("--signal={signal}");
        let output = self
            .output(["kill", &signal, "--", id])
            .map_err(HostError::io("run podman"))?;
        let stderr = stderr_of(&output);
        let gone = [
            "can only kill running",
            "not running",
            "no such container",
            "no container with",
        ]
        .iter()
        .any(|words| stderr.contains(words));
        if output.status.success() || gone {
            Ok(())
        } else {
            Err(HostError::Podman {
                action: Operation::Stop,
                stderr,
            })
        }
    }

    /// Ends and removes a VM at once. One that is gone already is no error.
    ///
    /// podman can refuse while it is itself cleaning up after a container that has just ended, so
    /// a refusal counts only if it lasts.
    pub fn remove(&self, id: &str) -> Result<(), HostError> {
        const ATTEMPTS: u32 = 20;
        const PAUSE: Duration = Duration::from_millis(50);

        let args = ["rm", "--force", "--ignore", "--time=0", "--", id];
        for _ in 1..ATTEMPTS {
            if self.expect(Operation::Remove, &args).is_ok() {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
        self.expect(Operation::Remove, &args)
    }

    fn expect(&self, action: Operation, args: &[&str]) -> Result<(), HostError> {
        let output = self.output(args).map_err(HostError::io("run podman"))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(HostError::Podman {
                action,
                stderr: stderr_of(&output),
            })
        }
    }
}

/// Whether `podman run` failed for the image having gone from under it.
///
/// podman counts who has an image mounted, and each container that ends may give it back more than
/// once (in its clean-up and in its removal; seen with podman 4.3). Where containers of one image
/// end and start together, the image can thus be unmounted between podman, which mounts it, and
/// the OCI runtime, which uses it. Nothing is wrong with the next attempt.
pub(crate) fn lost_image_mount(stderr: &str) -> bool {
    stderr.contains(CONTAINER_IMAGE.trim_start_matches('/'))
        && stderr
            .to_ascii_lowercase()
            .contains("no such file or directory")
}

/// What a command said on stderr, for an error's causes.
pub(crate) fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Snapshot;
    use crate::spec::tests::{example, saved_files};

    fn lines(args: &[OsString]) -> String {
        args.iter()
            .map(|arg| arg.to_string_lossy().into_owned())
            // They depend on what the machine that runs the test has.
            .filter(|arg| !arg.contains("ld.so"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn a_lost_image_is_told_from_other_failures() {
        let runc = r#"Error: runc: runc create failed: unable to start container process: error during container init: error mounting "/var/lib/containers/storage/overlay-containers/3e/userdata/overlay/35/merge" to rootfs at "/run/bcvk-image": mount /var/lib/containers/storage/overlay-containers/3e/userdata/overlay/35/merge:/run/bcvk-image (via /proc/self/fd/6), data: lowerdir=/var/lib/containers/storage/overlay/c7/merged: no such file or directory: OCI runtime attempted to invoke a command that was not found"#;
        assert!(lost_image_mount(runc));
        for other in [
            "",
            r#"Error: runc: error mounting "/srv" to rootfs at "/run/bcvk/mounts/a": no such file or directory"#,
            r#"Error: runc: error mounting "/merge" to rootfs at "/run/bcvk-image": permission denied"#,
        ] {
            assert!(!lost_image_mount(other), "{other}");
        }
    }

    static NO_CLAIMS: ImageClaims = ImageClaims {
        annotations: Vec::new(),
        capabilities: false,
    };

    fn plan<'a>(
        spec: &'a VmSpec,
        dir: &'a VmDir,
        publish: &'a [(PortForward, u16)],
    ) -> ContainerPlan<'a> {
        ContainerPlan {
            spec,
            dir,
            claims: &NO_CLAIMS,
            limits: Some(Limits {
                memory: 5 << 30,
                tasks: 1000,
            }),
            exe: Path::new("/usr/local/bin/bcvk"),
            runner: None,
            hooks_dir: Some(Path::new("/run/bcvk/vms/0123/hooks")),
            remove: true,
            interactive: false,
            tty: false,
            debug: false,
            snapshot: Some(Path::new("/home/user/.cache/bcvk/snapshots/c0ffee-1")),
            labels: &[],
            network: Some("none"),
            publish,
            kvm: true,
            keep_groups: false,
        }
    }

    #[test]
    fn the_container_is_plain_but_for_what_a_vm_needs() {
        let spec = VmSpec {
            snapshot: Some(Snapshot::Resume(saved_files())),
            ..example()
        };
        let forward: PortForward = "127.0.0.1:8080:80".parse().expect("port");
        let args = run_args(&ContainerPlan {
            labels: &["team=os".parse().expect("label")],
            ..plan(&spec, &dir(), &[(forward, 20_000)])
        });
        insta::assert_snapshot!(lines(&args));
    }

    fn dir() -> VmDir {
        VmDir::at("/run/bcvk/vms/0123")
    }

    #[test]
    fn what_an_image_claims_is_overruled() {
        let spec = example();
        let claims = ImageClaims {
            annotations: vec!["run.oci.handler".to_owned()],
            capabilities: true,
        };
        let args = lines(&run_args(&ContainerPlan {
            claims: &claims,
            ..plan(&spec, &dir(), &[])
        }));
        assert!(args.contains("\n--annotation=run.oci.handler=\n"), "{args}");
        let label = format!("\n--label=io.containers.capabilities={CAPABILITIES}\n");
        assert!(args.contains(&label), "{args}");
    }

    #[test]
    fn only_our_own_command_line_makes_a_container_a_vm() {
        let spec = example();
        let words: Vec<String> = run_args(&plan(&spec, &dir(), &[]))
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        assert!(is_run_command(&words, "0123"));
        assert!(!is_run_command(&words, "4567"));
        let stranger = ["podman", "run", "--label=bcvk.vm=0123", "image"];
        assert!(!is_run_command(&stranger.map(str::to_owned), "0123"));
    }

    #[test]
    fn a_container_of_a_runner_has_nothing_of_the_hosts_programs() {
        let spec = example();
        let args = run_args(&ContainerPlan {
            runner: Some("4a11"),
            ..plan(&spec, &dir(), &[])
        });
        let args = lines(&args);
        assert!(!args.contains("source=/usr,"), "{args}");
        let image = "type=image,source=c0ffee,destination=/bcvk-0123/run/bcvk-image";
        assert!(args.contains(image), "{args}");
        let end = "\n4a11\ninternal\nsupervise\n--root=/bcvk-0123/\n--runner";
        assert!(args.ends_with(end), "{args}");
    }

    #[test]
    fn bind_sources_are_quoted_for_podmans_csv() {
        let at = |source: &str| bind(Path::new(source), Path::new("/x"), false);
        assert_eq!(
            at("/plain path"),
            "type=bind,source=/plain path,destination=/x"
        );
        assert_eq!(at("/a,b"), "type=bind,\"source=/a,b\",destination=/x");
        assert_eq!(at("/a\"b"), "type=bind,\"source=/a\"\"b\",destination=/x");
    }

    #[test]
    fn only_paths_that_podman_hands_on_unchanged_are_given_to_it() {
        for path in ["/a b", "/a,b\"", "/é\n", "/$(x)"] {
            check_path(Path::new(path)).expect(path);
        }
        let error = check_path(Path::new("/a\r\n")).expect_err("a carriage return");
        assert!(
            error.to_string().starts_with("\"/a\\r\\n\" cannot"),
            "{error}"
        );
        let error = check_path(Path::new(OsStr::from_bytes(b"/\xff"))).expect_err("no UTF-8");
        assert!(
            error.to_string().starts_with("\"/\\xFF\" cannot"),
            "{error}"
        );
    }

    #[test]
    fn published_ports_are_written_as_podman_reads_them() {
        for (given, written) in [
            ("8080:80", "8080:20000/tcp"),
            ("127.0.0.1:53:53/udp", "127.0.0.1:53:20000/udp"),
            ("[::1]:8080:80", "[::1]:8080:20000/tcp"),
        ] {
            let forward: PortForward = given.parse().expect("port");
            assert_eq!(publish_arg(&forward, 20_000), written);
        }
    }
}
