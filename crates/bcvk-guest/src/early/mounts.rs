//! Mounts of the volatile parts of a root.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{MountFlags, mount, mount_bind};

use super::ApiMount;
use super::error::EarlyError;
use super::files::make_dir;

/// Mounts an overlay of `lower` on `target`, with its upper directory below `store`. Returns the path at
/// which `lower` itself can still be seen. A directory of the image's can be renamed, which takes `redirect_dir` (Linux,
/// Documentation/filesystems/overlayfs.rst). The lower directory is bound elsewhere first: kernels
/// before 6.x hang on an overlay that is mounted over its own lower directory.
pub(super) fn overlay_of(
    lower: &Path,
    store: &Path,
    mode: u32,
    target: &Path,
) -> Result<PathBuf, EarlyError> {
    let [below, upper, work] = ["lower", "upper", "work"].map(|part| store.join(part));
    make_dir(&below, 0o755)?;
    make_dir(&work, 0o755)?;
    make_dir(&upper, mode)?;
    mount_bind(lower, &below).map_err(EarlyError::with("bind", lower))?;
    // None of these names has a character that the option's syntax gives a meaning.
    let options = c_string(format!(
        "lowerdir={},upperdir={},workdir={},index=off,metacopy=off,redirect_dir=on",
        below.display(),
        upper.display(),
        work.display(),
    ));
    let name = store.file_name().unwrap_or_default().display();
    mount(
        format!("bcvk-{name}"),
        target,
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .map_err(EarlyError::with("mount an overlay on", target))?;
    Ok(below)
}

/// Mounts a tmpfs of at most `size` bytes.
pub(super) fn tmpfs(name: &str, on: &Path, size: u64) -> Result<(), EarlyError> {
    let options = c_string(format!("mode=0755,size={size}"));
    mount(name, on, "tmpfs", MountFlags::empty(), options.as_c_str())
        .map_err(EarlyError::with("mount a tmpfs on", on))
}

/// Mounts what systemd would start seven programs for, in an emulated guest a tenth of a second each. What
/// cannot be mounted here is left to it, and to its reports.
pub(super) fn mount_api(mounts: &[ApiMount]) {
    for api in mounts {
        let on = Path::new(&api.on);
        let flags = api.restrictions.iter().map(|word| match word.as_str() {
            "nosuid" => MountFlags::NOSUID,
            "nodev" => MountFlags::NODEV,
            "noexec" => MountFlags::NOEXEC,
            _ => MountFlags::empty(),
        });
        if make_dir(on, 0o755).is_ok() {
            let data = c_string(api.data.clone());
            let _ = mount(&*api.kind, on, &*api.kind, flags.collect(), data.as_c_str());
        }
    }
}

/// Does something with the image as the root of this process, which has one thread only.
pub(super) fn in_root(root: &Path, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
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

fn c_string(text: String) -> CString {
    CString::new(text).expect("no NUL in bcvk's own names")
}
