//! The archive that is appended to the image's initramfs.
//!
//! The kernel unpacks any number of cpio archives, one after the other, into the same root; a later
//! file replaces an earlier one. Between archives it skips zero bytes, and an uncompressed one has
//! to begin at a multiple of four (Linux `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::collections::BTreeSet;
use std::io::{self, Write};

use ::cpio::newc::{Builder, ModeFileType, trailer};

/// Name of the entry that ends an archive.
pub(super) const TRAILER: &str = "TRAILER!!!";

/// Multiple of bytes at which archives end and are appended.
const ALIGNMENT: u64 = 4;

/// Builds a "newc" cpio archive.
///
/// The same calls give the same bytes: modification times are 0, owners are root and inode numbers
/// count up from 1. It makes no difference whether paths are absolute or relative. Directories on the
/// way to a path are made once, with mode 0755, unless they were added before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    inodes: u32,
}

impl Archive {
    /// Makes an archive with nothing in it.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a regular file with the permission bits `mode`.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if the path has no name in it, a `..`, or the name of an
    /// archive's end, or the content has 4 GiB or more.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let path = self.with_parents(path)?;
        self.entry(&path, ModeFileType::Regular, mode, 1, content)
    }

    /// Adds a symlink at `path` that points to `target`.
    ///
    /// # Errors
    /// The same as for [`Archive::file`].
    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        let path = self.with_parents(path)?;
        self.entry(&path, ModeFileType::Symlink, 0o777, 1, target.as_bytes())
    }

    /// Returns the finished archive, ended and padded so that another can follow it.
    ///
    /// # Errors
    /// None in practice: the archive is written to memory.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        let mut bytes = trailer(self.bytes)?;
        let padding = padding(bytes.len() as u64);
        bytes.extend_from_slice(padding);
        Ok(bytes)
    }

    /// Returns the path as archives have it, and adds every directory on the way to the archive.
    fn with_parents(&mut self, path: &str) -> io::Result<String> {
        let names: Vec<&str> = path
            .split('/')
            .filter(|n| !matches!(*n, "" | "."))
            .collect();
        let ends_archive = names.first() == Some(&TRAILER);
        if names.is_empty() || names.contains(&"..") || path.contains('\0') || ends_archive {
            let text = format!("'{path}' cannot be the path of a file in an initramfs");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        for depth in 1..names.len() {
            let parent = names[..depth].join("/");
            if self.directories.insert(parent.clone()) {
                self.entry(&parent, ModeFileType::Directory, 0o755, 2, &[])?;
            }
        }
        Ok(names.join("/"))
    }

    fn entry(
        &mut self,
        path: &str,
        kind: ModeFileType,
        mode: u32,
        links: u32,
        content: &[u8],
    ) -> io::Result<()> {
        let size = u32::try_from(content.len()).map_err(|_| {
            let text =
                format!("'{path}' is too large for an initramfs: files there are under 4 GiB");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        self.inodes += 1;
        let mut writer = Builder::new(path)
            .ino(self.inodes)
            .nlink(links)
            .mode(mode & 0o7777)
            .set_mode_file_type(kind)
            .write(&mut self.bytes, size);
        writer.write_all(content)?;
        writer.finish()?;
        Ok(())
    }
}

/// Returns the zero bytes to write after `length` bytes, so that an archive can follow: none to
/// three.
#[must_use]
pub(crate) fn padding(length: u64) -> &'static [u8] {
    match length % ALIGNMENT {
        1 => &[0; 3],
        2 => &[0; 2],
        3 => &[0; 1],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use ::cpio::newc::Reader;

    use super::*;

    /// Returns path, mode, inode, links and content of every entry, read back by the crate's reader.
    fn listing(bytes: &[u8]) -> Vec<String> {
        let mut rest = bytes;
        let mut lines = Vec::new();
        loop {
            let mut reader = Reader::new(rest).expect("an entry");
            let entry = reader.entry().clone();
            if entry.is_trailer() {
                rest = reader.finish().expect("the end");
                assert!(rest.iter().all(|b| *b == 0) && rest.len() < 4);
                return lines;
            }
            assert_eq!((entry.mtime(), entry.uid(), entry.gid()), (0, 0, 0));
            let mut content = String::new();
            reader.read_to_string(&mut content).expect("text");
            lines.push(format!(
                "{} {:o} ino={} nlink={} {content:?}",
                entry.name(),
                entry.mode(),
                entry.ino(),
                entry.nlink()
            ));
            rest = reader.finish().expect("the next");
        }
    }

    #[test]
    fn read_back() {
        let mut archive = Archive::new();
        archive
            .file("/etc/systemd/a.conf", 0o644, b"a")
            .expect("a file");
        archive
            .file("etc/systemd/b.conf", 0o600, b"")
            .expect("a file");
        archive
            .file("run//bcvk/./agent", 0o755, b"#!/bin/sh\n")
            .expect("a file");
        archive
            .symlink("/etc/systemd/c", "../x")
            .expect("a symlink");
        let bytes = archive.finish().expect("an archive");
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(
            listing(&bytes),
            [
                r#"etc 40755 ino=1 nlink=2 """#,
                r#"etc/systemd 40755 ino=2 nlink=2 """#,
                r#"etc/systemd/a.conf 100644 ino=3 nlink=1 "a""#,
                r#"etc/systemd/b.conf 100600 ino=4 nlink=1 """#,
                r#"run 40755 ino=5 nlink=2 """#,
                r#"run/bcvk 40755 ino=6 nlink=2 """#,
                r##"run/bcvk/agent 100755 ino=7 nlink=1 "#!/bin/sh\n""##,
                r#"etc/systemd/c 120777 ino=8 nlink=1 "../x""#,
            ]
        );
    }

    #[test]
    fn exact_bytes() {
        let mut archive = Archive::new();
        archive.file("init", 0o755, b"hello").expect("a file");
        let bytes = archive.finish().expect("an archive");
        let expected = concat!(
            "070701",
            "00000001",
            "000081ed",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000005",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000005",
            "00000000",
            "init\0",
            "\0",
            "hello",
            "\0\0\0",
            "070701",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "0000000b",
            "00000000",
            "TRAILER!!!\0",
            "\0\0\0",
        );
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    #[test]
    fn paths_stay_inside() {
        for path in [
            "",
            "/",
            ".",
            "..",
            "a/../b",
            "a\0b",
            "TRAILER!!!",
            "/TRAILER!!!/a",
        ] {
            for result in [
                Archive::new().file(path, 0o644, b""),
                Archive::new().symlink(path, "x"),
            ] {
                assert_eq!(
                    result.map_err(|e| e.kind()),
                    Err(io::ErrorKind::InvalidInput),
                    "{path:?}"
                );
            }
        }
    }

    #[test]
    fn padding_reaches_the_next_multiple_of_four() {
        for length in 0..9_u64 {
            let padded = length + padding(length).len() as u64;
            assert_eq!(padded, length.next_multiple_of(4));
        }
    }
}
