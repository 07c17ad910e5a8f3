//! `cargo xtask bench-scale`: what each further VM costs, booted and resumed.

mod cost;
mod plot;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use bcvk_testkit::drive::build::target_dir;
use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::interrupt;
use bcvk_testkit::drive::process::run as run_command;
use bcvk_testkit::drive::say;
use bcvk_testkit::drive::together::{all, outputs};
use bcvk_testkit::drive::vms::{self, Vms};
use clap::{Args, ValueEnum};
use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// Limit for all VMs together to be ready.
const READY: Duration = Duration::from_secs(1800);

/// Limit for a guest, after that, to have nothing of its boot left to do.
const BOOTED: Duration = Duration::from_secs(1800);

/// Limit for all VMs to end.
const END: Duration = Duration::from_secs(300);

/// Time that a guest that has booted is given to come to rest.
const REST: Duration = Duration::from_secs(5);

/// Time for which it is watched idling.
const IDLE: Duration = Duration::from_secs(20);

/// How many, with what, and where to.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many VMs at once, in turn
    #[arg(
        long = "vms",
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1,2,4,8,16"
    )]
    counts: Vec<u32>,

    /// How they come to be, in turn
    #[arg(long = "start", value_name = "HOW,…", value_delimiter = ',', value_enum, default_values_t = [Start::Cold, Start::Warm])]
    starts: Vec<Start>,

    /// Where the numbers go
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Where the picture goes
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Measure nothing, and draw these numbers
    #[arg(long, value_name = "FILE")]
    draw: Option<PathBuf>,

    #[command(flatten)]
    vms: vms::Options,
}

/// Way in which VMs come to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Start {
    /// They boot.
    Cold,
    /// They are resumed.
    Warm,
}

impl Start {
    fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
        }
    }
}

/// Measurements of so many VMs at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    start: Start,
    vms: u32,
    /// Seconds from the first command to the first, the middle and the last VM's being ready.
    ready: [f64; 3],
    /// Bytes for each VM: the proportional share of all memory of all its processes.
    memory: f64,
    /// The part of these bytes that is the guest's.
    guest: f64,
    /// Seconds of processor time for each second and VM, with nothing to do.
    idle: f64,
}

/// Measures, prints, and draws.
pub(crate) fn run(options: &Options) -> Result<()> {
    let target = target_dir()?;
    let or = |path: &Option<PathBuf>, name| path.clone().unwrap_or_else(|| target.join(name));
    let svg = or(&options.svg, "scale.svg");
    if let Some(file) = &options.draw {
        let json = fs::read(file).map_err(Error::io(format!("read {}", file.display())))?;
        let rows: Vec<Row> =
            serde_json::from_slice(&json).map_err(Error::io("read the numbers"))?;
        return plot::draw(&rows, &svg);
    }
    let vms = Vms::new(&options.vms)?;
    let cache = TempDir::new().map_err(Error::io("make a directory"))?;
    let mut rows = Vec::new();
    let measured = options.starts.iter().try_for_each(|start| {
        if *start == Start::Warm {
            save(&vms, &cache)?;
        }
        for count in &options.counts {
            rows.push(measure(&vms, *start, *count, &cache)?);
            say(&format!("{} {count}: done", start.name()));
        }
        Ok(())
    });
    // A measurement before a failure has taken its time too, so it is printed.
    writeln!(std::io::stdout(), "{}", table(&rows)).map_err(Error::io("print the table"))?;
    measured?;
    let json = serde_json::to_vec_pretty(&rows).map_err(Error::io("write the numbers"))?;
    fs::write(or(&options.json, "scale.json"), json).map_err(Error::io("write the numbers"))?;
    plot::draw(&rows, &svg)
}

/// Makes the snapshot that all VMs are resumed from.
fn save(vms: &Vms, cache: &TempDir) -> Result<()> {
    let name = vms.name(0);
    let mut command = vms.start(&name, &["--rm", "--warm=auto"]);
    command.env("XDG_CACHE_HOME", cache.path());
    run_command(&mut command, READY)?.success("start the VM that is saved")?;
    run_command(&mut vms.ephemeral(&["wait", &name]), READY)?.success("wait for it")?;
    remove(vms)
}

fn measure(vms: &Vms, start: Start, count: u32, cache: &TempDir) -> Result<Row> {
    let names: Vec<String> = (1..=count).map(|n| vms.name(n)).collect();
    let began = Instant::now();
    let starts = all(
        &names,
        |name| {
            let warm: &[&str] = match start {
                Start::Cold => &["--rm"],
                Start::Warm => &["--rm", "--warm=require"],
            };
            let mut command = vms.start(name, warm);
            command.env("XDG_CACHE_HOME", cache.path());
            command
        },
        began,
        READY,
    )?;
    whole("started", outputs(&starts).len(), &names)?;
    let waits = all(
        &names,
        |name| vms.ephemeral(&["wait", "--for=ready", "--timeout=1800", name]),
        began,
        READY,
    )?;
    whole("ready", outputs(&waits).len(), &names)?;
    let mut ready: Vec<f64> = waits
        .iter()
        .filter_map(|member| member.outcome.as_ref())
        .map(|(_, after)| after.as_secs_f64())
        .collect();
    ready.sort_unstable_by(f64::total_cmp);
    for name in &names {
        let mut command = vms.ephemeral(&["ssh", name, "systemctl is-system-running --wait; true"]);
        run_command(&mut command, BOOTED)?.success("wait for the end of a boot")?;
    }
    rest(REST)?;
    let processes = cost::processes(vms, &names)?;
    let before = cost::processor_seconds(&processes)?;
    let watched = Instant::now();
    rest(IDLE)?;
    let used = cost::processor_seconds(&processes)? - before;
    let elapsed = watched.elapsed().as_secs_f64();
    let memory = cost::memory(&processes)?;
    remove(vms)?;
    let each = f64::from(count);
    Ok(Row {
        start,
        vms: count,
        ready: [ready[0], ready[ready.len() / 2], ready[ready.len() - 1]],
        memory: memory.all / each,
        guest: memory.guest / each,
        idle: used / elapsed / each,
    })
}

fn whole(what: &str, seen: usize, names: &[String]) -> Result<()> {
    if seen == names.len() {
        Ok(())
    } else {
        Err(Error::other(format!("{seen} of {} {what}", names.len())))
    }
}

fn rest(time: Duration) -> Result<()> {
    interrupt::check()?;
    thread::sleep(time);
    interrupt::check()
}

fn remove(vms: &Vms) -> Result<()> {
    let mut remove = vms.ephemeral(&["rm", "--force"]);
    run_command(remove.args(vms.containers()?), END)?.success("remove the VMs")?;
    vms.await_nothing_left()
}

fn table(rows: &[Row]) -> Table {
    const MIB: f64 = 1024.0 * 1024.0;

    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header([
        "start",
        "VMs",
        "first ready",
        "median",
        "last",
        "last ÷ VMs",
        "memory/VM",
        "of it the guest's",
        "idle CPU/VM",
    ]);
    for row in rows {
        let [first, median, last] = row.ready;
        table.add_row([
            row.start.name().to_owned(),
            row.vms.to_string(),
            format!("{first:.1} s"),
            format!("{median:.1} s"),
            format!("{last:.1} s"),
            format!("{:.1} s", last / f64::from(row.vms)),
            format!("{:.0} MiB", row.memory / MIB),
            format!("{:.0} MiB", row.guest / MIB),
            format!("{:.1} %", row.idle * 100.0),
        ]);
    }
    table
}
