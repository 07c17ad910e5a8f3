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

use crate::host::{HostError, Operation};
use crate::spec::{
    CONTAINER_EXE, CONTAINER_IMAGE, CONTAINER_LOGS, CONTAINER_SNAPSHOT, CONTAINER_VM_DIR, LABEL,
    LABEL_VM, Label, PortForward, Share, Snapshot, VmName, VmSpec,
};

/// Seconds that `podman stop` leaves a guest for its shutdown before it kills the container.
/// podman's own 10 are not enough for an emulated guest.
pub const STOP_TIMEOUT_SECONDS: u32 = 30;

/// The most that podman keeps of what the container writes on its standard streams. When it comes
/// to that, conmon begins the log anew.
pub(crate) const LOG_BYTES: u64 = 64 << 20;

/// A container around one VM, as `podman run` is told to make it.
#[derive(Debug, Clone)]
pub struct ContainerPlan<'a> {
    /// What the supervisor will do.
    pub spec: &'a VmSpec,
    /// The VM directory on the host.
    pub vm_dir: &'a Path,
    /// Its id.
    pub vm_id: &'a str,
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

/// The arguments of `podman`, without the program itself.
///
/// The container has podman's default capabilities and seccomp profile. What deviates from a plain
/// `podman run IMAGE` is one of:
/// - the supervisor and QEMU run from the host's `/usr`, so nothing need be in the image, or from
///   the image of a runner;
/// - the image's own configuration (entrypoint, user, volumes, health check, environment, stop
///   signal) describes its use as a container and must not leak into the supervisor;
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
    args.pair("--cidfile", plan.vm_dir.join("container-id"));
    args.pair("--pidfile", plan.vm_dir.join("pid"));
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
    args.pair("--label", format!("{LABEL_VM}={}", plan.vm_id));
    for label in plan.labels {
        args.pair("--label", label.as_str());
    }
    if let Some(network) = plan.network {
        args.pair("--network", network);
    }
    for (forward, container_port) in plan.publish {
        args.pair("--publish", publish_arg(forward, *container_port));
    }
    for flag in [
        "--user=0:0",
        "--workdir=/",
        "--systemd=false",
        "--no-healthcheck",
        "--image-volume=ignore",
        "--unsetenv-all",
        "--stop-signal=SIGTERM",
        "--security-opt=label=disable",
        // Nothing in the container executes a file to gain rights.
        "--security-opt=no-new-privileges",
    ] {
        args.flag(flag);
    }
    args.pair("--stop-timeout", STOP_TIMEOUT_SECONDS.to_string());
    // podman's own limit is none, and a guest would fill the disk.
    args.pair("--log-opt", format!("max-size={LOG_BYTES}"));
    if plan.kvm {
        args.flag("--device=/dev/kvm");
    }
    if plan.keep_groups {
        args.flag("--group-add=keep-groups");
    }
    if plan.runner.is_none() {
        args.pair("--volume", "/usr:/usr:ro");
        for file in ["/etc/ld.so.cache", "/etc/ld.so.conf.d"] {
            if Path::new(file).exists() {
                args.pair("--mount", bind(Path::new(file), Path::new(file), true));
            }
        }
        args.pair("--mount", bind(plan.exe, Path::new(CONTAINER_EXE), true));
    }
    args.pair(
        "--mount",
        bind(plan.vm_dir, Path::new(CONTAINER_VM_DIR), false),
    );
    // Writable only into a layer that goes with the container, for the mount points that the
    // image lacks.
    args.pair(
        "--mount",
        format!(
            "type=image,source={},destination={CONTAINER_IMAGE},rw={}",
            plan.spec.image.id,
            plan.spec.shares.iter().any(Share::needs_mount_point),
        ),
    );
    add_mounts(&mut args, plan);
    let image = plan.runner.unwrap_or(&plan.spec.image.id);
    if plan.debug {
        args.pair("--entrypoint", "[\"/usr/bin/bash\"]");
        args.flag(image);
    } else {
        args.pair("--entrypoint", format!("[\"{CONTAINER_EXE}\"]"));
        args.flag(image);
        args.flag("internal");
        args.flag("supervise");
    }
    args.0
}

/// What only this VM has.
fn add_mounts(args: &mut Args, plan: &ContainerPlan<'_>) {
    if let Some(snapshot) = plan.snapshot {
        // What comes out of a VM must not change the ones that follow.
        let read_only = plan.spec.snapshot != Some(Snapshot::Save);
        args.pair(
            "--mount",
            bind(snapshot, Path::new(CONTAINER_SNAPSHOT), read_only),
        );
    }
    for share in &plan.spec.shares {
        args.pair(
            "--mount",
            bind(&share.host, &share.container_path(), share.read_only),
        );
    }
    for disk in &plan.spec.disks {
        args.pair("--mount", bind(&disk.host, &disk.container_path(), false));
    }
    for port in &plan.spec.serial_ports {
        args.pair("--mount", bind(&port.host, &port.container_path(), false));
    }
    if let Some(logs) = &plan.spec.logs {
        args.pair(
            "--mount",
            bind(&logs.host, Path::new(CONTAINER_LOGS), false),
        );
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

    /// Whether it is one of bcvk's.
    #[must_use]
    pub fn is_vm(&self) -> bool {
        self.labels
            .as_ref()
            .is_some_and(|labels| labels.contains_key(LABEL))
    }
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

    /// All containers, stopped ones included, that are bcvk's VMs.
    pub fn vms(&self) -> Result<Vec<Container>, HostError> {
        self.ps(&[&format!("label={LABEL}=1")])
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
    use crate::spec::tests::example;

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

    fn plan<'a>(spec: &'a VmSpec, publish: &'a [(PortForward, u16)]) -> ContainerPlan<'a> {
        ContainerPlan {
            spec,
            vm_dir: Path::new("/run/bcvk/vms/0123"),
            vm_id: "0123",
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
        let spec = example();
        let forward: PortForward = "127.0.0.1:8080:80".parse().expect("port");
        let args = run_args(&ContainerPlan {
            labels: &["team=os".parse().expect("label")],
            ..plan(&spec, &[(forward, 20_000)])
        });
        insta::assert_snapshot!(lines(&args));
    }

    #[test]
    fn a_container_of_a_runner_has_nothing_of_the_hosts_programs() {
        let spec = example();
        let args = run_args(&ContainerPlan {
            runner: Some("4a11"),
            ..plan(&spec, &[])
        });
        let args = lines(&args);
        assert!(!args.contains("/usr:"), "{args}");
        assert!(!args.contains("/usr/local/bin/bcvk"), "{args}");
        assert!(
            args.contains("type=image,source=c0ffee,destination=/run/bcvk-image"),
            "{args}"
        );
        assert!(args.ends_with("\n4a11\ninternal\nsupervise"), "{args}");
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
