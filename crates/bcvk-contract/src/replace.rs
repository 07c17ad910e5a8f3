//! Files that are replaced in one step: a reader sees the old one or the whole new one.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// Puts a file with this content in the place of `path`, with the permissions that `mode` and the umask
/// allow. It does not wait for the disk.
///
/// # Errors
/// If the file cannot be written; then `path` is as it was.
pub fn replace(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut file = beside(path, mode)?;
    file.write_all(content)?;
    file.persist(path)?;
    Ok(())
}

/// Makes a file beside `path` that goes away by itself, unless it takes the place of `path`.
///
/// # Errors
/// As open(2).
pub fn beside(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    Builder::new()
        .prefix(".bcvk-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(dir)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_old_file_is_left_alone_or_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("target"), "old").expect("written");
        symlink("target", at("file")).expect("linked");
        replace(&at("file"), 0o600, b"new").expect("replaced");
        assert_eq!(fs::read(at("file")).expect("text"), b"new");
        assert_eq!(fs::read(at("target")).expect("text"), b"old");
        let found = fs::symlink_metadata(at("file")).expect("there");
        assert_eq!(found.permissions().mode(), 0o100_600);

        fs::create_dir_all(at("full/dir")).expect("made");
        assert!(replace(&at("full"), 0o600, b"new").is_err());
        let left = fs::read_dir(dir.path()).expect("read").count();
        assert_eq!(left, 3, "nothing is left beside it");
    }
}
