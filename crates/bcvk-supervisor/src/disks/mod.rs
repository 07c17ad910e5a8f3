//! Disks that are made for one guest and go away with it.

mod ext4;
mod swap;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bcvk_contract::spec::{SwapSize, VarSize};

/// Paths of the files in the container's own layer: they are on disk, not in memory, and vanish with
/// the container.
const SWAP: &str = "/.bcvk-swap";
const VAR: &str = "/.bcvk-var";

/// Makes the file of a swap device.
///
/// # Errors
/// If the host has no place for it.
pub(super) fn make_swap(size: SwapSize) -> io::Result<File> {
    let file = unnamed(Path::new(SWAP), size.bytes())?;
    swap::format(&file, size.bytes())?;
    Ok(file)
}

/// Makes the file of a disk for `/var`, with an empty file system.
///
/// # Errors
/// If the host has no place for it.
pub(super) fn make_var(size: VarSize) -> io::Result<File> {
    let file = unnamed(Path::new(VAR), size.bytes())?;
    ext4::format(&file, size.bytes())?;
    Ok(file)
}

/// Makes a file of this size, which takes up space as it is used and has no name any more.
///
/// # Errors
/// If the host has no place for it.
pub(super) fn unnamed(path: &Path, bytes: u64) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    fs::remove_file(path)?;
    file.set_len(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_up_no_space_and_has_no_name() {
        use std::os::unix::fs::MetadataExt;

        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("disk");
        let file = unnamed(&path, 1 << 30).expect("made");
        let found = file.metadata().expect("there");
        assert_eq!((found.len(), found.blocks()), (1 << 30, 0));
        assert!(!path.exists());
    }
}
