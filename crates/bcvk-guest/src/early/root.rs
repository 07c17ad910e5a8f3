//! The image as a root that can be written to, without a trace in the image.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_move,
};

use super::error::EarlyError;
use super::files::{append, install, make_dir};
use super::{DIR, PROGRAM, Plan, SYSROOT, SYSTEM_PROGRAM, Var};

/// Directory of the overlays' upper directories.
const VOLATILE: &str = "/run/bcvk/volatile";

/// Options of a tmpfs that may take all of the memory.
const WHOLE: &str = "mode=0755,size=100%";

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

/// Makes `/etc`, `/var`, `/root` and `/tmp` of the image at [`SYSROOT`] writable and volatile, and
/// adds bcvk's files to `/etc`.
pub(super) fn make_volatile(plan: &Plan) -> Result<(), EarlyError> {
    let root = Path::new(SYSROOT);
    // Otherwise a mount over a directory would also appear on the binds of it below, and nothing
    // mounted in it could be moved.
    mount_change(root, MountPropagationFlags::PRIVATE)
        .map_err(EarlyError::with("make private", root))?;
    let volatile = Path::new(VOLATILE);
    make_dir(volatile, 0o755)?;
    // The overlays have a file system of their own, because /run is limited to a fifth of the memory.
    tmpfs("bcvk-volatile", volatile, WHOLE, MountFlags::empty())?;
    load_overlay();

    overlay("etc", &root.join("etc"), 0o755)?;
    let var = root.join("var");
    match plan.var {
        Var::Copy => copy_var(root, &var)?,
        Var::Overlay => {
            overlay("var", &var, 0o755)?;
            if var.join("lib").is_dir() {
                let containers = var.join("lib/containers");
                make_dir(&containers, 0o755)?;
                tmpfs("bcvk-containers", &containers, WHOLE, MountFlags::empty())?;
            }
        }
    }
    if let Some(home) = &plan.home {
        let path = below(root, home);
        if ["/var", "/etc"].iter().any(|dir| home.starts_with(dir)) {
            // The path is writable already, but it may not exist yet.
            make_dir(&path, 0o700)?;
        } else {
            overlay("root", &path, 0o700)?;
        }
    }
    // systemd before 256 does not mount a tmpfs on /tmp by default everywhere, but on a read-only
    // root every service with a private /dev or /tmp needs it.
    let tmp = root.join("tmp");
    if fs::symlink_metadata(&tmp).is_ok_and(|found| found.is_dir()) {
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        tmpfs("tmpfs", &tmp, "mode=1777,size=50%", flags)?;
    }

    keep_program()?;
    install(&Path::new(DIR).join("etc"), &root.join("etc"))?;
    if !plan.environment.is_empty() {
        append(&root.join("etc/environment"), &plan.environment)?;
    }
    Ok(())
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

/// Mounts an overlay. The lower directory is bound elsewhere first: kernels before 6.x hang on an
/// overlay that is mounted over its own lower directory.
fn overlay(name: &str, on: &Path, mode: u32) -> Result<(), EarlyError> {
    let dir = Path::new(VOLATILE).join(name);
    let [lower, upper, work] = ["lower", "upper", "work"].map(|part| dir.join(part));
    make_dir(&lower, 0o755)?;
    make_dir(&work, 0o755)?;
    make_dir(&upper, mode)?;
    mount_bind(on, &lower).map_err(EarlyError::with("bind", on))?;
    // None of these names has a character that the option's syntax gives a meaning.
    let options = c_string(format!(
        "lowerdir={},upperdir={},workdir={},index=off,metacopy=off",
        lower.display(),
        upper.display(),
        work.display(),
    ));
    let source = format!("bcvk-{name}");
    mount(
        source,
        on,
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .map_err(EarlyError::with("mount an overlay on", on))
}

fn tmpfs(name: &str, on: &Path, options: &str, flags: MountFlags) -> Result<(), EarlyError> {
    let options = c_string(options.to_owned());
    mount(name, on, "tmpfs", flags, options.as_c_str())
        .map_err(EarlyError::with("mount a tmpfs on", on))
}

/// Copies `/var` with the image's own `cp`, to what will be `/var` but is at `/run` meanwhile,
/// which is empty in an image.
fn copy_var(root: &Path, var: &Path) -> Result<(), EarlyError> {
    let run = root.join("run");
    tmpfs("bcvk-var", &run, WHOLE, MountFlags::empty())?;
    in_root(root, || {
        let mut copy = Command::new("/bin/cp");
        let status = copy.args(["-a", "/var/.", "/run/"]).status()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("cp: {status}")))
        }
    })
    .map_err(|e| EarlyError::new("copy the image's /var", e))?;
    mount_move(&run, var).map_err(EarlyError::with("mount the copy of", Path::new("/var")))
}

/// Does something with the image as the root of this process, which has one thread only.
fn in_root(root: &Path, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let back = openat(
        CWD,
        "/",
        OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::process::chroot(root)?;
    let result = rustix::process::chdir("/")
        .map_err(io::Error::from)
        .and_then(|()| act());
    rustix::process::fchdir(&back)?;
    rustix::process::chroot(".")?;
    result
}

/// Returns a path of the image's as it is seen from here.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn c_string(text: String) -> CString {
    CString::new(text).expect("no NUL in bcvk's own names")
}
