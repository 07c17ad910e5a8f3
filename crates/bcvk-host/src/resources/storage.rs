//! The one of podman's storages that a VM's container is kept in.
//!
//! A podman that was called with another storage (`CONTAINERS_STORAGE_CONF`, `--root`) does not list
//! the container. The container's directory in its storage shows that it exists: the OCI bundle,
//! which is removed with the container.

#![allow(
    clippy::disallowed_methods,
    reason = "opens files of the kernel's and the VM directory's"
)]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use bcvk_contract::untrusted;

use crate::podman::Podman;
use crate::vm::dir::VmDir;

/// File of a VM directory that has the path of the container's bundle.
const NOTE: &str = "storage";

/// Longest path (Linux, `PATH_MAX`).
const MAX_PATH_BYTES: u64 = 4096;

/// Notes the bundle of the container that podman has just started for the VM of `dir`.
///
/// # Errors
/// If the bundle cannot be found, or the note cannot be written.
pub(crate) fn note(podman: &Podman, dir: &VmDir) -> io::Result<()> {
    let id = dir.container_id().ok_or(io::ErrorKind::NotFound)?;
    let bundle = match of_conmon(dir, &id) {
        Some(bundle) => bundle,
        // The container has ended already.
        None => podman.bundle(&id).ok_or(io::ErrorKind::NotFound)?,
    };
    dir.write_private(NOTE, bundle.as_os_str().as_bytes())
}

/// Returns true if the container of `dir` exists, whatever podman says of it.
pub(crate) fn has_container(dir: &VmDir) -> bool {
    let Ok(bundle) = untrusted::read(&dir.path().join(NOTE), MAX_PATH_BYTES) else {
        return false;
    };
    // A bundle that cannot be accessed may exist.
    PathBuf::from(OsString::from_vec(bundle))
        .try_exists()
        .unwrap_or(true)
}

/// Returns the bundle that conmon, the parent of the container's first process, has among its
/// arguments. podman would need 100 ms for that answer.
fn of_conmon(dir: &VmDir, id: &str) -> Option<PathBuf> {
    let pid = fs::read_to_string(dir.pid_file()).ok()?;
    let pid: u32 = pid.trim().parse().ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent: u32 = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim()
        .parse()
        .ok()?;
    bundle(&fs::read(format!("/proc/{parent}/cmdline")).ok()?, id)
}

/// Finds the bundle of the container `id` in conmon's arguments.
fn bundle(cmdline: &[u8], id: &str) -> Option<PathBuf> {
    let mut words = cmdline.split(|byte| *byte == 0);
    words.find(|word| *word == b"-b")?;
    let path = PathBuf::from(OsString::from_vec(words.next()?.to_vec()));
    let is_its = path.is_absolute() && path.iter().any(|part| part == id);
    is_its.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conmon_knows_the_bundle() {
        let words = [
            "/usr/bin/conmon",
            "-c",
            "c0ffee",
            "-b",
            "/s/c0ffee/userdata",
            "-p",
            "x",
        ];
        let cmdline = words.join("\0").into_bytes();
        let found = bundle(&cmdline, "c0ffee");
        assert_eq!(
            found.as_deref(),
            Some(std::path::Path::new("/s/c0ffee/userdata"))
        );
        assert_eq!(bundle(&cmdline, "cafe"), None);
        assert_eq!(bundle(b"/sbin/init\0", "c0ffee"), None);
        assert_eq!(bundle(b"conmon\0-b", "c0ffee"), None);
    }

    #[test]
    fn a_container_is_there_as_long_as_its_bundle() {
        let tmp = tempfile::tempdir().expect("temporary directory");
        let bundle = tmp.path().join("userdata");
        fs::create_dir(&bundle).expect("make a directory");
        let dir = VmDir::at(tmp.path());
        assert!(!has_container(&dir));
        dir.write_private(NOTE, bundle.as_os_str().as_bytes())
            .expect("write");
        assert!(has_container(&dir));
        fs::remove_dir(&bundle).expect("remove");
        assert!(!has_container(&dir));
    }
}
