//! The one module that runs podman.

mod args;
mod claims;
mod container;

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bcvk_contract::spec::{CONTAINER_IMAGE, LABEL, VmName};

use crate::vm::dir::VmDirs;
use crate::{HostError, Operation};

pub use args::{ContainerPlan, Limits, Ulimits, check_path, run_args};
pub(crate) use args::{OWN, OWN_NETWORK, bind};
pub use claims::ImageClaims;
pub use container::{Container, PublishedPort};
use container::{Created, is_run_command};

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

    /// Returns the path of the program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Makes a podman command that does not get the terminal's signals: a Ctrl-C reaches bcvk, which
    /// lets podman finish its work and then undoes it. Killed half-way, podman may leave storage
    /// locked.
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

    /// Returns podman's stdout, if podman succeeds in time. A podman that takes longer is killed, so
    /// the command has to be one that only reads.
    pub(crate) fn output_within<S: AsRef<OsStr>>(
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
        // The thread ends with podman, or with this process.
        thread::spawn(move || {
            let mut said = Vec::new();
            let read = stdout.read_to_end(&mut said);
            // Nobody listens any more if podman took too long.
            let _ = sender.send(read.map(|_| said));
        });
        let Ok(said) = receiver.recv_timeout(limit) else {
            // Waiting for podman's end could take as long again.
            let _ = child.kill();
            return None;
        };
        let ended_well = child.wait().is_ok_and(|status| status.success());
        said.ok().filter(|_| ended_well)
    }

    /// Pulls an image with the user watching: podman's progress goes to stderr, and Ctrl-C
    /// reaches it. Its stdout has the image's ID.
    pub fn pull(&self, reference: &str, quiet: bool) -> io::Result<Output> {
        let mut command = Command::new(&self.program);
        command.arg("pull");
        if quiet {
            command.arg("--quiet");
        }
        command
            .arg("--")
            .arg(reference)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
    }

    /// Returns all containers, stopped ones included, that are VMs of this user's.
    pub fn vms(&self, dirs: &VmDirs) -> Result<Vec<Container>, HostError> {
        self.only_vms(self.labelled()?, dirs)
    }

    /// Returns all containers that have a VM's label. Anybody can give a container that label, and
    /// any image can.
    pub(crate) fn labelled(&self) -> Result<Vec<Container>, HostError> {
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
            .partition(|container| container.vm_dir(dirs).is_some());
        let unknown: Vec<&Container> = others.iter().filter(|c| c.vm_id().is_some()).collect();
        if unknown.is_empty() {
            return Ok(ours);
        }
        let mut args = vec!["container", "inspect", "--format=json", "--"];
        args.extend(unknown.iter().map(|container| container.id.as_str()));
        let output = self.output(&args).map_err(HostError::io("run podman"))?;
        // A container that is gone by now is left out of the answer, whatever the exit code.
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

    /// Returns the container with this name or ID prefix, whatever it is.
    pub fn find(&self, name: &str) -> Result<Option<Container>, HostError> {
        // A name that no container can have need not be asked for, nor become an expression for
        // podman.
        if name.parse::<VmName>().is_err() {
            return Ok(None);
        }
        let is_id = name.len() >= 4 && name.bytes().all(|b| b.is_ascii_hexdigit());
        // podman takes `name=` as a regular expression. VM names contain no special character but the
        // dot, and the exact match below settles it.
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

    /// Returns the directory of podman's storage (`podman info`, `graphRoot`).
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

    /// Returns the OCI bundle of a container (`podman container inspect`, `OCIConfigPath`).
    pub(crate) fn bundle(&self, id: &str) -> Option<PathBuf> {
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

    /// Starts a process that waits until podman, too, counts a container as ended; a container that
    /// is gone ends the process as well.
    pub fn await_end(&self, id: &str) -> io::Result<Child> {
        self.command()
            .args(["wait", "--", id])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }

    /// Shuts a VM down as `podman stop` does. After `seconds`, if they are given, it is ended.
    pub fn stop(&self, id: &str, seconds: Option<u32>) -> Result<(), HostError> {
        let time = seconds.map(|seconds| format!("--time={seconds}"));
        let mut args = vec!["stop"];
        args.extend(time.as_deref());
        args.extend(["--", id]);
        self.expect(Operation::Stop, &args)
    }

    /// Boots a VM that has ended and was kept.
    pub fn start(&self, id: &str) -> Result<(), HostError> {
        self.expect(Operation::Start, &["start", "--", id])
    }

    /// Sends a signal to a VM's supervisor. It is no error if the supervisor has ended already.
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

    /// Ends and removes a VM at once. It is no error if the VM is gone already.
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

/// Returns true if `podman run` failed because the image was unmounted under it.
///
/// podman counts the users of a mounted image, and each container that ends may give the mount back
/// more than once (in its clean-up and in its removal; seen with podman 4.3). Where containers of one
/// image end and start together, the image can thus be unmounted between podman, which mounts it, and
/// the OCI runtime, which uses it. The next attempt finds nothing wrong.
pub(crate) fn lost_image_mount(stderr: &str) -> bool {
    stderr.contains(CONTAINER_IMAGE.trim_start_matches('/'))
        && stderr
            .to_ascii_lowercase()
            .contains("no such file or directory")
}

/// Returns a command's stderr, for an error's causes.
pub(crate) fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
