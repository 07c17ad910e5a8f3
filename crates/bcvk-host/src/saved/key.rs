//! The key that says which VMs can be resumed from one snapshot.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bcvk_contract::snapshot::boot_id;
use bcvk_contract::spec::{SnapshotStage, VmSpec};
use sha2::{Digest, Sha256};

/// Number of bytes of a digest that name a snapshot.
const NAME_BYTES: usize = 16;

/// A digest over all that a guest can see of what it was booted from and on, but for its image. Two VMs
/// of one image with the same digest can be resumed from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotKey(pub(super) String);

impl SnapshotKey {
    /// Returns the beginning of the names of all snapshots with this key and of this `stage`. That of one
    /// stage is no beginning of the other's, so that a few digits are enough to name a snapshot.
    pub(super) fn prefix(&self, stage: SnapshotStage) -> String {
        let digest = Sha256::new_with_prefix(stage.name())
            .chain_update(&self.0)
            .finalize();
        let hex = digest[..NAME_BYTES].iter();
        hex.map(|byte| format!("{byte:02x}"))
            .chain(["-".to_owned()])
            .collect()
    }

    /// Returns the key of `spec` when the programs `exe` and the VM's QEMU boot it here.
    ///
    /// # Errors
    /// If one of the programs, or what the host says of itself, cannot be read.
    pub fn new(spec: &VmSpec, exe: &Path) -> io::Result<Self> {
        // The fields listed here alone decide. All are named so that whoever adds an option to a spec
        // has to think of the key.
        let VmSpec {
            version,
            name: _,
            image: _,
            arch,
            accel,
            nested,
            vcpus,
            memory,
            qemu,
            machine_id: _,
            kargs,
            shares: _,
            host_storage: _,
            disks: _,
            swap: _,
            var,
            units: _,
            ignition: _,
            cloud_init: _,
            execute: _,
            ports: _,
            network,
            domain,
            expose,
            env: _,
            ssh,
            host_key: _,
            fidelity,
            initramfs,
            snapshot: _,
            lifetime: _,
            console: _,
            output: _,
            logs: _,
            serial_ports: _,
        } = spec;
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let host = (processor(&cpuinfo), kernel()?, boot_id()?);
        let text = serde_json::to_vec(&(
            (version, arch, accel, nested, vcpus, memory),
            (kargs, fidelity, initramfs, var, network, domain, expose),
            ssh.as_ref().map(|ssh| (ssh.login, ssh.ready)),
            (file(exe)?, file(qemu)?, host),
        ))?;
        let digest = Sha256::digest(text);
        let hex = digest[..NAME_BYTES].iter().map(|b| format!("{b:02x}"));
        Ok(Self(hex.collect()))
    }
}

/// Identifies a program: one that was replaced is another file, or has another size or time.
fn file(path: &Path) -> io::Result<(u64, u64, u64, i64, i64)> {
    let found = fs::metadata(path)?;
    Ok((
        found.dev(),
        found.ino(),
        found.size(),
        found.mtime(),
        found.mtime_nsec(),
    ))
}

/// Returns what a guest can see of the host's first processor in `/proc/cpuinfo`.
pub(super) fn processor(cpuinfo: &str) -> Vec<&str> {
    let first = cpuinfo.lines().take_while(|line| !line.trim().is_empty());
    let seen = ["vendor_id", "model name", "microcode", "flags"];
    first
        .filter(|line| seen.iter().any(|name| line.starts_with(name)))
        .collect()
}

fn kernel() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/osrelease")
}
