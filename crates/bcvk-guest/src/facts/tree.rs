//! Trees of files for tests and fuzzing.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// Adds a file to the tree `root`, written as `PATH`, `PATH = CONTENT`, `PATH -> TARGET` or `PATH/`. What
/// is there already stays.
///
/// # Errors
/// If the path does not stay below `root` or leads through a link, a file is there, or the name is none.
pub(super) fn add(root: &Path, file: &str) -> io::Result<()> {
    if let Some((link, target)) = file.split_once(" -> ") {
        symlink(target, place(root, link)?)
    } else if let Some((path, content)) = file.split_once(" = ") {
        write(&place(root, path)?, content)
    } else if file.ends_with('/') {
        make_dir(&place(root, file)?)
    } else {
        write(&place(root, file)?, "content")
    }
}

/// Returns where `path` is below `root`, and makes the directories above it.
fn place(root: &Path, path: &str) -> io::Result<PathBuf> {
    let mut place = root.to_owned();
    let mut names = Path::new(path).components().peekable();
    while let Some(name) = names.next() {
        let Component::Normal(name) = name else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        place.push(name);
        if names.peek().is_some() {
            make_dir(&place)?;
        }
    }
    Ok(place)
}

fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && !path.is_symlink() => Ok(()),
        result => result,
    }
}

fn write(path: &Path, content: &str) -> io::Result<()> {
    if path.is_symlink() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::write(path, content)?;
    // It may be a program.
    fs::set_permissions(path, Permissions::from_mode(0o755))
}
