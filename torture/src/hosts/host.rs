//! A host: a VM of bcvk in which bcvk runs.

use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use bcvk_testkit::{Output, Sandbox, Signal, Vm, images};
use clap::ValueEnum;

use super::case::{Case, Event, Who};
use super::cases;

/// Limit for a command on a host: an emulated host boots a VM under KVM in minutes.
const LIMIT: Duration = Duration::from_secs(1800);

/// Image that is booted on hosts.
const IMAGE: &str = "localhost/bcvk-test:trixie";

/// Environment of commands on a host.
const PRELUDE: &str = "export PATH=/run/virtiofs-mnt-given:$PATH BCVK_ACCEL=kvm BCVK_MEMORY=1G \
                       BCVK_VCPUS=1 BCVK_TIMEOUT=25m;";

/// Machine ID of a host, which it has again when it has booted again.
const MACHINE_ID: &str = "--machine-id=0123456789abcdef0123456789abcdef";

/// Options for an emulated processor that runs VMs (docs/hosts.md).
///
/// With two of them, half of the boots under KVM went wrong. An interrupt of the timer is lost now and
/// then: a timer that is set for one moment is not set again then, and the host sleeps until something
/// else wakes it; one that ticks goes on.
const PROCESSOR: [&str; 3] = ["--vcpus=1", "--karg=nohz=off", "--karg=highres=off"];

/// Time for which a host stands still.
const SUSPENDED: Duration = Duration::from_secs(60);

/// Caches of root's on a host, and their place while it boots again.
const CACHE: &str = "/var/roothome/.cache";
const KEPT: &str = "/run/virtiofs-mnt-kept";

/// Versions of what a VM stands on, and the day.
const FACTS: &str = ". /etc/os-release; echo \"$PRETTY_NAME\"
    podman info --format '{{.Version.Version}}
{{.Host.OCIRuntime.Name}} {{.Host.CgroupsVersion}}'
    qemu-system-x86_64 --version | sed -n 's/.*version \\([^ ]*\\).*/\\1/p'
    date --utc +%F";

/// Operating system of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum System {
    /// Debian trixie
    Trixie,
    /// Debian testing
    Testing,
}

impl System {
    fn image(self) -> &'static str {
        match self {
            Self::Trixie => images::host_trixie(),
            Self::Testing => images::host_testing(),
        }
    }
}

/// A host that runs.
pub(super) struct Host<'a> {
    sandbox: &'a Sandbox,
    system: System,
    /// Directories that the host gets.
    given: PathBuf,
    kept: PathBuf,
    vm: Vm<'a>,
    /// Root's and the other user's store have the image.
    loaded: [bool; 2],
    /// Programs of the host.
    pub(super) facts: Facts,
}

/// Programs of a host, by their versions, and the day on which they were asked.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) system: String,
    pub(super) podman: String,
    pub(super) runtime: String,
    pub(super) qemu: String,
    pub(super) day: String,
}

/// Report on a case.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) case: Case,
    /// The time that it took, or what was wrong.
    pub(super) result: Result<Duration, String>,
}

impl Report {
    /// Returns the cell of the table.
    pub(super) fn cell(&self) -> String {
        match &self.result {
            Ok(took) => format!("ok, {:.0} s", took.as_secs_f64()),
            Err(_) => "FAILED".to_owned(),
        }
    }

    /// Returns true if this should have made the snapshot that `case` needs.
    pub(super) fn lacks_snapshot(&self, case: &Case) -> bool {
        let saves = self.case.what == cases::SAVES;
        saves && self.result.is_err() && self.case.who.is_root() == case.who.is_root()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { who, what, .. } = &self.case;
        write!(f, "{who}, {what}: {}", self.cell())?;
        match &self.result {
            Ok(_) => Ok(()),
            Err(why) => write!(f, "\n{why}"),
        }
    }
}

impl<'a> Host<'a> {
    /// Boots a host with the bcvk of this run and an image for its users.
    pub(super) fn boot(sandbox: &'a Sandbox, system: System) -> Self {
        let given = sandbox.make_dir("given");
        let kept = sandbox.make_dir("kept");
        fs::copy(sandbox.bcvk_path(), given.join("bcvk")).expect("copy bcvk");
        let save = sandbox.podman(["save", "--quiet", "--output"]);
        let save = save.arg(given.join("image.tar")).arg(images::trixie());
        let _ = save.limit(LIMIT).run().expect_success();
        let vm = start(sandbox, system, &given, &kept);
        let facts = Facts::of(sandbox, &vm);
        Self {
            sandbox,
            system,
            given,
            kept,
            vm,
            loaded: [false; 2],
            facts,
        }
    }

    /// Gives `who` the image.
    fn load_image(&mut self, who: Who) {
        if !self.loaded[usize::from(who.is_root())] {
            let load = "podman load --quiet --input /run/virtiofs-mnt-given/image.tar";
            let _ = self.run(who, load).expect_success();
            self.loaded[usize::from(who.is_root())] = true;
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Suspend => {
                let qemu = self.vm.qemu();
                qemu.signal(Signal::STOP);
                thread::sleep(SUSPENDED);
                qemu.signal(Signal::CONT);
            }
            Event::Reboot => {
                let copy = |from, to| format!("cp -r --preserve --sparse=always {from} {to}");
                let _ = self.run(Who::Root, &copy(CACHE, KEPT)).expect_success();
                self.vm.stop();
                self.vm = start(self.sandbox, self.system, &self.given, &self.kept);
                self.loaded = [false; 2];
                let kept = format!("{KEPT}/.cache");
                let _ = self
                    .run(Who::Root, &copy(&kept, "/var/roothome"))
                    .expect_success();
            }
        }
    }

    /// Makes a case.
    pub(super) fn make(&mut self, case: &Case) -> Report {
        let made = catch_unwind(AssertUnwindSafe(|| {
            if let Some(event) = case.after {
                self.happen(event);
            }
            if case.who != Who::Sudo {
                self.load_image(case.who);
            }
            let mut output = self.run(case.who, &case.script).expect_code(case.code);
            for text in &case.stdout {
                output = output.expect_stdout(text);
            }
            output.expect_stderr(case.stderr).took()
        }));
        let result = made.map_err(|panic| match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(_) => "it panicked".to_owned(),
        });
        Report {
            case: case.clone(),
            result,
        }
    }

    /// Ends the host.
    pub(super) fn end(self) {
        self.vm.stop();
    }

    fn run(&self, who: Who, script: &str) -> Output {
        run(self.sandbox, &self.vm, who, &script.replace("IMAGE", IMAGE))
    }
}

fn start<'a>(sandbox: &'a Sandbox, system: System, given: &Path, kept: &Path) -> Vm<'a> {
    let given = format!("--ro-bind={}:given", given.display());
    let kept = format!("--bind={}:kept", kept.display());
    let rest = [
        "--rm",
        "--nested",
        "--memory=8G",
        MACHINE_ID,
        &*given,
        &*kept,
    ];
    let options = [&PROCESSOR[..], &rest].concat();
    sandbox.boot("host", &options, system.image())
}

impl Facts {
    fn of(sandbox: &Sandbox, vm: &Vm<'_>) -> Self {
        let said = run(sandbox, vm, Who::Session, FACTS).expect_success();
        let text = said.text();
        let lines: Vec<&str> = text.lines().collect();
        let [system, podman, runtime, qemu, day] = lines[..] else {
            panic!("five lines were expected: {said}");
        };
        let runtime = runtime.replace(" v", ", cgroups v");
        let [system, podman, qemu, day] = [system, podman, qemu, day].map(str::to_owned);
        Self {
            system,
            podman,
            runtime,
            qemu,
            day,
        }
    }
}

fn run(sandbox: &Sandbox, vm: &Vm<'_>, who: Who, script: &str) -> Output {
    let name = vm.name();
    let user = match who {
        Who::Session => format!("tester@{name}"),
        Who::Sudo | Who::Root | Who::Service => name.to_owned(),
    };
    let script = format!("{PRELUDE} {script}");
    let by: &[&str] = match who {
        Who::Session | Who::Root => &[],
        Who::Sudo => &["sudo", "-u", "tester", "--set-home"],
        Who::Service => &["systemd-run", "--quiet", "--wait", "--pipe", "--collect"],
    };
    sandbox
        .command(sandbox.bcvk_path())
        .args(["-q", "ephemeral", "ssh", &user, "--"])
        .args(by)
        .args(["sh", "-c", &script])
        .limit(LIMIT)
        .run()
}
