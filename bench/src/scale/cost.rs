//! Memory and processor time that the processes of VMs use, from `/proc`.

use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::vms::Vms;
use procfs::process::Stat;

use crate::beside::{children, process, proportional, unreadable};

/// Memory of several processes together, in bytes.
pub(super) struct Memory {
    /// The proportional share of every page that they map.
    pub(super) all: f64,
    /// The part of it that is shared memory: the guests'.
    pub(super) guest: f64,
}

/// Lists every process of these VMs: conmon, the supervisor, file servers and QEMU.
pub(super) fn processes(vms: &Vms, names: &[String]) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for name in names {
        let pid = vms.podman(&["inspect", "--format={{.State.Pid}}", name])?;
        let first: u32 = pid
            .trim()
            .parse()
            .map_err(|_| Error::other(format!("{name} has no process")))?;
        found.push(parent(first)?);
        let mut left = vec![first];
        while let Some(pid) = left.pop() {
            found.push(pid);
            left.extend(children(pid));
        }
    }
    Ok(found)
}

/// Returns the processor time that the processes have used so far.
pub(super) fn processor_seconds(processes: &[u32]) -> Result<f64> {
    let mut ticks = 0;
    for pid in processes {
        let stat = stat(*pid)?;
        ticks += stat.utime + stat.stime;
    }
    #[allow(clippy::cast_precision_loss, reason = "exact for 2⁵³ ticks")]
    let (ticks, per_second) = (ticks as f64, procfs::ticks_per_second() as f64);
    Ok(ticks / per_second)
}

/// Returns the memory that the processes use.
pub(super) fn memory(processes: &[u32]) -> Result<Memory> {
    let mut sum = Memory {
        all: 0.0,
        guest: 0.0,
    };
    for pid in processes {
        let pages = proportional(*pid)?;
        let of = |name| pages.get(name).copied().unwrap_or_default();
        #[allow(clippy::cast_precision_loss, reason = "exact for 2⁵³ bytes")]
        let (all, guest) = (of("Pss") as f64, of("Pss_Shmem") as f64);
        sum.all += all;
        sum.guest += guest;
    }
    Ok(sum)
}

fn parent(pid: u32) -> Result<u32> {
    Ok(stat(pid)?.ppid.cast_unsigned())
}

fn stat(pid: u32) -> Result<Stat> {
    let stat = process(pid).and_then(|process| process.stat());
    stat.map_err(unreadable(pid))
}
