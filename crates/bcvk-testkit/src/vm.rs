//! A VM in the background.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::autopsy::ObservedVm;
use crate::cmd::Cmd;
use crate::limit;
use crate::output::Output;
use crate::process::Process;
use crate::sandbox::Sandbox;
use crate::wait::{until, until_some};

/// VM that `bcvk ephemeral run -d` started.
#[derive(Debug)]
pub struct Vm<'a> {
    sandbox: &'a Sandbox,
    name: String,
    id: String,
}

impl Sandbox {
    /// Starts `bcvk ephemeral run -d --name PREFIX-PART OPTIONS IMAGE`, and does not wait for
    /// the VM to be ready.
    #[must_use]
    #[track_caller]
    pub fn boot(&self, part: &str, options: &[&str], image: &str) -> Vm<'_> {
        let name = self.name(part);
        let output = self
            .bcvk(["run", "-d", "--name", &name])
            .args(options)
            .arg(image)
            .run()
            .expect_success();
        Vm::new(self, name, output.text())
    }
}

impl<'a> Vm<'a> {
    fn new(sandbox: &'a Sandbox, name: String, id: String) -> Self {
        Self { sandbox, name, id }
    }

    /// A VM that a test has started in another way.
    #[must_use]
    pub fn of(sandbox: &'a Sandbox, name: &str, id: Option<&str>) -> Self {
        Self::new(sandbox, name.to_owned(), id.unwrap_or_default().to_owned())
    }

    /// Returns the VM's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the container ID, as `run -d` printed it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Runs `bcvk -q ephemeral ssh NAME WORDS`, which waits for the VM to be ready.
    pub fn ssh(&self, words: &[&str]) -> Cmd {
        self.sandbox
            .command(self.sandbox.bcvk_path())
            .args(["-q", "ephemeral", "ssh", &self.name])
            .args(words)
            .limit(limit::BOOT)
            .talks_to(ObservedVm {
                name: self.name.clone(),
                vm_dirs: self.sandbox.vm_dirs(),
            })
    }

    /// Runs a shell script in the guest that must succeed; returns its stdout, trimmed.
    #[track_caller]
    #[allow(clippy::must_use_candidate, reason = "many scripts are their own test")]
    pub fn sh(&self, script: &str) -> String {
        self.run_sh(script).expect_success().text()
    }

    /// Runs a shell script in the guest.
    #[track_caller]
    pub fn run_sh(&self, script: &str) -> Output {
        self.ssh(&["sh", "-c", script]).run()
    }

    /// Has the guest start its system anew, and waits until that lets its user in.
    #[track_caller]
    pub fn soft_reboot(&self) {
        self.sh("systemd-run --quiet --unit=before sleep infinity");
        // Whoever asks need not see the end of its own session.
        self.sh("systemd-run --quiet --on-active=1 systemctl soft-reboot");
        until("the system starts anew", limit::BOOT, || {
            let session = self.run_sh("systemctl is-active -q before.service || echo again");
            session.text() == "again"
        });
    }

    /// Runs `podman stop`, which must succeed.
    #[track_caller]
    pub fn stop(&self) {
        let _ = self
            .sandbox
            .podman(["stop", &self.name])
            .limit(limit::SHUTDOWN)
            .run()
            .expect_success();
    }

    /// Runs `podman rm --force`, for tests that are not about the VM's end.
    #[track_caller]
    pub fn discard(&self) {
        let _ = self
            .sandbox
            .bcvk(["rm", "--force", &self.name])
            .run()
            .expect_success();
    }

    /// Returns what `bcvk inspect` says of the VM, as JSON.
    #[track_caller]
    #[must_use]
    pub fn described(&self) -> String {
        let inspected = self.sandbox.bcvk(["inspect", &self.name]);
        inspected.run().expect_success().stdout()
    }

    /// Returns a field of `podman container inspect`, as a Go template.
    #[track_caller]
    #[must_use]
    pub fn inspect(&self, template: &str) -> String {
        self.sandbox
            .podman(["container", "inspect", "--format", template, &self.name])
            .run()
            .expect_success()
            .text()
    }

    /// Runs a shell script of the image's with the rights of the container's root, outside of the guest.
    #[track_caller]
    pub fn exec(&self, script: &str) -> Output {
        self.sandbox
            .podman(["exec", "--user=0:0", &self.name, "/bin/sh", "-c", script])
            .run()
    }

    /// Returns the processes of the VM's container, as the host sees them.
    #[track_caller]
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let container = namespace(&self.inspect("{{.State.Pid}}"));
        let mut all = Process::all();
        all.retain(|process| {
            container.is_some() && namespace(&process.pid.as_raw_nonzero().to_string()) == container
        });
        all
    }

    /// Returns the output of `podman logs`.
    #[track_caller]
    #[must_use]
    pub fn logs(&self) -> String {
        let output = self.sandbox.podman(["logs", &self.name]).run();
        output.expect_success().stdout()
    }

    /// Returns the VM's directory on the host.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        let id = self.inspect("{{index .Config.Labels \"bcvk.vm\"}}");
        self.sandbox.vm_dirs().join(id)
    }

    /// Returns the VM's QEMU, once it runs.
    #[track_caller]
    #[must_use]
    pub fn qemu(&self) -> Process {
        until_some("QEMU runs", limit::QUICK, || Process::qemu_of(&self.name))
    }

    /// Kills the VM's QEMU.
    pub fn kill_qemu(&self) {
        self.qemu().signal(Signal::KILL);
    }
}
