//! The image as a root that can be written to, without a trace in the image.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::spec::volatile_limit;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change,
    mount_remount, unmount,
};

use super::error::EarlyError;
use super::files::{append, install, make_dir};
use super::mounts::{overlay_of, tmpfs};
use super::{DIR, PROGRAM, Plan, RootKind, SYSROOT, SYSTEM_PROGRAM, var};

/// Directory of the overlays' upper directories.
const VOLATILE: &str = "/run/bcvk/volatile";

/// Mounts the image. The file server's device is there a moment after its driver at the latest.
pub(super) fn mount_image() -> Result<(), EarlyError> {
    const PAUSE: Duration = Duration::from_millis(10);
    const LIMIT: Duration = Duration::from_secs(20);
    let path = Path::new(SYSROOT);
    make_dir(path, 0o755)?;
    let until = Instant::now() + LIMIT;
    loop {
        match mount("rootfs", path, "virtiofs", MountFlags::RDONLY, None) {
            // If there is no driver, waiting does not help.
            Err(e) if e != Errno::NODEV && Instant::now() < until => thread::sleep(PAUSE),
            result => {
                return result.map_err(|e| EarlyError::new("mount the image over virtiofs", e));
            }
        }
    }
}

/// Makes `/etc`, `/var`, `/root` and `/tmp` of the image at [`SYSROOT`] writable and volatile, or all of
/// it, and adds bcvk's files to `/etc` and `/var`.
pub(super) fn make_volatile(plan: &Plan) -> Result<(), EarlyError> {
    let root = Path::new(SYSROOT);
    // Otherwise a mount over a directory would also appear on the binds of it below, and nothing
    // mounted in it could be moved.
    mount_change(root, MountPropagationFlags::PRIVATE)
        .map_err(EarlyError::with("make private", root))?;
    let volatile = Path::new(VOLATILE);
    make_dir(volatile, 0o755)?;
    // The volatile directories share a file system: /run is limited to a fifth of the memory, and the
    // limits of several would add up to more than there is.
    let size = volatile_limit(memory(), plan.swap, plan.var_on);
    tmpfs("bcvk-volatile", volatile, size)?;
    load_overlay();

    // The overlays of directories have the image itself below, and not the root's overlay: the
    // kernel allows two on top of each other (Linux, fs/overlayfs/super.c), and container engines need
    // one.
    let image = match plan.root {
        RootKind::Image => root.to_owned(),
        RootKind::Transient | RootKind::TransientReadOnly => {
            overlay_of(root, &volatile.join("rootfs"), 0o755, root)?
        }
    };
    overlay_of(
        &image.join("etc"),
        &volatile.join("etc"),
        0o755,
        &root.join("etc"),
    )?;
    let store = volatile.join("var");
    var::mount_var(&image, root, &store, plan.var_on, &plan.var)?;
    if let Some(home) = &plan.home {
        if ["/var", "/etc"].iter().any(|dir| home.starts_with(dir)) {
            // The path is writable already, but it may not exist yet.
            make_dir(&below(root, home), 0o700)?;
        } else {
            let store = volatile.join("root");
            overlay_of(&below(&image, home), &store, 0o700, &below(root, home))?;
        }
    }
    mount_tmp(root, volatile)?;
    if image != root {
        // The overlays hold it themselves, and nobody needs to see all of it once more.
        unmount(&image, UnmountFlags::empty()).map_err(EarlyError::with("unmount", &image))?;
    }
    if plan.root == RootKind::TransientReadOnly {
        let flags = MountFlags::BIND | MountFlags::RDONLY;
        mount_remount(root, flags, "").map_err(EarlyError::with("make read-only", root))?;
    }

    keep_program()?;
    for dir in ["etc", "var"] {
        install(&Path::new(DIR).join(dir), &root.join(dir))?;
    }
    if !plan.environment.is_empty() {
        append(&root.join("etc/environment"), &plan.environment)?;
    }
    Ok(())
}

/// Makes `/tmp` an empty directory of the volatile file system, if there is such a directory.
///
/// systemd before 256 does not mount a tmpfs there by default everywhere, but on a read-only root every
/// service with a private `/dev` or `/tmp` needs it.
fn mount_tmp(root: &Path, volatile: &Path) -> Result<(), EarlyError> {
    let tmp = root.join("tmp");
    if !fs::symlink_metadata(&tmp).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let source = volatile.join("tmp");
    make_dir(&source, 0o755)?;
    fs::set_permissions(&source, Permissions::from_mode(0o1777))
        .map_err(EarlyError::with("open to all", &source))?;
    mount_bind(&source, &tmp).map_err(EarlyError::with("mount a tmpfs on", &tmp))?;
    let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount(&tmp, flags, "").map_err(EarlyError::with("restrict", &tmp))
}

/// Keeps this program within reach of the image's system, which removes the initramfs. A bind takes no
/// memory, and it can be executed where `/run` forbids that. Only root has it to execute.
fn keep_program() -> Result<(), EarlyError> {
    let target = Path::new(SYSTEM_PROGRAM);
    make_dir(target.parent().unwrap_or(target), 0o700)?;
    fs::File::create(target).map_err(EarlyError::with("make", target))?;
    mount_bind(PROGRAM, target).map_err(EarlyError::with("mount this program on", target))
}

/// Loads overlayfs. It was among the modules to load, unless the image has no list of its modules.
fn load_overlay() {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !known.split_whitespace().any(|word| word == "overlay") {
        // If this fails, mounting the overlay reports it.
        let _ = Command::new("modprobe").arg("overlay").status();
    }
}

/// Returns the guest's memory in bytes.
fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    // The types of these fields are not the same on every architecture.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    let bytes = info.totalram as u64 * u64::from(info.mem_unit);
    bytes
}

/// Returns a path of the image's as it is seen from here.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
