//! Description of the machine that the numbers come from: without it they mean nothing.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bcvk_contract::spec::Accelerator;
use bcvk_testkit::drive::process::run;
use bcvk_testkit::drive::say;
use procfs::{CpuInfo, Current, CurrentSI, KernelStats, Meminfo};
use serde::Serialize;

use super::common::MEMORY_MIB;
use super::setup::Setup;

/// Limit for a program to say its version.
const ASK: Duration = Duration::from_secs(10);

/// Machine, programs and image of one bench.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    cpu: String,
    cores: u32,
    memory_gib: u64,
    kernel: String,
    qemu: String,
    podman: String,
    accelerator: &'static str,
    bcvk: String,
    /// Commit, and whether anything was changed since.
    source: String,
    file_server_by_hand: String,
    image: String,
    image_id: String,
    guest_memory_mib: u32,
    guest_vcpus: u32,
    rootless: bool,
    /// Load average of the last minute before the bench.
    load_before: f64,
    /// Share of the processors' time that somebody else had during the bench.
    steal_percent: f64,
    #[serde(skip)]
    times_before: Option<CpuTimes>,
}

/// Times of all processors since the boot, in ticks.
#[derive(Debug, Clone, Copy)]
struct CpuTimes {
    all: f64,
    stolen: f64,
}

impl Machine {
    pub(super) fn describe(setup: &Setup) -> Self {
        Self {
            cpu: cpu().unwrap_or_default(),
            cores: setup.vcpus,
            memory_gib: memory_gib(),
            kernel: first_word("/proc/sys/kernel/osrelease"),
            qemu: version(&setup.qemu),
            podman: version(&setup.podman),
            accelerator: match setup.accel {
                Accelerator::Kvm => "kvm",
                Accelerator::Tcg => "tcg",
            },
            bcvk: version(&setup.bcvk),
            source: source(),
            file_server_by_hand: setup.server.describe(),
            image: setup.image.clone(),
            image_id: setup.tree.image_id().to_owned(),
            guest_memory_mib: MEMORY_MIB,
            guest_vcpus: setup.vcpus,
            rootless: !rustix::process::geteuid().is_root(),
            load_before: first_word("/proc/loadavg").parse().unwrap_or_default(),
            steal_percent: 0.0,
            times_before: CpuTimes::now(),
        }
    }

    pub(super) fn warn_if_busy(&self) {
        if self.load_before > f64::from(self.cores) / 4.0 {
            say(&format!(
                "warning: the machine is not quiet (load {}); the numbers will not be either",
                self.load_before
            ));
        }
    }

    /// Adds what is only known after the measurements.
    pub(super) fn finish(&mut self) {
        if let (Some(before), Some(after)) = (self.times_before, CpuTimes::now()) {
            let all = after.all - before.all;
            if all > 0.0 {
                self.steal_percent = (after.stolen - before.stolen) / all * 100.0;
            }
        }
    }

    /// Describes the machine for the head of the table.
    pub(super) fn line(&self) -> String {
        format!(
            "{cores} × {cpu}, {memory} GiB, Linux {kernel}; {qemu}, {accel}; {podman}{rootless}; \
             load {load:.2} before, {steal:.1} % of the CPU stolen meanwhile.\n\
             {bcvk} ({source}); image {image} ({id:.12}); guest: {mib} MiB, {vcpus} vCPUs; \
             file server of the VM made by hand: {server}.",
            cores = self.cores,
            cpu = self.cpu,
            memory = self.memory_gib,
            kernel = self.kernel,
            qemu = self.qemu,
            accel = self.accelerator,
            podman = self.podman,
            rootless = if self.rootless { ", rootless" } else { "" },
            load = self.load_before,
            steal = self.steal_percent,
            bcvk = self.bcvk,
            source = self.source,
            image = self.image,
            id = self.image_id,
            mib = self.guest_memory_mib,
            vcpus = self.guest_vcpus,
            server = self.file_server_by_hand,
        )
    }
}

impl CpuTimes {
    /// Sums up proc_stat(5), but for the times of guests, which are in `user` and `nice` already.
    fn now() -> Option<Self> {
        let times = KernelStats::current().ok()?.total;
        let known = [times.iowait, times.irq, times.softirq, times.steal];
        let known: u64 = known.into_iter().flatten().sum();
        #[allow(clippy::cast_precision_loss, reason = "exact for 2⁵³ ticks")]
        Some(Self {
            all: (times.user + times.nice + times.system + times.idle + known) as f64,
            stolen: times.steal? as f64,
        })
    }
}

fn source() -> String {
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(words);
        let done = run(&mut command, ASK).ok()?.success("ask git").ok()?;
        Some(done.stdout.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "not from git".to_owned();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]).as_deref() {
        Some("") => commit,
        _ => format!("{commit} and changes"),
    }
}

/// Returns the first line of `--version`, without what follows a parenthesis.
fn version(program: &Path) -> String {
    let asked = run(Command::new(program).arg("--version"), ASK);
    let text = asked.map(|done| done.stdout).unwrap_or_default();
    let line = text.lines().next().unwrap_or("unknown version");
    line.split(" (").next().unwrap_or(line).to_owned()
}

fn memory_gib() -> u64 {
    let bytes = Meminfo::current().map_or(0, |memory| memory.mem_total);
    (bytes + (1 << 29)) >> 30
}

fn cpu() -> Option<String> {
    let info = CpuInfo::current().ok()?;
    info.model_name(0).map(str::to_owned)
}

fn first_word(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}
