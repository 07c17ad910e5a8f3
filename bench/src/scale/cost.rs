//! Memory and processor time that the processes of VMs use, from `/proc`.

use std::fs;

use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::vms::Vms;

use crate::beside::{children, fields};

/// Units of processor time in `/proc/PID/stat`: `USER_HZ`, which is 100 on every Linux that QEMU runs
/// on.
const TICKS_PER_SECOND: f64 = 100.0;

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
        let [user, system] = [14, 15].map(|number| stat(*pid, number));
        ticks += user? + system?;
    }
    #[allow(clippy::cast_precision_loss, reason = "exact for 2⁵³ ticks")]
    let ticks = ticks as f64;
    Ok(ticks / TICKS_PER_SECOND)
}

/// Returns the memory that the processes use.
pub(super) fn memory(processes: &[u32]) -> Result<Memory> {
    let mut sum = Memory {
        all: 0.0,
        guest: 0.0,
    };
    for pid in processes {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).map_err(Error::io(format!("read {path}")))?;
        let fields = fields(&text);
        let of = |name| fields.get(name).copied().unwrap_or_default();
        #[allow(clippy::cast_precision_loss, reason = "exact for 2⁵³ bytes")]
        let (all, guest) = (of("Pss") as f64, of("Pss_Shmem") as f64);
        sum.all += all;
        sum.guest += guest;
    }
    Ok(sum)
}

fn parent(pid: u32) -> Result<u32> {
    let number = stat(pid, 4)?;
    u32::try_from(number).map_err(|_| Error::other(format!("{pid} has no parent")))
}

/// Reads a field of `/proc/PID/stat` by its number in proc_pid_stat(5), after the name in
/// parentheses, which may contain anything.
fn stat(pid: u32, number: usize) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(Error::io(format!("read {path}")))?;
    field(&text, number).ok_or_else(|| Error::other(format!("{path} has no field {number}")))
}

fn field(stat: &str, number: usize) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name
        .split(' ')
        .nth(number.checked_sub(3)?)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_name() {
        let stat = "17 (a ) b) S 4 17 17 0 -1 0 0 0 0 0 250 50 0 0 20";
        assert_eq!(field(stat, 4), Some(4));
        assert_eq!(field(stat, 14), Some(250));
        assert_eq!(field(stat, 15), Some(50));
        assert_eq!(field(stat, 99), None);
    }
}
