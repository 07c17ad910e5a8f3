//! Resident memory, from `/proc`.
//!
//! The guest's memory is mapped shared into QEMU and into every file server, so a plain resident
//! size counts it once more for each of them. What a process costs of its own is its share of
//! anonymous and file pages (Pss).

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use bcvk_testkit::drive::error::{Error, Result};
use procfs::process::Process;
use procfs::{ProcError, ProcResult};

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
            .filter(|child| {
                let words = process(*child).and_then(|process| process.cmdline());
                words.is_ok_and(|words| words.iter().any(|word| word == "virtiofs"))
            })
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
    let status = process(pid).ok()?.status().ok()?;
    Some(status.vmhwm? * 1024)
}

/// Lists the children of all threads of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let tasks = process(pid).and_then(|process| process.tasks());
    let tasks = tasks.into_iter().flatten().flatten();
    tasks
        .filter_map(|task| task.children().ok())
        .flatten()
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
    let pages = proportional(pid)?;
    let status = process(pid).and_then(|process| process.status());
    let status = status.map_err(unreadable(pid))?;
    let own = |name| pages.get(name).copied().unwrap_or_default();
    let resident = |kib: Option<u64>| kib.unwrap_or_default() * 1024;
    Ok(Footprint {
        own: own("Pss_Anon") + own("Pss_File"),
        anon: resident(status.rssanon),
        file: resident(status.rssfile),
        shmem: resident(status.rssshmem),
    })
}

/// Returns the sums over all of a process's memory, in bytes (proc_pid_smaps(5)).
pub(crate) fn proportional(pid: u32) -> Result<HashMap<String, u64>> {
    let rollup = process(pid).and_then(|process| process.smaps_rollup());
    let maps = rollup.map_err(unreadable(pid))?.memory_map_rollup.0;
    Ok(maps.into_iter().flat_map(|map| map.extension.map).collect())
}

pub(crate) fn process(pid: u32) -> ProcResult<Process> {
    Process::new(pid.cast_signed())
}

pub(crate) fn unreadable(pid: u32) -> impl FnOnce(ProcError) -> Error {
    move |e| Error::io(format!("look at process {pid}"))(io::Error::other(e))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_of_its_own() {
        let found = footprint(std::process::id()).expect("this process");
        assert!(found.own > 0 && found.anon > 0 && found.file > 0);
        assert!(footprint(u32::MAX).is_err());
    }

    #[test]
    fn a_process_has_a_peak_while_it_lives() {
        assert!(peak(std::process::id()).is_some_and(|bytes| bytes > 0));
        assert_eq!(peak(u32::MAX), None);
    }
}
