//! The calling process's entries in procfs, also after it has changed to a root without one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};

/// procfs as it was before the root changed.
static KEPT: OnceLock<OwnedFd> = OnceLock::new();

/// Keeps procfs within reach of a process that is about to change its root.
///
/// # Errors
/// As open(2).
pub fn keep() -> io::Result<()> {
    if KEPT.get().is_some() {
        return Ok(());
    }
    // If another thread was first, it saw the same.
    let _ = KEPT.set(open()?);
    Ok(())
}

fn open() -> io::Result<OwnedFd> {
    // Not only its path: a descriptor like that does not count as an open standard stream, which it
    // is for a child.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, "/proc", flags, Mode::empty())?)
}

/// Opens procfs, or takes `inherited` for it in a root that has none.
///
/// # Errors
/// As open(2).
pub fn here_or(inherited: impl AsFd) -> io::Result<OwnedFd> {
    match open() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => inherited.as_fd().try_clone_to_owned(),
        opened => opened,
    }
}

/// A descriptor of procfs, for a child.
///
/// # Errors
/// As open(2).
pub fn for_child() -> io::Result<OwnedFd> {
    keep()?;
    let kept = KEPT.get().ok_or(io::ErrorKind::NotFound)?;
    kept.try_clone()
}

/// Opens `name` of the process's own directory, such as `mountinfo`, in the procfs `proc`.
///
/// # Errors
/// As open(2).
pub fn open_own_in(proc: impl AsFd, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let path = format!("self/{name}");
    Ok(openat(proc, path, flags | OFlags::CLOEXEC, Mode::empty())?)
}

fn open_own(name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let (base, path) = own(name);
    Ok(openat(base, path, flags | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens the file behind `fd` anew, as an open of its path would, but without looking a path up.
///
/// # Errors
/// As open(2).
pub fn reopen(fd: &impl AsFd, flags: OFlags) -> io::Result<OwnedFd> {
    open_own(&descriptor(fd), flags)
}

/// The path of an open descriptor (proc_pid_fd(5)), as the process's root has it.
///
/// # Errors
/// As readlink(2).
pub fn path_of(fd: &impl AsFd) -> io::Result<PathBuf> {
    let (base, path) = own(&descriptor(fd));
    let target = readlinkat(base, path, Vec::new())?;
    Ok(std::ffi::OsString::from_vec(target.into_bytes()).into())
}

fn descriptor(fd: &impl AsFd) -> String {
    format!("fd/{}", fd.as_fd().as_raw_fd())
}

fn own(name: &str) -> (BorrowedFd<'static>, String) {
    match KEPT.get() {
        Some(proc) => (proc.as_fd(), format!("self/{name}")),
        None => (CWD, format!("/proc/self/{name}")),
    }
}
