//! The guest's first process, if it boots without an initramfs of its own.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use bcvk_contract::control::Message;
use rustix::fs::Access;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_move};

use super::error::EarlyError;
use super::files::make_dir;
use super::{SYSROOT, hand_over, mount_root};
use crate::port::tell;

/// Path and name under which the kernel runs the first process of an initramfs (Linux,
/// Documentation/filesystems/ramfs-rootfs-initramfs.rst).
pub const INIT: &str = "/init";

/// File systems that are mounted in every system, with systemd's own options (systemd,
/// src/shared/mount-setup.c).
const MOUNTS: [(&str, &str, MountFlags, &std::ffi::CStr); 4] = [
    ("/dev", "devtmpfs", MountFlags::NOSUID, c"mode=0755"),
    ("/proc", "proc", HARMLESS, c""),
    ("/sys", "sysfs", HARMLESS, c""),
    (
        "/run",
        "tmpfs",
        MountFlags::NOSUID.union(MountFlags::NODEV),
        c"mode=0755,size=20%,nr_inodes=800k",
    ),
];
const HARMLESS: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// Entries of the initramfs besides mount points. Once the image's system runs, they would only take
/// up memory.
const OURS: [&str; 2] = ["/init", "/usr"];

/// Boots the image's system: returns only if that cannot be, and only once the host knows why.
#[must_use]
pub fn init() -> EarlyError {
    /// Time for the host, which ends a VM that gives up; without it, the kernel's panic is the end.
    const HOST_GRACE: Duration = Duration::from_secs(10);
    let Err(error) = boot();
    tell(&Message::GaveUp(error.to_string()));
    let _ = fs::write("/dev/kmsg", format!("<0>bcvk: {error}\n"));
    thread::sleep(HOST_GRACE);
    error
}

fn boot() -> Result<Infallible, EarlyError> {
    for (on, kind, flags, options) in MOUNTS {
        let path = Path::new(on);
        make_dir(path, 0o755)?;
        mount(kind, path, kind, flags, options).map_err(EarlyError::with("mount", path))?;
    }
    mount_root()?;
    hand_over()?;
    enter()
}

/// Makes the image the root and its init the first process.
fn enter() -> Result<Infallible, EarlyError> {
    let arguments = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let root = Path::new(SYSROOT);
    for (on, ..) in MOUNTS {
        let target = root.join(&on[1..]);
        mount_move(on, &target).map_err(EarlyError::with("move to", &target))?;
    }
    for path in OURS.map(Path::new) {
        // There are links among them. An entry that cannot be removed only takes up memory.
        let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
    }
    let cannot = |e: Errno| EarlyError::new("make the image the root", e);
    rustix::process::chdir(root).map_err(cannot)?;
    mount_move(".", "/").map_err(cannot)?;
    rustix::process::chroot(".").map_err(cannot)?;
    rustix::process::chdir("/").map_err(cannot)?;

    let init = init_of(&arguments, |path| {
        rustix::fs::access(path, Access::EXEC_OK).is_ok()
    });
    let error: io::Error = Command::new(init).exec();
    Err(EarlyError::new(format!("run {init}"), error))
}

/// Returns the image's init: the one that the kernel's argument `init=` names, or else systemd.
fn init_of(arguments: &str, runs: impl Fn(&str) -> bool) -> &str {
    const SBIN: &str = "/sbin/init";
    let asked = arguments
        .split_whitespace()
        .filter_map(|argument| argument.strip_prefix("init="))
        .next_back();
    match asked {
        Some(path) => path,
        None if runs(SBIN) => SBIN,
        None => "/usr/lib/systemd/systemd",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_init_comes_before_the_images() {
        for (arguments, has_sbin, init) in [
            ("quiet init=/bin/sh", true, "/bin/sh"),
            ("init=/a rdinit=/b init=/c", true, "/c"),
            ("quiet", true, "/sbin/init"),
            ("quiet", false, "/usr/lib/systemd/systemd"),
        ] {
            assert_eq!(init_of(arguments, |_| has_sbin), init, "{arguments}");
        }
    }
}
