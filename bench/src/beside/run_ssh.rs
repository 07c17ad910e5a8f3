//! `bcvk ephemeral run-ssh IMAGE true` from outside: its phases, its memory, and what it leaves.

use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::interrupt;
use bcvk_testkit::drive::process::{self, Running, ended_within, scratch, text, watch, writer};
use bcvk_testkit::drive::vms::command_lines;

use super::clock::{now, seconds};
use super::memory;
use super::metrics::{Metric, Samples};
use super::setup::Setup;
use super::vm::{Events, Named, VmFiles};

/// Interval between two looks at the CLI. They are rare enough to cost the guest nothing that could
/// be measured.
const LOOK: Duration = Duration::from_millis(20);

/// Time after the CLI's end, past which anything that is left is left for good.
const LEFT_FOR_GOOD: Duration = Duration::from_secs(5);

/// Moments in microseconds since the epoch, by the host's clock.
struct Milestones {
    begin: u64,
    events: Vec<(String, u64)>,
    command_done: u64,
    end: u64,
}

pub(super) fn measure(setup: &Setup, run: u32, samples: &mut Samples) -> Result<()> {
    let vm = Named::new(setup, &format!("run{run}"));
    let (stdout, stderr) = (scratch()?, scratch()?);
    let mut command = setup.ephemeral(["run-ssh", "--name", vm.name(), &setup.image, "true"]);
    command
        .stdin(Stdio::null())
        .stdout(writer(&stdout)?)
        .stderr(writer(&stderr)?);

    let begin = now();
    let started = Instant::now();
    let mut cli = Running::start(&mut command)?;
    let mut watched = Watched::default();
    let ssh = watched.until_ssh(setup, vm.name(), &mut cli, started)?;
    let command_done = watched.until_command_done(&ssh, &mut cli, started + setup.limit)?;
    let status = cli.wait(setup.limit)?;
    let (end, total) = (now(), started.elapsed());
    if !status.success() {
        return Err(failed(&text(&stderr)));
    }
    let left_until = await_nothing_left(&vm, watched.files.as_ref())?;

    let milestones = Milestones {
        begin,
        events: watched.events()?,
        command_done,
        end,
    };
    milestones.add_to(samples);
    samples.add_duration(Metric::RunSsh, total);
    samples.add(
        Metric::RunNothingLeft,
        seconds(command_done, end.max(left_until)),
    );
    samples.add_bytes(Metric::CliPeak, watched.peak);
    vm.is_gone()
}

/// Measures a whole run with bcvk's own initramfs.
pub(super) fn measure_direct(setup: &Setup, run: u32, samples: &mut Samples) -> Result<()> {
    let vm = Named::new(setup, &format!("direct{run}"));
    let words = ["run-ssh", "--initramfs=direct", "--name", vm.name()];
    let mut command = setup.ephemeral(words);
    let done = process::run(command.args([&setup.image, "true"]), setup.limit)?;
    let done = done.success("boot without the image's initramfs")?;
    samples.add_duration(Metric::RunDirect, done.took);
    vm.is_gone()
}

/// Observations of a run so far.
#[derive(Default)]
struct Watched {
    files: Option<VmFiles>,
    /// Events file, opened before the VM directory is removed, so that it can be read afterwards.
    events: Option<Events>,
    peak: u64,
}

impl Watched {
    fn until_ssh(
        &mut self,
        setup: &Setup,
        name: &str,
        cli: &mut Running,
        started: Instant,
    ) -> Result<OwnedFd> {
        loop {
            self.look(setup, name, cli.pid())?;
            if self.is_ready()
                && let Some(ssh) = ssh_of(cli.pid())?
            {
                return Ok(ssh);
            }
            if let Some(status) = cli.poll(LOOK)? {
                return Err(Error::other(format!(
                    "run-ssh ended before its ssh was seen: {status}"
                )));
            }
            interrupt::check()?;
            if started.elapsed() > setup.limit {
                return Err(Error::other("run-ssh did not come to its command in time"));
            }
        }
    }

    fn until_command_done(
        &mut self,
        ssh: &OwnedFd,
        cli: &mut Running,
        deadline: Instant,
    ) -> Result<u64> {
        loop {
            self.measure_cli(cli.pid());
            if ended_within(ssh, LOOK)? {
                return Ok(now());
            }
            interrupt::check()?;
            if Instant::now() > deadline {
                return Err(Error::other("the command of run-ssh was not done in time"));
            }
        }
    }

    fn look(&mut self, setup: &Setup, name: &str, cli: u32) -> Result<()> {
        self.measure_cli(cli);
        if self.files.is_none() {
            self.files = VmFiles::find(&setup.vm_dirs, name);
            if let Some(files) = &self.files {
                files.check_size(setup.vcpus)?;
            }
        }
        if self.events.is_none()
            && let Some(files) = &self.files
        {
            self.events = files.events();
        }
        Ok(())
    }

    /// Looks at the CLI's peak of memory, which never falls, so the last look counts.
    fn measure_cli(&mut self, cli: u32) {
        self.peak = self.peak.max(memory::peak(cli).unwrap_or_default());
    }

    fn is_ready(&self) -> bool {
        self.events
            .as_ref()
            .is_some_and(|e| e.at("ready").is_some())
    }

    fn events(&self) -> Result<Vec<(String, u64)>> {
        self.events
            .as_ref()
            .map(Events::all)
            .ok_or_else(|| Error::other("run-ssh left no events to read"))
    }
}

impl Milestones {
    fn add_to(&self, samples: &mut Samples) {
        let event = |name: &str| {
            let found = self.events.iter().find(|(phase, _)| phase == name);
            found.map(|(_, at)| *at)
        };
        let mut before = self.begin;
        // A phase that was not reported is part of the next one.
        for (metric, at) in [
            (Metric::RunContainer, event("preparing")),
            (Metric::RunQemu, event("qemu")),
            (Metric::RunKernel, event("kernel")),
            (Metric::RunInitrd, event("initrd")),
            (Metric::RunUserspace, event("userspace")),
            (Metric::RunBanner, event("ready")),
            (Metric::RunCommand, Some(self.command_done)),
            (Metric::RunTornDown, Some(self.end)),
        ] {
            if let Some(at) = at {
                samples.add(metric, seconds(before, at));
                before = at;
            }
        }
        if let Some(qemu) = event("qemu") {
            samples.add(Metric::RunToQemu, seconds(self.begin, qemu));
        }
    }
}

/// Returns the moment at which nothing of the VM was left: no directory, and no process that has
/// its name in its command line (podman, conmon, QEMU).
fn await_nothing_left(vm: &Named<'_>, files: Option<&VmFiles>) -> Result<u64> {
    let deadline = Instant::now() + LEFT_FOR_GOOD;
    loop {
        let directory = files.is_some_and(VmFiles::exist);
        let process = process_of(vm.name());
        if !directory && process.is_none() {
            return Ok(now());
        }
        interrupt::check()?;
        if Instant::now() > deadline {
            return Err(Error::other(format!(
                "run-ssh left something behind: {}",
                process.unwrap_or_else(|| "its VM directory".to_owned())
            )));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn failed(stderr: &str) -> Error {
    Error::other(format!("run-ssh failed: {}", stderr.trim()))
}

/// Returns the command line of a process that names the VM.
fn process_of(name: &str) -> Option<String> {
    let mut lines = command_lines().into_iter();
    lines.find(|line| line.contains(name))
}

/// Finds the CLI's child whose program is ssh, as a descriptor that ends with it.
fn ssh_of(cli: u32) -> Result<Option<OwnedFd>> {
    for child in memory::children(cli) {
        // A child may have ended meanwhile.
        if let Ok(stat) = memory::process(child).and_then(|process| process.stat())
            && stat.comm == "ssh"
        {
            return watch(child).map(Some);
        }
    }
    Ok(None)
}
