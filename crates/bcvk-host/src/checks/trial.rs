//! A container that does nothing, to find out whether podman can start any here.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use bcvk_contract::missing::if_exists;

use crate::checks::open_files::ulimits;
use crate::podman::{OWN, OWN_NETWORK, Podman, bind, stderr_of};
use crate::vm::dir::VmDirs;
use crate::{HostError, Operation};

/// Directories of the root that lead into `/usr` where the two are merged, as VMs' containers need
/// it.
pub(crate) const INTO_USR: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Directories that podman mounts over, and that it cannot make in a root of somebody else's.
const MOUNT_POINTS: [&str; 7] = ["usr", "proc", "sys", "dev", "etc", "run", "tmp"];

/// Starts a container of the host's `/usr`, as VMs' containers are, and waits for its end.
///
/// The container needs no image, and nothing of it stays. If something is wrong with the OCI runtime,
/// control groups, limits, user namespaces, storage or the network, the error shows it in podman's
/// own words.
///
/// # Errors
/// [`HostError::UsrNotMerged`], or podman's own error.
pub fn try_container(podman: &Podman, dirs: &VmDirs) -> Result<(), HostError> {
    if let Some(name) = INTO_USR.iter().find(|name| is_own_directory(name)) {
        return Err(HostError::UsrNotMerged(Path::new("/").join(name)));
    }
    let (dir, held) = dirs
        .create()
        .map_err(HostError::io("make a directory for a container"))?;
    let root = dir.path().join("root");
    let made = make_root(&root).map_err(HostError::io("make a root for a container"));
    let ran = made.and_then(|()| run(podman, &root));
    drop(held);
    dir.remove_if_unused()
        .map_err(HostError::io("remove the directory of a container"))?;
    ran
}

fn run(podman: &Podman, root: &Path) -> Result<(), HostError> {
    let usr = Path::new("/usr");
    let mut mount = std::ffi::OsString::from("--mount=");
    mount.push(bind(usr, usr, true));
    let output = podman
        .command()
        .args([
            "run",
            "--rm",
            "--pull=never",
            "--security-opt=label=disable",
        ])
        .args(OWN)
        .args(ulimits().args())
        .arg(format!("--network={OWN_NETWORK}"))
        .arg(mount)
        .arg("--rootfs")
        .arg(root)
        .arg("/usr/bin/true")
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(HostError::io("run podman"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(HostError::Podman {
            action: Operation::Try,
            stderr: stderr_of(&output),
        })
    }
}

fn is_own_directory(name: &str) -> bool {
    fs::symlink_metadata(Path::new("/").join(name)).is_ok_and(|meta| meta.is_dir())
}

fn make_root(root: &Path) -> io::Result<()> {
    fs::create_dir(root)?;
    for name in INTO_USR {
        if let Some(target) = if_exists(fs::read_link(Path::new("/").join(name)))? {
            symlink(target, root.join(name))?;
        }
    }
    MOUNT_POINTS
        .iter()
        .try_for_each(|name| fs::create_dir(root.join(name)))
}
