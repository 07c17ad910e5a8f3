//! Disk images: checked before anything is started, made where they are missing.

#![allow(clippy::disallowed_methods, reason = "opens disks of the user's")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bcvk_contract::spec::{Disk, DiskFormat, DiskRequest};

use crate::checks::tools::{Tool, find_tool};
use crate::podman::stderr_of;
use crate::{FileError, HostError};

/// Smallest size of a disk that is made here: 4 GiB, as with the existing bcvk.
const MIN_NEW_BYTES: u64 = 4 << 30;

/// First bytes of a qcow2 file (QEMU, docs/interop/qcow2.txt).
const QCOW2_MAGIC: [u8; 4] = *b"QFI\xfb";
/// Number of bytes of a qcow2 header that are read.
const QCOW2_HEADER: usize = 80;
/// Bit of `incompatible_features` that says that the data is in another file.
const QCOW2_EXTERNAL_DATA: u64 = 1 << 2;

/// A disk image that has to be made before the VM starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDisk {
    /// Path of the file.
    pub path: PathBuf,
    /// Format of the file.
    pub format: DiskFormat,
    /// Capacity in bytes; the file takes up next to nothing at first.
    pub bytes: u64,
}

/// A disk that can be used, and what has to be done before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedDisk {
    /// The disk as the VM gets it.
    pub disk: Disk,
    /// Description of the file to make, if it does not exist yet.
    pub new: Option<NewDisk>,
}

/// Checks whether `request` can be a disk. `cwd` is the directory that a relative path starts from; a
/// new disk has at least twice the capacity `image_bytes`, the size of the VM's image.
///
/// # Errors
/// [`HostError`] if the file is not a regular one, cannot be written, or is not of its format.
pub fn resolve_disk(
    request: &DiskRequest,
    cwd: &Path,
    image_bytes: u64,
) -> Result<ResolvedDisk, HostError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| FileError::Disk { path, source }
    };
    let path = cwd.join(&request.file);
    let format = request.format();
    let disk = |host: PathBuf| Disk {
        host,
        name: request.name.clone(),
        format,
    };
    let metadata = match fs::metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return new_disk(&path, format, image_bytes)
                .map_err(unusable(&request.file))?
                .map(|new| ResolvedDisk {
                    disk: disk(new.path.clone()),
                    new: Some(new),
                });
        }
        other => other.map_err(unusable(&request.file))?,
    };
    if !metadata.is_file() {
        return Err(FileError::DiskNotRegular(request.file.clone()).into());
    }
    let host = fs::canonicalize(&path).map_err(unusable(&request.file))?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&host)
        .map_err(unusable(&request.file))?;
    check_content(&file, request)?;
    Ok(ResolvedDisk {
        disk: disk(host),
        new: None,
    })
}

/// Plans a file that does not exist yet. Its directory has to exist.
fn new_disk(
    path: &Path,
    format: DiskFormat,
    image_bytes: u64,
) -> io::Result<Result<NewDisk, HostError>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    if fs::symlink_metadata(path).is_ok() {
        // The path is a symlink that leads nowhere. To make the file that it points to would be a
        // surprise.
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "it is a symlink to a file that does not exist",
        ));
    }
    if format == DiskFormat::Qcow2
        && let Err(missing) = find_tool(Tool::QemuImg)
    {
        return Ok(Err(missing));
    }
    Ok(Ok(NewDisk {
        path: fs::canonicalize(parent)?.join(name),
        format,
        bytes: MIN_NEW_BYTES.max(image_bytes.saturating_mul(2)),
    }))
}

/// Checks that a file is not obviously something else than was said. A guest writes what it likes
/// into a raw disk, so a file's content never decides how the file is read; but an obvious difference
/// is a mistake.
fn check_content(file: &File, request: &DiskRequest) -> Result<(), FileError> {
    let mut header = Vec::new();
    file.take(QCOW2_HEADER as u64)
        .read_to_end(&mut header)
        .map_err(|source| FileError::Disk {
            path: request.file.clone(),
            source,
        })?;
    let is_qcow2 = header.starts_with(&QCOW2_MAGIC);
    match request.format() {
        DiskFormat::Raw if is_qcow2 && request.format.is_none() => Err(FileError::DiskLooksQcow2 {
            file: request.file.clone(),
            name: request.name.clone(),
        }),
        DiskFormat::Qcow2 if !is_qcow2 => Err(FileError::DiskNotQcow2(request.file.clone())),
        DiskFormat::Qcow2 if refers_elsewhere(&header) => {
            Err(FileError::DiskHasBacking(request.file.clone()))
        }
        DiskFormat::Raw | DiskFormat::Qcow2 => Ok(()),
    }
}

/// Returns true if a qcow2 header names a second file, which the VM's container would not see: the
/// header has a `backing_file_offset` or the external data bit of version 3.
fn refers_elsewhere(header: &[u8]) -> bool {
    let number = |at: usize| {
        let bytes = header.get(at..at + 8).and_then(|b| b.try_into().ok());
        bytes.map_or(0, u64::from_be_bytes)
    };
    let version_3 = header.get(4..8) == Some(&[0, 0, 0, 3]);
    number(8) != 0 || (version_3 && number(72) & QCOW2_EXTERNAL_DATA != 0)
}

/// Makes the file, readable and writable for its owner alone.
pub(crate) fn make_disk(new: &NewDisk) -> Result<(), HostError> {
    let failed = |source| FileError::Disk {
        path: new.path.clone(),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new.path)
        .map_err(failed)?;
    match new.format {
        DiskFormat::Raw => file.set_len(new.bytes).map_err(failed)?,
        DiskFormat::Qcow2 => {
            let output = Command::new(find_tool(Tool::QemuImg)?)
                .args(["create", "-q", "-f", "qcow2", "--"])
                .arg(&new.path)
                .arg(new.bytes.to_string())
                .stdin(Stdio::null())
                .output()
                .map_err(failed)?;
            if !output.status.success() {
                return Err(failed(io::Error::other(stderr_of(&output))).into());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qcow2(version: u32, backing: u64, features: u64) -> Vec<u8> {
        let mut header = vec![0; 104];
        header[..4].copy_from_slice(&QCOW2_MAGIC);
        header[4..8].copy_from_slice(&version.to_be_bytes());
        header[8..16].copy_from_slice(&backing.to_be_bytes());
        header[72..80].copy_from_slice(&features.to_be_bytes());
        header
    }

    #[test]
    fn what_a_file_is_must_be_what_was_said() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let check = |content: &[u8], request: &str| {
            fs::write(dir.path().join("disk"), content).expect("write");
            let request: DiskRequest = request.parse().expect("a request");
            resolve_disk(&request, dir.path(), 0).map(|resolved| resolved.disk.format)
        };
        assert_eq!(check(b"", "disk").ok(), Some(DiskFormat::Raw));
        let plain = qcow2(3, 0, 0);
        let looks = check(&plain, "disk");
        assert!(matches!(
            looks,
            Err(HostError::File(FileError::DiskLooksQcow2 { .. }))
        ));
        assert_eq!(check(&plain, "disk:a:raw").ok(), Some(DiskFormat::Raw));
        assert_eq!(check(&plain, "disk:a:qcow2").ok(), Some(DiskFormat::Qcow2));
        let short = check(b"QF", "disk:a:qcow2");
        assert!(matches!(
            short,
            Err(HostError::File(FileError::DiskNotQcow2(_)))
        ));
        for other in [qcow2(2, 512, 0), qcow2(3, 0, QCOW2_EXTERNAL_DATA)] {
            let refused = check(&other, "disk:a:qcow2");
            assert!(matches!(
                refused,
                Err(HostError::File(FileError::DiskHasBacking(_)))
            ));
        }
        // Version 2 has no features: it has other fields where version 3 has them.
        assert!(check(&qcow2(2, 0, u64::MAX), "disk:a:qcow2").is_ok());
    }

    #[test]
    fn only_regular_files_are_disks() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let resolve =
            |file: &str| resolve_disk(&file.parse().expect("a request"), dir.path(), 5 << 30);
        for special in [".", "/dev/null"] {
            assert!(matches!(
                resolve(special),
                Err(HostError::File(FileError::DiskNotRegular(_)))
            ));
        }
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).expect("symlink");
        assert!(matches!(
            resolve("link"),
            Err(HostError::File(FileError::Disk { .. }))
        ));
        assert!(matches!(
            resolve("no/disk"),
            Err(HostError::File(FileError::Disk { .. }))
        ));
        let new = resolve("new.img").expect("a disk").new.expect("a new one");
        assert_eq!(new.bytes, 10 << 30);
        make_disk(&new).expect("make");
        let made = fs::metadata(dir.path().join("new.img")).expect("metadata");
        assert_eq!(made.len(), 10 << 30);
        assert_eq!(std::os::unix::fs::MetadataExt::blocks(&made), 0);
    }
}
