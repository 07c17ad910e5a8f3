//! Files from the initramfs in the image.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use bcvk_contract::missing::if_exists;

use super::error::EarlyError;

/// Makes a directory that only its owner may write to, and those on the way; an existing one stays
/// as it is.
pub(super) fn make_dir(path: &Path, mode: u32) -> Result<(), EarlyError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o755);
    let make = || {
        if let Some(parent) = path.parent() {
            builder.create(parent)?;
        }
        match DirBuilder::new().mode(mode).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    };
    make().map_err(EarlyError::with("make the directory", path))
}

/// Puts everything under `from`, if there is such a directory, under `to`: directories, files with
/// their permissions, and links.
pub(super) fn install(from: &Path, to: &Path) -> Result<(), EarlyError> {
    let failed = |e: io::Error| EarlyError::with("read", from)(e);
    for entry in if_exists(fs::read_dir(from))
        .map_err(failed)?
        .into_iter()
        .flatten()
    {
        let entry = entry.map_err(failed)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            make_dir(&target, 0o755)?;
            install(&source, &target)?;
        } else if kind.is_symlink() {
            fs::read_link(&source)
                .and_then(|text| symlink(text, &target))
                .map_err(EarlyError::with("make the link", &target))?;
        } else {
            fs::copy(&source, &target).map_err(EarlyError::with("write", &target))?;
        }
    }
    Ok(())
}

/// Returns the paths of everything in a directory, in the order of their names; none if there is no such
/// directory.
pub(crate) fn in_order(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(entries) = if_exists(fs::read_dir(dir))? else {
        return Ok(Vec::new());
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths?;
    paths.sort();
    Ok(paths)
}

/// Adds `text` to the end of a file, which is made if it is missing.
pub(super) fn append(path: &Path, text: &str) -> Result<(), EarlyError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(EarlyError::with("write", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_tree_is_installed_over_another() {
        let [from, to] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let (from, to) = (from.path(), to.path());
        make_dir(&from.join("a/b"), 0o700).expect("made");
        fs::write(from.join("a/b/secret"), "1").expect("written");
        fs::set_permissions(from.join("a/b/secret"), PermissionsExt::from_mode(0o600))
            .expect("set");
        symlink("../secret", from.join("a/link")).expect("linked");
        make_dir(&to.join("a"), 0o750).expect("made");
        install(from, to).expect("installed");
        install(&from.join("missing"), to).expect("nothing to do");

        let mode = |path: &str| {
            fs::metadata(to.join(path))
                .expect("there")
                .permissions()
                .mode()
        };
        assert_eq!(mode("a") & 0o777, 0o750);
        assert_eq!(mode("a/b") & 0o777, 0o755);
        assert_eq!(mode("a/b/secret") & 0o777, 0o600);
        assert_eq!(
            fs::read_link(to.join("a/link")).expect("a link"),
            Path::new("../secret")
        );
    }

    #[test]
    fn text_is_added_after_what_is_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("environment");
        append(&path, "A=1\n").expect("made");
        append(&path, "B=2\n").expect("added");
        assert_eq!(fs::read_to_string(path).expect("text"), "A=1\nB=2\n");
    }
}
