//! `cargo xtask cycles`: VMs started and ended again and again, and the traces of that.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::process::run;
use bcvk_testkit::drive::say;
use bcvk_testkit::drive::vms::{self, Vms, command_lines};
use clap::Args;
use comfy_table::{Table, presets::ASCII_MARKDOWN};

/// Number of cycles between two looks.
const LOOK_EVERY: u32 = 20;

/// Limit for a start until QEMU runs, and for an end until nothing does; a guest that does not
/// listen yet is given 25 seconds to shut down.
const LIMIT: Duration = Duration::from_secs(120);

/// Bytes by which podman's own records may grow in a cycle: its list of events is a file in some
/// set-ups.
const RECORDS_PER_CYCLE: u64 = 4096;

/// Bytes by which podman's records may grow besides: databases take room in blocks.
const RECORDS: u64 = 256 * 1024;

/// How often, and with what.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How often a VM is started and ended
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,

    #[command(flatten)]
    vms: vms::Options,
}

/// Amount of everything that could grow.
#[derive(Debug, Clone, Copy)]
struct Look {
    cycles: u32,
    vm_files: u64,
    storage_files: u64,
    storage_bytes: u64,
    containers: u64,
    volumes: u64,
    processes: u64,
    mounts: u64,
    available: u64,
}

/// Directories in which podman keeps things.
struct Storage(Vec<PathBuf>);

/// Runs the cycles, and prints a table even if something grew or failed on the way.
pub(crate) fn cycles(options: &Options) -> Result<()> {
    let vms = Vms::new(&options.vms)?;
    let storage = Storage::find(&vms)?;
    // The first cycle makes what stays for good: podman's locks, networks, its process for namespaces.
    cycle(&vms, 0)?;
    let mut looks = vec![Look::take(0, &vms, &storage)?];
    let started = Instant::now();
    let done = go_round(options.count, &vms, &storage, &mut looks);
    let took = started.elapsed().as_secs_f64();
    let done = done.and_then(|()| judge(&looks));
    let table = table(&looks);
    writeln!(std::io::stdout(), "{table}").map_err(Error::io("print the table"))?;
    let cycles = looks.last().map_or(0, |look| look.cycles);
    say(&format!("{cycles} cycles in {took:.0} s"));
    done
}

fn go_round(count: u32, vms: &Vms, storage: &Storage, looks: &mut Vec<Look>) -> Result<()> {
    for number in 1..=count {
        cycle(vms, number)?;
        if number.is_multiple_of(LOOK_EVERY) || number == count {
            looks.push(Look::take(number, vms, storage)?);
            say(&format!("{number}/{count}"));
        }
    }
    Ok(())
}

/// Starts one VM from nothing until QEMU runs, and ends it by one of the ways that users have.
fn cycle(vms: &Vms, number: u32) -> Result<()> {
    let name = vms.name(number);
    run(&mut vms.start(&name, &["--rm"]), LIMIT)?.success("start a VM")?;
    match number % 50 {
        // This way is slow, because the guest does not listen yet.
        49 => run(&mut vms.ephemeral(&["stop", &name]), LIMIT)?.success("stop a VM")?,
        n if n % 2 == 0 => {
            run(&mut vms.ephemeral(&["rm", "--force", &name]), LIMIT)?.success("remove a VM")?
        }
        _ => {
            vms.podman(&["rm", "--force", "--time=0", &name])?;
            return Ok(());
        }
    };
    Ok(())
}

impl Storage {
    fn find(vms: &Vms) -> Result<Self> {
        let places = vms.podman(&[
            "info",
            "--format={{.Store.GraphRoot}}\n{{.Store.RunRoot}}\n{{.Store.VolumePath}}",
        ])?;
        Ok(Self(places.lines().map(PathBuf::from).collect()))
    }

    /// Counts the mounts that podman has made. The others of the machine are not podman's, and a
    /// user's namespace begins with a copy of them.
    fn mounts(&self, vms: &Vms) -> Result<u64> {
        // The mounts are those of the namespace that podman mounts in, which is a user's own if
        // that is not root.
        let table = if rustix::process::geteuid().is_root() {
            fs::read_to_string("/proc/self/mountinfo").map_err(Error::io("read the mounts"))?
        } else {
            vms.podman(&["unshare", "cat", "/proc/self/mountinfo"])?
        };
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let own = points.filter(|point| self.0.iter().any(|dir| Path::new(point).starts_with(dir)));
        Ok(own.count() as u64)
    }
}

impl Look {
    fn take(cycles: u32, vms: &Vms, storage: &Storage) -> Result<Self> {
        vms.await_nothing_left()?;
        let (mut storage_files, mut storage_bytes) = (0, 0);
        for place in &storage.0 {
            let (files, bytes) = measure(place);
            storage_files += files;
            storage_bytes += bytes;
        }
        let lines = |words: &[&str]| vms.podman(words).map(|text| text.lines().count() as u64);
        Ok(Self {
            cycles,
            vm_files: measure(vms.root()).0,
            storage_files,
            storage_bytes,
            containers: lines(&["ps", "--all", "--quiet"])?,
            volumes: lines(&["volume", "ls", "--quiet"])?,
            processes: command_lines().len() as u64,
            mounts: storage.mounts(vms)?,
            available: available()?,
        })
    }

    /// Returns all numbers but the memory, which the rest of the machine has a part in.
    fn numbers(&self) -> [(&'static str, u64); 7] {
        [
            ("files of VMs", self.vm_files),
            ("podman's files", self.storage_files),
            ("podman's KiB", self.storage_bytes / 1024),
            ("containers", self.containers),
            ("volumes", self.volumes),
            ("processes", self.processes),
            ("mounts", self.mounts),
        ]
    }
}

/// Returns how many files are below `dir`, and how many bytes they take. What cannot be looked at
/// was not made by a VM.
fn measure(dir: &Path) -> (u64, u64) {
    let mut sum = (0, 0);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        sum.0 += 1;
        sum.1 += meta.blocks() * 512;
        if meta.is_dir() {
            let below = measure(&entry.path());
            sum = (sum.0 + below.0, sum.1 + below.1);
        }
    }
    sum
}

fn available() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").map_err(Error::io("read the memory's size"))?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .ok_or_else(|| Error::other("the kernel does not say how much memory is available"))
}

/// Returns an error if anything grew from the first look to the last.
fn judge(looks: &[Look]) -> Result<()> {
    let (Some(first), Some(last)) = (looks.first(), looks.last()) else {
        return Ok(());
    };
    let records = (RECORDS + u64::from(last.cycles) * RECORDS_PER_CYCLE) / 1024;
    let grown: Vec<String> = first
        .numbers()
        .into_iter()
        .zip(last.numbers())
        .filter(|((what, before), (_, after))| {
            let allowed = if *what == "podman's KiB" { records } else { 0 };
            *after > before + allowed
        })
        .map(|((what, before), (_, after))| format!("{what}: {before}, then {after}"))
        .collect();
    if grown.is_empty() {
        Ok(())
    } else {
        Err(Error::other(format!(
            "something grew: {}",
            grown.join("; ")
        )))
    }
}

fn table(looks: &[Look]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    if let Some(look) = looks.first() {
        let names = look.numbers().map(|(name, _)| name);
        let ends = ["cycles", "MiB available"];
        table.set_header([&ends[..1], &names[..], &ends[1..]].concat());
    }
    for look in looks {
        let numbers = look.numbers().map(|(_, number)| number.to_string());
        let ends = [look.cycles.to_string(), (look.available / 1024).to_string()];
        table.add_row([&ends[..1], &numbers[..], &ends[1..]].concat());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(cycles: u32) -> Look {
        Look {
            cycles,
            vm_files: 0,
            storage_files: 100,
            storage_bytes: 1 << 20,
            containers: 1,
            volumes: 0,
            processes: 50,
            mounts: 20,
            available: 1 << 20,
        }
    }

    #[test]
    fn growth_is_an_error_and_podmans_records_are_none() {
        let records = Look {
            storage_bytes: (1 << 20) + 200 * 4096,
            ..look(200)
        };
        judge(&[look(0), records]).expect("records");
        for grown in [
            Look {
                vm_files: 1,
                ..look(200)
            },
            Look {
                processes: 51,
                ..look(200)
            },
            Look {
                mounts: 21,
                ..look(200)
            },
            Look {
                storage_files: 101,
                ..look(200)
            },
            Look {
                storage_bytes: 4 << 20,
                ..look(200)
            },
        ] {
            assert!(judge(&[look(0), grown]).is_err(), "{grown:?}");
        }
    }
}
