//! Files in a directory that somebody else writes to, who may have put anything in their place.
//!
//! An entry is looked at without opening it, because opening a device or a FIFO has effects, and is
//! opened only if it is what it has to be. A symbolic link is never followed.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::bounded;
use crate::procfs;

/// Opens a regular file of ours for reading.
///
/// # Errors
/// As open(2); [`io::ErrorKind::InvalidData`] for anything else than such a file.
pub fn open(path: &Path) -> io::Result<File> {
    let (found, metadata) = look(path)?;
    if !metadata.is_file() {
        return Err(unexpected());
    }
    Ok(procfs::reopen(&found, OFlags::RDONLY | OFlags::NONBLOCK)?.into())
}

/// Reads a regular file of ours of at most `most` bytes.
///
/// # Errors
/// As [`open`] and read(2); [`io::ErrorKind::InvalidData`] for a larger file.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    bounded::read(open(path)?, most)?.ok_or_else(unexpected)
}

/// Looks at a regular file of ours.
///
/// # Errors
/// As [`open`].
pub fn metadata(path: &Path) -> io::Result<Metadata> {
    let (_, metadata) = look(path)?;
    if metadata.is_file() {
        Ok(metadata)
    } else {
        Err(unexpected())
    }
}

/// Opens the reading end of a FIFO of ours, without waiting for a writer.
///
/// # Errors
/// As open(2); [`io::ErrorKind::InvalidData`] for anything else than a FIFO.
pub fn open_fifo(path: &Path) -> io::Result<File> {
    let (found, metadata) = look(path)?;
    if !metadata.file_type().is_fifo() {
        return Err(unexpected());
    }
    Ok(procfs::reopen(&found, OFlags::RDONLY | OFlags::NONBLOCK)?.into())
}

/// Connects to a socket of ours, without waiting for one that does not accept.
///
/// # Errors
/// As connect(2); [`io::ErrorKind::InvalidData`] for anything else than a socket.
pub fn connect_to(path: &Path) -> io::Result<UnixStream> {
    let (found, metadata) = look(path)?;
    if !metadata.file_type().is_socket() {
        return Err(unexpected());
    }
    // The descriptor's own path: the socket that was looked at, whatever is at `path` by now.
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &address)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Finds what is at `path`, without opening it, if it belongs to this process's user.
fn look(path: &Path) -> io::Result<(OwnedFd, Metadata)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = File::from(openat(CWD, path, flags, Mode::empty())?);
    let metadata = found.metadata()?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(unexpected());
    }
    Ok((found.into(), metadata))
}

fn unexpected() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test makes the files")]
mod tests {
    use std::fs;
    use std::io::{Read, Write};
    use std::os::unix::fs::{chown, symlink};
    use std::os::unix::net::UnixListener;

    use rustix::fs::{FileType, mknodat};

    use super::*;

    #[test]
    fn only_small_regular_files_are_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "1234").expect("write");
        symlink("file", at("link")).expect("link");
        symlink("/dev/zero", at("endless")).expect("link");
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
        let _socket = UnixListener::bind(at("socket")).expect("a socket");
        assert_eq!(read(&at("file"), 4).expect("read"), b"1234");
        for (name, most) in [
            ("file", 3),
            ("link", 9),
            ("endless", 9),
            ("fifo", 9),
            ("socket", 9),
            (".", 9),
        ] {
            assert!(read(&at(name), most).is_err(), "{name}");
        }
        let missing = read(&at("missing"), 9).expect_err("missing");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn files_of_others_are_not_read() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        fs::write(&path, "1234").expect("write");
        chown(&path, Some(4711), None).expect("chown");
        assert!(read(&path, 9).is_err());
        assert!(metadata(&path).is_err());
    }

    #[test]
    fn a_fifo_is_opened_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
        fs::write(at("file"), "").expect("write");
        let mut fifo = open_fifo(&at("fifo")).expect("open");
        let mut writer = File::options()
            .write(true)
            .open(at("fifo"))
            .expect("a reader is there");
        writer.write_all(b"said").expect("write");
        drop(writer);
        let mut said = String::new();
        fifo.read_to_string(&mut said).expect("read");
        assert_eq!(said, "said");
        assert!(open_fifo(&at("file")).is_err());
    }

    #[test]
    fn a_connection_goes_to_the_socket_itself_and_does_not_wait() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let listener = UnixListener::bind(at("socket")).expect("bind");
        symlink("socket", at("link")).expect("link");
        fs::write(at("file"), "").expect("write");
        connect_to(&at("socket")).expect("connect");
        listener.accept().expect("accept");
        for name in ["link", "file"] {
            assert!(connect_to(&at(name)).is_err(), "{name}");
        }
        // The queue of one that never accepts is full at some point.
        let mut waiting = Vec::new();
        let refused = (0..100_000).find_map(|_| match connect_to(&at("socket")) {
            Ok(stream) => {
                waiting.push(stream);
                None
            }
            Err(error) => Some(error),
        });
        assert!(refused.is_some());
    }
}
