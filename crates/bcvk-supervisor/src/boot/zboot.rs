//! EFI zboot images, which most distributions have as their arm64 kernel.
//!
//! They unpack themselves when firmware starts them. A VM has no firmware, and before version 11 QEMU
//! unpacks only those that are compressed with gzip (QEMU, hw/core/loader.c:
//! `unpack_efi_zboot_image`), so bcvk unpacks them. The header is that of Linux,
//! drivers/firmware/efi/libstub/zboot-header.S.

use std::io;

use thiserror::Error;

use super::compression::Compression;

/// Number of bytes at the start of a file that tell whether it is such an image.
pub(crate) const HEADER: usize = 0x38;

/// Offsets of the header's fields, and the range of the compression's name, up to the end of the
/// header.
mod offset {
    pub(super) const PAYLOAD: usize = 8;
    pub(super) const SIZE: usize = 12;
    pub(super) const COMPRESSION: usize = 24;
}

/// Limit for the size of an unpacked kernel, as in QEMU (`LOAD_IMAGE_MAX_GUNZIP_BYTES`). A damaged or
/// hostile one must not fill the host's memory.
const MAX_KERNEL_BYTES: u64 = 256 << 20;

/// Reason why the kernel in an image cannot be unpacked.
#[derive(Debug, Error)]
pub(crate) enum ZbootError {
    /// The file was cut short.
    #[error("the EFI zboot image is incomplete: its kernel goes beyond its end")]
    Incomplete,
    /// The kernel is compressed with a method that bcvk does not know.
    #[error(
        "the kernel in the EFI zboot image is compressed with {0}; a VM can boot it uncompressed, or compressed with gzip or zstd"
    )]
    Compression(String),
    /// The content is not what the method makes, or far larger than a kernel.
    #[error("the kernel in the EFI zboot image cannot be unpacked: {0}")]
    Damaged(io::Error),
}

/// Returns true if a file that starts with `start` is a zboot image.
#[must_use]
pub(crate) fn is_zboot(start: &[u8]) -> bool {
    start.len() >= HEADER && start.starts_with(b"MZ") && start[4..8] == *b"zimg"
}

/// Returns the kernel in the zboot image `file`: an image as QEMU boots it.
///
/// # Errors
/// See [`ZbootError`].
pub(crate) fn unpack(file: &[u8]) -> Result<Vec<u8>, ZbootError> {
    let mut payload = payload(file).ok_or(ZbootError::Incomplete)?;
    let name = &file[offset::COMPRESSION..HEADER];
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let method = match name {
        b"gzip" => Compression::Gzip,
        // Kernels from before the name was tidied up add the level (Makefile.zboot).
        b"zstd" | b"zstd22" => Compression::Zstd,
        other => {
            let name = String::from_utf8_lossy(other).into_owned();
            return Err(ZbootError::Compression(name));
        }
    };
    method
        .undo(&mut payload, MAX_KERNEL_BYTES)
        .map_err(ZbootError::Damaged)
}

/// Returns the compressed kernel.
fn payload(file: &[u8]) -> Option<&[u8]> {
    let field = |at: usize| {
        let bytes = file.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let start = field(offset::PAYLOAD)?;
    let end = start.checked_add(field(offset::SIZE)?)?;
    // The file must have the whole header, too.
    file.get(..HEADER)?;
    file.get(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::compression::tests::{gzip, zstd};

    const KERNEL: &[u8] = b"a kernel, a kernel, a kernel";

    /// Returns an image with `payload`, compressed in the way that `name` says, and something after
    /// it.
    fn image(name: &str, payload: &[u8]) -> Vec<u8> {
        const AT: usize = 0x200;
        let mut file = vec![0; AT];
        file[..8].copy_from_slice(b"MZ\0\0zimg");
        for (offset, value) in [(offset::PAYLOAD, AT), (offset::SIZE, payload.len())] {
            let value = u32::try_from(value).expect("small");
            file[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        }
        let end = offset::COMPRESSION + name.len();
        file[offset::COMPRESSION..end].copy_from_slice(name.as_bytes());
        file.extend(payload);
        // The kernel's build adds the kernel's size, for methods whose format does not have it.
        file.extend(4711_u32.to_le_bytes());
        file
    }

    #[test]
    fn unpacked() {
        for (name, payload) in [
            ("gzip", gzip(KERNEL)),
            ("zstd", zstd(KERNEL)),
            ("zstd22", zstd(KERNEL)),
        ] {
            let file = image(name, &payload);
            assert!(is_zboot(&file[..HEADER]));
            assert_eq!(unpack(&file).expect(name), KERNEL);
        }
    }

    #[test]
    fn other_kernels_are_none() {
        for start in [
            &b""[..],
            b"MZ\0\0zimg",
            &[0x1f; HEADER],
            // These are an arm64 image that is not packed, and a bzImage.
            &[b"MZ\x40\xfa".as_slice(), &[0; HEADER]].concat(),
            &[b"MZ\xea\x07\0\xc0\x07\x8c".as_slice(), &[0; HEADER]].concat(),
        ] {
            assert!(!is_zboot(start), "{start:?}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let cut = |length: usize| image("gzip", &gzip(KERNEL))[..length].to_vec();
        let beyond = {
            let mut file = image("gzip", &gzip(KERNEL));
            file[offset::PAYLOAD..offset::PAYLOAD + 8].copy_from_slice(&[0xff; 8]);
            file
        };
        let incomplete = "the EFI zboot image is incomplete: its kernel goes beyond its end";
        let damaged = "the kernel in the EFI zboot image cannot be unpacked: ";
        for (file, expected) in [
            (cut(10), incomplete),
            (cut(0x210), incomplete),
            (beyond, incomplete),
            (image("gzip", b"no gzip"), damaged),
            (image("zstd22", b"no zstd"), damaged),
            (image("zstd", &zstd(KERNEL)[..20]), damaged),
            (
                image("xzkern", b""),
                "the kernel in the EFI zboot image is compressed with xzkern; a VM can boot it \
                 uncompressed, or compressed with gzip or zstd",
            ),
            (
                image("gzip", &gzip(&vec![0; 257 << 20])),
                "the kernel in the EFI zboot image cannot be unpacked: it has more than 256 MiB",
            ),
        ] {
            let error = unpack(&file).expect_err("an error").to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
