//! The memory that a VM may take.

#![allow(clippy::disallowed_methods, reason = "opens files of the kernel's")]

use std::fs;
use std::path::Path;

use bcvk_contract::spec::MemorySize;

use crate::HostError;

/// A bound on memory: the machine's own, or that of a control group which bcvk is in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound {
    /// Owner of the bound, in the user's words.
    whose: String,
    /// Size of the bound, in bytes.
    total: u64,
    /// Bytes that are available without ending anything else.
    available: u64,
}

/// Refuses a VM if its memory is not available here.
///
/// The guest's memory is allocated only when the guest touches it. So a VM that is too large starts
/// well, and dies later, or something else of the user's dies in its place: the kernel chooses.
///
/// # Errors
/// [`HostError::MemoryTooLarge`], with the numbers of the narrowest bound.
pub fn check_memory(asked: MemorySize) -> Result<(), HostError> {
    match narrowest() {
        Some(bound) if asked.bytes() > bound.available => Err(HostError::MemoryTooLarge {
            asked,
            whose: bound.whose,
            total: size(bound.total),
            available: size(bound.available),
        }),
        _ => Ok(()),
    }
}

/// Returns the memory that a VM can have here; `None` if no bound is known.
#[must_use]
pub fn available_memory() -> Option<MemorySize> {
    narrowest().map(|bound| size(bound.available))
}

fn narrowest() -> Option<Bound> {
    let bounds = bounds(Path::new("/proc"), Path::new("/sys/fs/cgroup"));
    bounds.into_iter().min_by_key(|bound| bound.available)
}

fn size(bytes: u64) -> MemorySize {
    MemorySize::from_mib(bytes >> 20)
}

/// Returns every bound there is. A bound that cannot be read does not count.
fn bounds(proc: &Path, cgroups: &Path) -> Vec<Bound> {
    let read = |file: &str| fs::read_to_string(proc.join(file)).unwrap_or_default();
    let machine = machine(&read("meminfo"));
    let groups = groups(&read("self/cgroup"), cgroups);
    machine.into_iter().chain(groups).collect()
}

/// Returns the bound of the machine. A guest's memory can be swapped out, so free swap counts
/// (`proc_meminfo(5)`).
fn machine(meminfo: &str) -> Option<Bound> {
    let bytes = |name: &str| Some(field(meminfo, name)? * 1024);
    Some(Bound {
        whose: "this machine".to_owned(),
        total: bytes("MemTotal:")?,
        available: bytes("MemAvailable:")? + bytes("SwapFree:").unwrap_or_default(),
    })
}

/// Returns the bounds of bcvk's control group and of the groups above it. podman makes the VM's group
/// elsewhere, but below the same slice or container.
fn groups(own: &str, root: &Path) -> Vec<Bound> {
    let Some((version, path)) = own.lines().find_map(group) else {
        return Vec::new();
    };
    let root = root.join(version.hierarchy);
    let path = Path::new(path.trim_start_matches('/'));
    path.ancestors()
        .filter_map(|path| version.bound(&root, path))
        .collect()
}

/// The names that a version of control groups has for the same things
/// (Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst).
struct Version {
    hierarchy: &'static str,
    limit: &'static str,
    usage: &'static str,
    /// Caches in `memory.stat`, which the kernel drops before it ends a process.
    caches: [&'static str; 2],
}

const V2: Version = Version {
    hierarchy: "",
    limit: "memory.max",
    usage: "memory.current",
    caches: ["inactive_file", "active_file"],
};

const V1: Version = Version {
    hierarchy: "memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    caches: ["total_inactive_file", "total_active_file"],
};

/// Returns the group that a line of `/proc/self/cgroup` names, if memory is counted there.
fn group(line: &str) -> Option<(Version, &str)> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    match controllers {
        "" => Some((V2, path)),
        _ if controllers.split(',').any(|name| name == "memory") => Some((V1, path)),
        _ => None,
    }
}

impl Version {
    fn bound(&self, root: &Path, group: &Path) -> Option<Bound> {
        let read = |file| fs::read_to_string(root.join(group).join(file)).ok();
        // A group without a bound has `max`, or in version 1 a number greater than any machine's
        // memory. Neither is a bound.
        let total = read(self.limit)?.trim().parse().ok()?;
        let usage: u64 = read(self.usage)?.trim().parse().ok()?;
        let stat = read("memory.stat").unwrap_or_default();
        let caches: u64 = self.caches.iter().filter_map(|n| field(&stat, n)).sum();
        Some(Bound {
            whose: format!("control group /{}", group.display()),
            total,
            available: total.saturating_sub(usage.saturating_sub(caches)),
        })
    }
}

/// Returns the number after `name` in a file with one such pair on each line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut words = text.lines().map(str::split_whitespace);
    words.find_map(|mut words| (words.next()? == name).then(|| words.next()?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temporary directory");
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("make directories");
            fs::write(path, text).expect("write");
        }
        dir
    }

    #[test]
    fn the_machine_has_what_is_available_and_free_swap() {
        let text = "MemTotal:  8388608 kB\nMemFree: 1 kB\nMemAvailable: 2097152 kB\n";
        let bound = machine(text).expect("a bound");
        assert_eq!((bound.total, bound.available), (8 * GIB, 2 * GIB));
        let bound = machine(&format!("{text}SwapFree: 1048576 kB\n")).expect("a bound");
        assert_eq!(bound.available, 3 * GIB);
        assert_eq!(machine("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn a_group_and_those_above_it_bound_what_is_below() {
        let stat = "anon 1\ninactive_file 536870912\nactive_file 536870912\n";
        let dir = tree(&[
            ("user.slice/memory.max", "4294967296\n"),
            ("user.slice/memory.current", "3221225472\n"),
            ("user.slice/memory.stat", stat),
            ("user.slice/own/memory.max", "max\n"),
            ("user.slice/own/memory.current", "1\n"),
        ]);
        let found = groups("0::/user.slice/own\n", dir.path());
        let bound = Bound {
            whose: "control group /user.slice".to_owned(),
            total: 4 * GIB,
            // Three of the four GiB are in use, and one of the three is a cache.
            available: 2 * GIB,
        };
        assert_eq!(found, [bound]);
    }

    #[test]
    fn groups_of_version_1_bound_too() {
        let dir = tree(&[
            ("memory/box/memory.limit_in_bytes", "1073741824\n"),
            ("memory/box/memory.usage_in_bytes", "2147483648\n"),
        ]);
        let own = "2:cpu,cpuacct:/elsewhere\n1:name=systemd,memory:/box\n0::/\n";
        let found = groups(own, dir.path());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].total, found[0].available), (GIB, 0));
        assert_eq!(groups("", dir.path()), []);
    }
}
