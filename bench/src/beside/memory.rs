//! Resident memory, from `/proc`.
//!
//! The guest's memory is mapped shared into QEMU and into every file server, so a plain resident
//! size counts it once more for each of them. What a process costs of its own is its share of
//! anonymous and file pages (Pss).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use bcvk_testkit::drive::error::{Error, Result};

use super::metrics::{Metric, Samples};

/// Memory in bytes, of one process or the sum over several.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Footprint {
    /// Proportional share of anonymous and file pages.
    own: u64,
    anon: u64,
    file: u64,
    shmem: u64,
}

/// The processes of one VM.
struct Processes {
    supervisor: u32,
    servers: Vec<u32>,
}

/// Measures a VM without shares: the supervisor and the image's file server.
pub(super) fn measure(supervisor: u32, samples: &mut Samples) -> Result<()> {
    let processes = Processes::of(supervisor)?;
    let own = footprint(processes.supervisor)?;
    own.add_to(
        samples,
        [
            Metric::SupervisorPss,
            Metric::SupervisorAnon,
            Metric::SupervisorFile,
            Metric::SupervisorShmem,
        ],
    );
    samples.add_bytes(Metric::SupervisorHeld, held(processes.supervisor));
    sum(&processes.servers)?.add_to(
        samples,
        [
            Metric::ServersPss,
            Metric::ServersAnon,
            Metric::ServersFile,
            Metric::ServersShmem,
        ],
    );
    Ok(())
}

/// Measures the file servers of a VM through which much was read.
pub(super) fn measure_after_reading(supervisor: u32, samples: &mut Samples) -> Result<()> {
    sum(&Processes::of(supervisor)?.servers)?.add_to(
        samples,
        [
            Metric::ReadServersPss,
            Metric::ReadServersAnon,
            Metric::ReadServersFile,
            Metric::ReadServersShmem,
        ],
    );
    Ok(())
}

impl Processes {
    fn of(supervisor: u32) -> Result<Self> {
        let servers: Vec<u32> = children(supervisor)
            .into_iter()
            .filter(|child| words(*child).iter().any(|word| word == "virtiofs"))
            .collect();
        if servers.is_empty() {
            return Err(Error::other("the supervisor has no file server"));
        }
        Ok(Self {
            supervisor,
            servers,
        })
    }
}

impl Footprint {
    fn add_to(self, samples: &mut Samples, [own, anon, file, shmem]: [Metric; 4]) {
        samples.add_bytes(own, self.own);
        samples.add_bytes(anon, self.anon);
        samples.add_bytes(file, self.file);
        samples.add_bytes(shmem, self.shmem);
    }
}

/// Returns the most memory that was ever resident of a process; `None` once it has ended.
pub(super) fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    fields(&status).get("VmHWM").copied()
}

/// Lists the children of all threads of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|id| id.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

fn sum(pids: &[u32]) -> Result<Footprint> {
    let mut sum = Footprint::default();
    for pid in pids {
        let one = footprint(*pid)?;
        sum.own += one.own;
        sum.anon += one.anon;
        sum.file += one.file;
        sum.shmem += one.shmem;
    }
    Ok(sum)
}

fn footprint(pid: u32) -> Result<Footprint> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        fs::read_to_string(&path).map_err(Error::io(format!("read {path}")))
    };
    Ok(parse(&read("smaps_rollup")?, &read("status")?))
}

fn parse(rollup: &str, status: &str) -> Footprint {
    let (rollup, status) = (fields(rollup), fields(status));
    let of = |fields: &BTreeMap<&str, u64>, name| fields.get(name).copied().unwrap_or_default();
    Footprint {
        own: of(&rollup, "Pss_Anon") + of(&rollup, "Pss_File"),
        anon: of(&status, "RssAnon"),
        file: of(&status, "RssFile"),
        shmem: of(&status, "RssShmem"),
    }
}

/// Parses lines `Name:   123 kB` into bytes.
pub(crate) fn fields(text: &str) -> BTreeMap<&str, u64> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
            Some((name, kib * 1024))
        })
        .collect()
}

/// Returns the size of memory files that a process keeps open besides the guest's memory: nobody's
/// resident size has them, but they are memory all the same.
fn held(pid: u32) -> u64 {
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return 0;
    };
    let files: BTreeMap<u64, u64> = fds
        .flatten()
        .filter(|fd| {
            let target = fs::read_link(fd.path()).unwrap_or_default();
            let target = target.to_string_lossy();
            target.starts_with("/memfd:") && !target.contains("guest-memory")
        })
        .filter_map(|fd| fs::metadata(fd.path()).ok())
        .map(|meta| (meta.ino(), meta.blocks() * 512))
        .collect();
    files.values().sum()
}

fn words(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line)
        .split('\0')
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_memory_is_not_a_file_servers_own() {
        let rollup = "55d0-7ffd ---p 00000000 00:00 0    [rollup]\n\
                      Rss:  700000 kB\nPss: 350000 kB\nPss_Anon: 3000 kB\nPss_File: 1000 kB\n\
                      Pss_Shmem: 346000 kB\n";
        let status = "Name:\tbcvk\nRssAnon:\t3000 kB\nRssFile:\t5000 kB\nRssShmem:\t692000 kB\n";
        let footprint = parse(rollup, status);
        assert_eq!(footprint.own, 4000 << 10);
        assert_eq!(footprint.shmem, 692_000 << 10);
    }

    #[test]
    fn a_process_has_a_peak_while_it_lives() {
        assert!(peak(std::process::id()).is_some_and(|bytes| bytes > 0));
        assert_eq!(peak(u32::MAX), None);
    }
}
