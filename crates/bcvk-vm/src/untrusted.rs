//! Files in a directory that a container can write to, which may have put something else there.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::bounded;

/// Opens a regular file. A symlink is not followed, and a FIFO not waited for.
///
/// # Errors
/// As open(2); [`io::ErrorKind::InvalidData`] for something else than such a file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(file)
}

/// Reads a regular file of at most `most` bytes, opened as [`open`] does.
///
/// # Errors
/// As [`open`] and read(2); [`io::ErrorKind::InvalidData`] for a larger file.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    bounded::read(open(path)?, most)?.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn only_small_regular_files_are_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "1234").expect("write");
        symlink("file", at("link")).expect("link");
        symlink("/dev/zero", at("endless")).expect("link");
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
        assert_eq!(read(&at("file"), 4).expect("read"), b"1234");
        for (name, most) in [("file", 3), ("link", 9), ("endless", 9), ("fifo", 9)] {
            assert!(read(&at(name), most).is_err(), "{name}");
        }
        let missing = read(&at("missing"), 9).expect_err("missing");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
