//! Limits of a VM's container.

#![allow(clippy::disallowed_methods, reason = "opens files of the kernel's")]

use std::fs;
use std::path::Path;

use bcvk_contract::spec::{Accelerator, VmSpec};

use crate::podman::Limits;

/// Limit for the bytes that a VM's processes take beside the guest's memory. An emulated guest of
/// Debian's was seen to take 204 MiB, translated code included, and 130 MiB for the kernel and the
/// initramfs, unpacked. Files that the file servers read are in the page cache, which counts too, but
/// makes room.
const PROCESSES: u64 = 1 << 30;

/// Greatest size of QEMU's cache of translated code (QEMU, accel/tcg/region.c).
const TRANSLATED_CODE: u64 = 1 << 30;

/// Limit for the bytes that one more file server takes.
const FILE_SERVER: u64 = 64 << 20;

/// Limit for the threads of QEMU, the file servers and the supervisor, besides a processor's and a
/// session's. A VM was seen to have 17. QEMU starts up to 64 to read and write disks.
const TASKS: u32 = 512;

/// Number of QEMU's threads for each of the guest's processors.
const TASKS_OF_PROCESSOR: u32 = 4;

/// Threads for sessions over SSH at the same time: two of the supervisor for each session.
const TASKS_OF_SESSIONS: u32 = 2 * 512;

/// Returns the limits of the container of `spec`; `None` if this user's containers can have none.
#[must_use]
pub fn container_limits(spec: &VmSpec) -> Option<Limits> {
    available(
        Path::new("/sys/fs/cgroup"),
        rustix::process::geteuid().as_raw(),
    )
    .then(|| limits(spec))
}

fn limits(spec: &VmSpec) -> Limits {
    let code = match spec.accel {
        Accelerator::Tcg => TRANSLATED_CODE,
        Accelerator::Kvm => 0,
    };
    let servers = FILE_SERVER * spec.shares.len() as u64;
    // The kernel unpacks an initramfs only if that takes an eighth of the guest's memory at most.
    let initramfs = spec.memory.bytes() / 8;
    Limits {
        memory: spec.memory.bytes() + initramfs + PROCESSES + code + servers,
        tasks: TASKS + TASKS_OF_SESSIONS + TASKS_OF_PROCESSOR * spec.vcpus,
    }
}

/// Returns true if the containers of user `uid` get control groups that count memory and tasks.
///
/// Root's containers do in either version. Those of other users do only in version 2, and only below
/// the user's service manager if that was given the controllers (podman-run(1), `--memory`).
fn available(groups: &Path, uid: u32) -> bool {
    let unified = groups.join("cgroup.controllers");
    if uid == 0 {
        let legacy = ["memory", "pids"]
            .iter()
            .all(|name| groups.join(name).is_dir());
        return legacy || has_controllers(&unified);
    }
    let own = format!("user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers");
    unified.exists() && has_controllers(&groups.join(own))
}

fn has_controllers(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    let has = |name| text.split_whitespace().any(|word| word == name);
    has("memory") && has("pids")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bcvk_contract::examples::example;

    #[test]
    fn limits_are_only_set_where_there_are_control_groups() {
        let dir = tempfile::tempdir().expect("a directory");
        let groups = dir.path();
        assert!(!available(groups, 0));
        for name in ["memory", "pids"] {
            fs::create_dir(groups.join(name)).expect("made");
        }
        assert!(available(groups, 0));
        assert!(!available(groups, 1000), "version 1 has none for users");

        let dir = tempfile::tempdir().expect("a directory");
        let groups = dir.path();
        let own = groups.join("user.slice/user-1000.slice/user@1000.service");
        fs::create_dir_all(&own).expect("made");
        fs::write(groups.join("cgroup.controllers"), "cpu memory pids\n").expect("written");
        assert!(available(groups, 0));
        for some in ["cpu", "memory", "cpu pids", "memoryx pids"] {
            fs::write(own.join("cgroup.controllers"), some).expect("written");
            assert!(!available(groups, 1000), "{some}");
        }
        fs::write(own.join("cgroup.controllers"), "memory pids\n").expect("written");
        assert!(available(groups, 1000));
    }

    /// An initramfs takes an eighth of the memory, each share a server.
    #[test]
    fn a_vm_has_more_than_its_guest() {
        for (accel, shares, mib) in [
            (Accelerator::Kvm, 0, 4096 + 512 + 1024),
            (Accelerator::Kvm, 2, 4096 + 512 + 1024 + 2 * 64),
            (Accelerator::Tcg, 0, 4096 + 512 + 1024 + 1024),
        ] {
            let spec = VmSpec {
                accel,
                memory: "4G".parse().expect("a size"),
                vcpus: 2,
                shares: example()
                    .shares
                    .iter()
                    .cycle()
                    .take(shares)
                    .cloned()
                    .collect(),
                ..example()
            };
            let limits = limits(&spec);
            assert_eq!(limits.memory, mib << 20, "{accel:?}, {shares} shares");
            assert_eq!(limits.tasks, 512 + 1024 + 2 * 4);
        }
    }
}
