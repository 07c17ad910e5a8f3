//! Free space on file systems.

use std::io;
use std::path::Path;

use rustix::fs::statvfs;

/// Returns the bytes that this user can still write on the file system of `path`.
///
/// # Errors
/// If the file system does not tell.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let stat = statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
