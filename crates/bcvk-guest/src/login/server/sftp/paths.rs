//! Paths as clients name them.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::facts::find_user;
use crate::rooted::Rooted;

/// Returns the absolute path without links. The last name need not be there yet.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    match (fs::canonicalize(path), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            let parent = if parent == Path::new("") {
                Path::new(".")
            } else {
                parent
            };
            Ok(fs::canonicalize(parent)?.join(name))
        }
        (resolved, ..) => resolved,
    }
}

/// Replaces `~` and `~USER` by home directories.
pub(super) fn expand(path: &Path) -> io::Result<PathBuf> {
    let mut parts = path.components();
    let first = parts.next().and_then(|part| part.as_os_str().to_str());
    let Some(user) = first.and_then(|first| first.strip_prefix('~')) else {
        return Ok(path.to_owned());
    };
    let home = if user.is_empty() {
        env::var_os("HOME").map(PathBuf::from)
    } else {
        find_user(&Rooted::new(Path::new("/"))?, user)?.map(|user| user.home)
    };
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("there is no user {user}"));
    Ok(home.ok_or_else(unknown)?.join(parts.as_path()))
}
