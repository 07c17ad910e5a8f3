//! `cargo xtask bench`: bcvk beside the same VM started by hand. docs/performance.md says what each
//! number means; [`metrics`] has the list.

mod banner;
mod clock;
mod common;
mod criteria;
mod floor;
mod guest;
mod image;
mod keys;
mod machine;
mod memory;
mod metrics;
mod read;
mod report;
mod run_ssh;
mod server;
mod setup;
mod vm;
mod warm;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bcvk_testkit::drive::error::Result;
use bcvk_testkit::drive::say;
use clap::{Args, ValueEnum};
use metrics::Samples;
use setup::Setup;

pub(crate) use memory::{children, process, proportional, unreadable};

/// What to measure, and how often.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How often each measurement is made
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Image to boot; one whose kernel is at /usr/lib/modules/VERSION/vmlinuz
    #[arg(long, value_name = "REF", default_value = "localhost/bcvk-test:trixie")]
    image: String,

    /// Where the numbers go besides the table [default: bench.json in cargo's target directory]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// The bare file server: a virtiofsd, or `embedded` for bcvk's own, run bare [default: the
    /// virtiofsd that is installed, else `embedded`]
    #[arg(long, value_name = "PATH")]
    virtiofsd: Option<PathBuf>,

    /// Measure this bcvk and do not build one
    #[arg(long, value_name = "PATH")]
    bcvk: Option<PathBuf>,

    /// Measure only these; ratios need both of their sides
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,

    /// How many seconds a VM may take until it answers
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    limit: u64,
}

/// Parts that can be measured on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The VM started by hand, to the first SSH banner
    Floor,
    /// `bcvk ephemeral run-ssh IMAGE true` and its phases
    RunSsh,
    /// The same with `--initramfs direct`
    Direct,
    /// The same with `--warm auto`, twice
    Warm,
    /// Further commands on a running VM
    Ssh,
    /// Resident memory of bcvk's processes
    Memory,
    /// A large file through virtiofs
    Read,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(self.limit)
    }
}

/// Measures, and prints what was measured even if something failed on the way.
pub(crate) fn run(options: &Options) -> Result<()> {
    let setup = Setup::make(options)?;
    let mut machine = machine::Machine::describe(&setup);
    machine.warn_if_busy();
    let mut samples = Samples::default();
    let measured = measure(options, &setup, &mut samples);
    machine.finish();
    if !samples.is_empty() {
        report::print(&machine, &samples)?;
        report::write_json(&setup.json, &machine, &samples)?;
        say(&format!("numbers written to {}", setup.json.display()));
    }
    measured
}

fn measure(options: &Options, setup: &Setup, samples: &mut Samples) -> Result<()> {
    // The two take turns, so that whatever else the machine does falls on both sides.
    for run in 1..=options.runs {
        let of = format!("{run}/{}", options.runs);
        if options.wants(Part::Floor) {
            step(&format!("by hand, {of}"), || floor::measure(setup, samples))?;
        }
        if options.wants(Part::RunSsh) {
            step(&format!("run-ssh, {of}"), || {
                run_ssh::measure(setup, run, samples)
            })?;
        }
        if options.wants(Part::Direct) {
            step(&format!("run-ssh --initramfs direct, {of}"), || {
                run_ssh::measure_direct(setup, run, samples)
            })?;
        }
        if options.wants(Part::Warm) {
            step(&format!("run-ssh --warm auto, {of}"), || {
                warm::measure(setup, run, samples)
            })?;
        }
    }
    let (ssh, memory) = (options.wants(Part::Ssh), options.wants(Part::Memory));
    if ssh || memory {
        step("a VM in the background", || {
            vm::measure(setup, ssh.then_some(options.runs), memory, samples)
        })?;
    }
    if options.wants(Part::Read) {
        step("reading through virtiofs", || {
            read::measure(setup, options.runs, memory, samples)
        })?;
    }
    Ok(())
}

fn step(what: &str, measure: impl FnOnce() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    measure()?;
    say(&format!(
        "{what}: done after {:.1} s",
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}
