//! Answers of an image to the questions of a guest.

use std::collections::BTreeSet;
use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use bcvk_contract::missing::if_exists;
use bcvk_contract::spec::Sha256Digest;
use rustix::fs::{CWD, OFlags, lgetxattr, llistxattr, readlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes of a file that are read at once.
const BUFFER: usize = 256 << 10;

/// Limit for the size of an extended attribute, and of the list of their names (xattr(7)).
const MAX_XATTR: usize = 64 << 10;

/// All that was asked about a file, besides its attributes.
#[derive(Debug, Clone, Default)]
pub(super) struct Questions {
    /// Set if its content, its target or the names in it were read.
    pub(super) content: bool,
    pub(super) xattrs: BTreeSet<String>,
    /// Set if the names of its extended attributes were listed.
    pub(super) xattr_names: bool,
}

/// A file as a guest has found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Found {
    pub(super) attributes: Attributes,
    /// Digest of the content of a file, of the target of a link, or of the names in a directory, if
    /// the guest has read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<Sha256Digest>,
    /// Digests of the extended attributes that were asked for; `None` for one that the file has not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) xattrs: Vec<(String, Option<Sha256Digest>)>,
    /// Digest of the names of all extended attributes, if they were listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) xattr_names: Option<Sha256Digest>,
}

/// Attributes of a file (stat(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attributes {
    /// Type and permissions.
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    /// Bytes.
    pub(super) size: u64,
    pub(super) links: u64,
    /// Number of the device that it is, if it is one.
    pub(super) device: u64,
    pub(super) modified: Time,
    /// Number of the file in its file system.
    pub(super) inode: u64,
    /// Last change of anything about the file. Nobody can set it.
    pub(super) changed: Time,
}

/// Seconds since the Unix epoch, and nanoseconds.
pub(super) type Time = (i64, i64);

impl Attributes {
    fn of(found: &Metadata) -> Self {
        Self {
            mode: found.mode(),
            owner: (found.uid(), found.gid()),
            size: found.size(),
            links: found.nlink(),
            device: found.rdev(),
            modified: (found.mtime(), found.mtime_nsec()),
            inode: found.ino(),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    pub(super) fn is_dir(&self) -> bool {
        rustix::fs::FileType::from_raw_mode(self.mode) == rustix::fs::FileType::Directory
    }
}

impl Found {
    pub(super) fn is_dir(&self) -> bool {
        self.attributes.is_dir()
    }

    /// The questions that this answers.
    pub(super) fn questions(&self) -> Questions {
        Questions {
            content: self.content.is_some(),
            xattrs: self.xattrs.iter().map(|(name, _)| name.clone()).collect(),
            xattr_names: self.xattr_names.is_some(),
        }
    }
}

/// Returns the attributes of the file at `path` below `root`, or `None` if there is none. Nothing of
/// the path before its last name may be a link.
pub(super) fn attributes(root: &Path, path: &Path) -> io::Result<Option<Attributes>> {
    let found = if_exists(fs::symlink_metadata(root.join(path)))?;
    Ok(found.as_ref().map(Attributes::of))
}

/// Answers `questions` about the file at `path` below `root`; `None` if there is no such file.
pub(super) fn find(root: &Path, path: &Path, questions: &Questions) -> io::Result<Option<Found>> {
    let at = root.join(path);
    let Some(found) = if_exists(fs::symlink_metadata(&at))? else {
        return Ok(None);
    };
    let content = questions.content.then(|| content(&at, found.file_type()));
    let xattrs = questions.xattrs.iter().map(|name| {
        let value = xattr(&at, name)?;
        Ok((name.clone(), value))
    });
    Ok(Some(Found {
        attributes: Attributes::of(&found),
        content: content.transpose()?,
        xattrs: xattrs.collect::<io::Result<_>>()?,
        xattr_names: questions
            .xattr_names
            .then(|| xattr_names(&at))
            .transpose()?,
    }))
}

fn content(path: &Path, kind: FileType) -> io::Result<Sha256Digest> {
    if kind.is_dir() {
        names(path)
    } else if kind.is_symlink() {
        let target = readlinkat(CWD, path, Vec::new())?;
        Ok(digest(target.as_bytes()))
    } else if kind.is_file() {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::options()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)?;
        text(file)
    } else {
        // The guest has made a device of its own of it, or a pipe.
        Ok(digest(&[]))
    }
}

fn text(mut file: File) -> io::Result<Sha256Digest> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256Digest(digest.finalize().into())),
            read => digest.update(&buffer[..read]),
        }
    }
}

/// Returns the digest of the names and types in a directory, in no order.
fn names(path: &Path) -> io::Result<Sha256Digest> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let kind = match () {
            () if kind.is_dir() => b'd',
            () if kind.is_symlink() => b'l',
            () if kind.is_file() => b'f',
            () if kind.is_fifo() => b'p',
            () if kind.is_socket() => b's',
            () if kind.is_block_device() => b'b',
            () => b'c',
        };
        let mut name = entry.file_name().into_vec();
        name.extend([0, kind]);
        names.push(name);
    }
    names.sort_unstable();
    Ok(digest(&names.concat()))
}

fn xattr(path: &Path, name: &str) -> io::Result<Option<Sha256Digest>> {
    let mut value = vec![0; MAX_XATTR];
    match lgetxattr(path, name, &mut value[..]) {
        Ok(length) => Ok(Some(digest(&value[..length]))),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn xattr_names(path: &Path) -> io::Result<Sha256Digest> {
    let mut list = vec![0_u8; MAX_XATTR];
    let length = match llistxattr(path, &mut list[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let mut names: Vec<_> = list[..length].split(|byte| *byte == 0).collect();
    names.sort_unstable();
    Ok(digest(&names.join(&0)))
}

fn digest(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest(Sha256::digest(bytes).into())
}
