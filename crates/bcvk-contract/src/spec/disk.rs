//! Disk images of the host that the guest sees as block devices.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name::is_name_byte;
use super::{CONTAINER_DISKS, SpecError, VAR_NAME};
use crate::choice;

/// Longest serial number of a virtio block device (virtio 1.2, 5.2.6.1: `VIRTIO_BLK_T_GET_ID`
/// returns 20 bytes).
const MAX_NAME_BYTES: usize = 20;

/// Greatest number of disks of a VM, not counting its swap device and that of its `/var`: QEMU gives each a PCI function of
/// two slots.
const MAX_DISKS: usize = 15;

/// The name of a disk that was given none, as the existing bcvk has it.
const DEFAULT_NAME: &str = "output";

/// Name of the device that `--add-swap` makes.
pub const SWAP_NAME: &str = "bcvk-swap";

/// How a disk's content is laid out in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// Byte for byte.
    Raw,
    /// QEMU's copy-on-write format (QEMU, docs/interop/qcow2.txt).
    Qcow2,
}

choice!(DiskFormat, "a disk format", { Raw: "raw", Qcow2: "qcow2" });

/// A disk as the user asks for it: `FILE`, `FILE:NAME` or `FILE:NAME:FORMAT`.
///
/// FILE may contain anything, colons included: what follows its last colons counts only if it
/// looks like a NAME (`[A-Za-z0-9_.-]`, at most 20) or a NAME and a FORMAT (`raw`, `qcow2`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskRequest {
    /// The file on the host, as given.
    pub file: PathBuf,
    /// The device's serial number: the guest finds it at `/dev/disk/by-id/virtio-NAME`.
    pub name: String,
    /// The format, if the user named one.
    pub format: Option<DiskFormat>,
}

impl DiskRequest {
    /// Returns the format that the user named, or that which the file's name tells: `.qcow2` is
    /// qcow2, everything else raw.
    #[must_use]
    pub fn format(&self) -> DiskFormat {
        self.format.unwrap_or_else(|| {
            let qcow2 = self.file.extension().is_some_and(|e| e == "qcow2");
            if qcow2 {
                DiskFormat::Qcow2
            } else {
                DiskFormat::Raw
            }
        })
    }
}

impl FromStr for DiskRequest {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        let (file, name, format) = split(value)?;
        if file.is_empty() || file.contains('\0') {
            return Err(SpecError::DiskFileEmpty {
                value: value.to_owned(),
            });
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(SpecError::DiskName {
                name: name.to_owned(),
                most: MAX_NAME_BYTES,
            });
        }
        if [SWAP_NAME, VAR_NAME].contains(&name) {
            return Err(SpecError::DiskNameTaken {
                name: name.to_owned(),
            });
        }
        Ok(Self {
            file: PathBuf::from(file),
            name: name.to_owned(),
            format,
        })
    }
}

fn split(value: &str) -> Result<(&str, &str, Option<DiskFormat>), SpecError> {
    let Some((rest, last)) = value.rsplit_once(':').filter(|(_, last)| is_name(last)) else {
        return Ok((value, DEFAULT_NAME, None));
    };
    match rest.rsplit_once(':') {
        Some((file, name)) if is_name(name) => match last.parse() {
            Ok(format) => Ok((file, name, Some(format))),
            Err(_) => Err(SpecError::DiskFormat {
                value: value.to_owned(),
                format: last.to_owned(),
            }),
        },
        _ => Ok((rest, last, None)),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(is_name_byte)
}

/// A disk of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The file on the host.
    pub host: PathBuf,
    /// The device's serial number.
    pub name: String,
    /// How the file is to be read.
    pub format: DiskFormat,
}

/// Returns the path of the disk with this serial number in the guest: a link that udev makes.
#[must_use]
pub fn guest_disk(serial: &str) -> PathBuf {
    Path::new("/dev/disk/by-id").join(format!("virtio-{serial}"))
}

impl Disk {
    /// Returns the path of the file in the container.
    #[must_use]
    pub fn container_path(&self) -> PathBuf {
        Path::new(CONTAINER_DISKS).join(&self.name)
    }
}

/// Checks that every disk has a name of its own, and that there are not too many.
///
/// # Errors
/// [`SpecError::DiskClash`] or [`SpecError::TooManyDisks`].
pub fn check_disks(disks: &[Disk]) -> Result<(), SpecError> {
    if disks.len() > MAX_DISKS {
        return Err(SpecError::TooManyDisks {
            given: disks.len(),
            most: MAX_DISKS,
        });
    }
    for (i, disk) in disks.iter().enumerate() {
        if let Some(other) = disks[..i].iter().find(|other| other.name == disk.name) {
            return Err(SpecError::DiskClash {
                first: other.host.clone(),
                second: disk.host.clone(),
                name: disk.name.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        for (value, file, name, format) in [
            ("a.img", "a.img", "output", DiskFormat::Raw),
            ("/srv/a.qcow2", "/srv/a.qcow2", "output", DiskFormat::Qcow2),
            ("a.qcow2:data", "a.qcow2", "data", DiskFormat::Qcow2),
            ("a.qcow2:data:raw", "a.qcow2", "data", DiskFormat::Raw),
            ("a.img:data:qcow2", "a.img", "data", DiskFormat::Qcow2),
            ("a:b.img:data:raw", "a:b.img", "data", DiskFormat::Raw),
            ("/a:b/c.img", "/a:b/c.img", "output", DiskFormat::Raw),
            ("a b,c.img:x", "a b,c.img", "x", DiskFormat::Raw),
            ("a.img:raw", "a.img", "raw", DiskFormat::Raw),
            ("a:..", "a:..", "output", DiskFormat::Raw),
        ] {
            let disk: DiskRequest = value.parse().expect(value);
            assert_eq!(disk.file, Path::new(file), "{value}");
            assert_eq!(disk.name, name, "{value}");
            assert_eq!(disk.format(), format, "{value}");
        }
    }

    #[test]
    fn refused() {
        for (value, reason) in [
            ("", "names no file"),
            (":data", "names no file"),
            ("a.img:data:vmdk", "'vmdk' in 'a.img:data:vmdk'"),
            ("a.img:a-name-of-21-letters-", "at most 20 characters"),
            ("a.img:bcvk-swap", "bcvk's own"),
            ("a.img:bcvk-var", "bcvk's own"),
        ] {
            let error = value.parse::<DiskRequest>().expect_err(value).to_string();
            assert!(error.contains(reason), "{value}: {error}");
        }
    }

    #[test]
    fn names_are_unique() {
        let disk = |host: &str, name: &str| Disk {
            host: host.into(),
            name: name.into(),
            format: DiskFormat::Raw,
        };
        assert_eq!(check_disks(&[disk("/a", "a"), disk("/b", "b")]), Ok(()));
        let clash = check_disks(&[disk("/a", "output"), disk("/b", "output")]);
        assert!(matches!(clash, Err(SpecError::DiskClash { .. })));
        let many: Vec<Disk> = (0..=MAX_DISKS)
            .map(|i| disk("/a", &i.to_string()))
            .collect();
        assert!(matches!(
            check_disks(&many),
            Err(SpecError::TooManyDisks { .. })
        ));
    }
}
