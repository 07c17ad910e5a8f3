//! `cargo xtask crowd`: many VMs of one image started at once.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::FileTypeExt;
use std::time::{Duration, Instant};

use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::process::run;
use bcvk_testkit::drive::say;
use bcvk_testkit::drive::together::{Member, all, outputs};
use bcvk_testkit::drive::vms::{self, Vms};
use clap::Args;
use comfy_table::{Table, presets::ASCII_MARKDOWN};

/// Limit for all VMs together from `podman run` to QEMU.
const START: Duration = Duration::from_secs(600);

/// Limit for a guest that is ready to answer, among all the others.
const ANSWER: Duration = Duration::from_secs(300);

/// Limit for all VMs to end.
const END: Duration = Duration::from_secs(300);

/// How many, and with what.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many VMs
    #[arg(long = "vms", value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,

    /// How many seconds they may take together until each is ready
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    timeout: u64,

    #[command(flatten)]
    vms: vms::Options,
}

/// Starts the VMs, waits for them, compares them, and ends them.
pub(crate) fn crowd(options: &Options) -> Result<()> {
    let vms = Vms::new(&options.vms)?;
    let names: Vec<String> = (1..=options.count).map(|n| vms.name(n)).collect();

    let started = Instant::now();
    let starts = all(&names, |name| vms.start(name, &[]), started, START)?;
    let ids = outputs(&starts);
    say(&format!("{} of {} have a QEMU", ids.len(), names.len()));
    check_distinct(&vms, &starts)?;

    let alive: Vec<String> = ids.iter().map(|(name, _)| (*name).to_owned()).collect();
    let limit = Duration::from_secs(options.timeout);
    let seconds = format!("--timeout={}", options.timeout);
    let wait = |name: &str| vms.ephemeral(&["wait", "--for=ready", &seconds, name]);
    let waits = all(&alive, wait, started, limit + ANSWER)?;
    let ready = outputs(&waits);
    say(&format!("{} of {} are ready", ready.len(), names.len()));
    print(&starts, &waits)?;

    // If a name led to another VM, that VM's name would come back.
    for (name, _) in &ready {
        let hostname = run(&mut vms.ephemeral(&["ssh", name, "hostname"]), ANSWER)?;
        let hostname = hostname.success("ask a VM for its name")?.stdout;
        if hostname.trim() != *name {
            return Err(Error::other(format!("{name} says that it is {hostname}")));
        }
    }
    let mut remove = vms.ephemeral(&["rm", "--force"]);
    run(remove.args(vms.containers()?), END)?.success("remove the VMs")?;
    vms.await_nothing_left()?;
    complain(&starts, &waits)
}

/// Checks that each VM has an ID, a directory and a socket of its own.
fn check_distinct(vms: &Vms, starts: &[Member]) -> Result<()> {
    let ids = outputs(starts);
    let distinct: BTreeSet<&str> = ids.iter().map(|(_, id)| *id).collect();
    let directories = vms.directories();
    let is_socket = |path| std::fs::metadata(path).is_ok_and(|m| m.file_type().is_socket());
    let sockets = directories
        .iter()
        .filter(|dir| is_socket(dir.join("shared/ssh.sock")));
    let seen = [distinct.len(), directories.len(), sockets.count()];
    if seen == [ids.len(); 3] {
        Ok(())
    } else {
        Err(Error::other(format!(
            "{} VMs have {} IDs, {} directories and {} sockets",
            ids.len(),
            seen[0],
            seen[1],
            seen[2]
        )))
    }
}

/// Prints when the first, the middle one and the last VM came so far.
fn print(starts: &[Member], waits: &[Member]) -> Result<()> {
    let mut table = Table::new();
    table
        .load_style(ASCII_MARKDOWN)
        .set_header(["", "VMs", "first", "median", "last"]);
    for (what, members) in [("QEMU runs", starts), ("ready", waits)] {
        let mut times: Vec<Duration> = members
            .iter()
            .filter_map(|member| member.outcome.as_ref())
            .filter_map(|(result, after)| result.is_ok().then_some(*after))
            .collect();
        times.sort_unstable();
        let at = |index: usize| {
            let time = times.get(index);
            time.map_or_else(String::new, |t| format!("{:.1} s", t.as_secs_f64()))
        };
        let (middle, end) = (times.len() / 2, times.len().saturating_sub(1));
        table.add_row([
            what,
            &times.len().to_string(),
            &at(0),
            &at(middle),
            &at(end),
        ]);
    }
    writeln!(std::io::stdout(), "{table}").map_err(Error::io("print the table"))
}

/// Returns an error if a VM failed without a reason; VMs that failed with one are shown.
fn complain(starts: &[Member], waits: &[Member]) -> Result<()> {
    for member in starts.iter().chain(waits) {
        let Some(reason) = member.reason() else {
            continue;
        };
        say(&format!("{}: {reason}", member.name));
        if !reason.contains("error: ") {
            return Err(Error::other(format!(
                "{} failed without a reason",
                member.name
            )));
        }
    }
    Ok(())
}
