//! VMs that bcvk runs for the bench: their names, their files, and one in the background.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bcvk_host::{VmDir, VmDirs};
use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::process::{clean_up, run, text};
use bcvk_testkit::drive::say;
use serde::Deserialize;

use super::clock::{now, seconds};
use super::common::{MEMORY_MIB, SHORT};
use super::guest::BootTimes;
use super::memory;
use super::metrics::{Metric, Samples};
use super::setup::Setup;

/// A name that is the bench's. Dropping it ends and removes the VM that has it, if there is one.
pub(super) struct Named<'a> {
    setup: &'a Setup,
    name: String,
}

/// A VM's directory, found by the VM's name.
pub(super) struct VmFiles(PathBuf);

/// A VM's `events.jsonl`, kept open.
pub(super) struct Events(File);

/// The parts of bcvk's files that are read here.
#[derive(Deserialize)]
struct Spec {
    name: String,
    vcpus: u32,
    memory: u32,
}

#[derive(Deserialize)]
struct Event {
    phase: String,
    at: u64,
}

/// Measures `ssh` and `memory` on one VM: further commands as often as `ssh` says, the guest's own
/// times, and the memory of the processes.
pub(super) fn measure(
    setup: &Setup,
    ssh: Option<u32>,
    memory: bool,
    samples: &mut Samples,
) -> Result<()> {
    let vm = Named::new(setup, "background");
    let began = now();
    vm.run_detached(&[])?;
    let returned = now();
    // The first command waits for the boot, and takes over the connection that has seen the banner.
    vm.ssh("true", setup.limit)?;
    if let Some(runs) = ssh {
        let files = vm.files()?;
        samples.add(Metric::Detached, seconds(began, returned));
        if let Some(qemu) = files.events().and_then(|events| events.at("qemu")) {
            samples.add(Metric::DetachedAfterQemu, seconds(qemu, returned));
        }
        let times = BootTimes::parse(&vm.ssh(BootTimes::QUESTION, 2 * SHORT)?.stdout)?;
        samples.add_boot_times(Metric::GUEST, &times);
        for _ in 0..runs {
            samples.add_duration(Metric::FurtherSsh, vm.ssh("true", SHORT)?.took);
        }
    }
    if memory {
        memory::measure(vm.supervisor()?, samples)?;
    }
    vm.remove()
}

impl<'a> Named<'a> {
    pub(super) fn new(setup: &'a Setup, what: &str) -> Self {
        let name = format!("bcvk-bench-{}-{what}", std::process::id());
        Self { setup, name }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `bcvk ephemeral run -d`, which returns when QEMU runs.
    pub(super) fn run_detached(&self, options: &[&str]) -> Result<()> {
        run(
            self.setup
                .ephemeral(["run", "-d", "--rm", "--name", &self.name])
                .args(options)
                .arg(&self.setup.image),
            SHORT,
        )?
        .success("start a VM in the background")?;
        self.files()?.check_size(self.setup.vcpus)
    }

    /// Makes the command line `bcvk ephemeral ssh NAME …`, up to the command.
    pub(super) fn ssh_command(&self) -> Command {
        self.setup.ephemeral(["ssh", &self.name])
    }

    /// Runs a command of the guest's shell.
    pub(super) fn ssh(
        &self,
        command: &str,
        limit: Duration,
    ) -> Result<bcvk_testkit::drive::process::Finished> {
        run(self.ssh_command().arg(command), limit)?.success("log in to bcvk's VM")
    }

    pub(super) fn files(&self) -> Result<VmFiles> {
        VmFiles::find(&self.setup.vm_dirs, &self.name)
            .ok_or_else(|| Error::other("bcvk's VM has no directory"))
    }

    /// Returns the process ID of the supervisor, as the host sees it.
    pub(super) fn supervisor(&self) -> Result<u32> {
        let mut command = Command::new(&self.setup.podman);
        command.args(["inspect", "--format={{.State.Pid}}", &self.name]);
        let said = run(&mut command, SHORT)?.success("ask podman for the VM")?;
        let pid = said.stdout.trim().parse();
        pid.map_err(|_| Error::other("podman does not know the supervisor's process"))
    }

    /// Returns an error if podman still has the VM's container.
    pub(super) fn is_gone(&self) -> Result<()> {
        let mut command = Command::new(&self.setup.podman);
        command.args(["container", "exists", &self.name]);
        let found = run(&mut command, SHORT)?;
        if found.status.success() {
            return Err(Error::other("run-ssh left its container behind"));
        }
        Ok(())
    }

    /// Removes the VM, and says if that did not work.
    pub(super) fn remove(&self) -> Result<()> {
        clean_up(&mut self.setup.ephemeral(["rm", "-f", &self.name]), SHORT)?
            .success("remove the VM")
            .map(drop)
    }
}

impl Drop for Named<'_> {
    /// Removes the VM whatever happened: podman too is asked, for which no VM of that name is no error.
    fn drop(&mut self) {
        if VmFiles::find(&self.setup.vm_dirs, &self.name).is_some() {
            // podman can remove what bcvk cannot.
            let _ = self.remove();
        }
        let mut command = Command::new(&self.setup.podman);
        command.args(["rm", "--force", "--ignore", "--time=0", &self.name]);
        if let Err(error) = clean_up(&mut command, SHORT) {
            say(&format!("warning: {error}"));
        }
    }
}

impl VmFiles {
    pub(super) fn find(dirs: &VmDirs, name: &str) -> Option<Self> {
        let all = dirs.list().ok()?;
        all.iter()
            .map(VmDir::path)
            .find(|dir| spec(dir).is_some_and(|spec| spec.name == name))
            .map(|dir| Self(dir.to_owned()))
    }

    pub(super) fn exist(&self) -> bool {
        self.0.exists()
    }

    /// Checks that the VM has the size of the one started by hand.
    pub(super) fn check_size(&self, vcpus: u32) -> Result<()> {
        match spec(&self.0) {
            Some(spec) if (spec.vcpus, spec.memory) != (vcpus, MEMORY_MIB) => {
                Err(Error::other(format!(
                    "bcvk's VM has {} vCPUs and {} MiB, the one made by hand {vcpus} and {MEMORY_MIB}",
                    spec.vcpus, spec.memory
                )))
            }
            _ => Ok(()),
        }
    }

    /// Opens the VM's events; `None` before the supervisor's first word.
    pub(super) fn events(&self) -> Option<Events> {
        File::open(self.0.join("shared/events.jsonl"))
            .ok()
            .map(Events)
    }
}

fn spec(dir: &Path) -> Option<Spec> {
    let file = File::open(dir.join("spec.json")).ok()?;
    serde_json::from_reader(io::BufReader::new(file)).ok()
}

impl Events {
    /// Returns the phases and when they began, in microseconds since the epoch.
    pub(super) fn all(&self) -> Vec<(String, u64)> {
        text(&self.0)
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .map(|Event { phase, at }| (phase, at))
            .collect()
    }

    pub(super) fn at(&self, phase: &str) -> Option<u64> {
        let all = self.all().into_iter();
        all.rev().find(|(name, _)| name == phase).map(|(_, at)| at)
    }
}
