//! Decompression of the image's initramfs, which takes an emulated processor many times as long as
//! the host's.

use std::borrow::Cow;
use std::io;

use super::compression::Compression;
use super::cpio::{TRAILER, padding};

/// Beginnings of an initramfs whose first archive is not compressed: "newc", without and with
/// checksums.
const CPIO: [&[u8]; 2] = [b"070701", b"070702"];

/// Returns the archives of `image` (a sequence of cpio archives, compressed or not, as the kernel
/// unpacks them) without compression, if together they have at most `most` bytes. Returns `image` as
/// it is if it has more, or has anything else in it; the kernel then deals with that.
#[must_use]
pub(crate) fn unpack(image: &[u8], most: u64) -> Cow<'_, [u8]> {
    match archives(image, most) {
        Ok(Some(unpacked)) => Cow::Owned(unpacked),
        Ok(None) => Cow::Borrowed(image),
        Err(error) => {
            tracing::debug!(%error, "the initramfs is left to the kernel");
            Cow::Borrowed(image)
        }
    }
}

/// Returns the archives without compression; `None` if nothing is compressed.
fn archives(image: &[u8], most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut unpacked = Vec::new();
    let mut any = false;
    let mut rest = image;
    loop {
        // Between archives there may be any number of zeros.
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        rest = &rest[zeros..];
        if rest.is_empty() {
            break;
        }
        unpacked.extend_from_slice(padding(unpacked.len() as u64));
        if CPIO.iter().any(|magic| rest.starts_with(magic)) {
            let (archive, behind) = rest.split_at(archive_length(rest)?);
            unpacked.extend_from_slice(archive);
            rest = behind;
        } else {
            let method = Compression::of(rest)
                .ok_or_else(|| io::Error::other("neither an archive nor compressed as is known"))?;
            let room = most.saturating_sub(unpacked.len() as u64);
            unpacked.append(&mut method.undo(&mut rest, room)?);
            any = true;
        }
    }
    Ok(any.then_some(unpacked))
}

/// Returns the length of the archive at the start of `bytes`, which its headers tell (`cpio(5)`, "New
/// ASCII Format"). Names and contents are not copied: the size that they claim may be anything.
fn archive_length(bytes: &[u8]) -> io::Result<usize> {
    let mut at = 0;
    loop {
        let entry = bytes.get(at..).and_then(Entry::parse);
        let entry = entry.ok_or(io::ErrorKind::UnexpectedEof)?;
        at += entry.length;
        if entry.name == TRAILER.as_bytes() {
            return Ok(at);
        }
    }
}

struct Entry<'a> {
    name: &'a [u8],
    /// Length of header, name and content with their padding.
    length: usize,
}

impl<'a> Entry<'a> {
    const HEADER: usize = 110;

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let field = |at: usize| {
            let digits = std::str::from_utf8(bytes.get(at..at + 8)?).ok()?;
            usize::try_from(u32::from_str_radix(digits, 16).ok()?).ok()
        };
        if !CPIO.iter().any(|magic| bytes.starts_with(magic)) {
            return None;
        }
        let (content, name) = (field(54)?, field(94)?);
        let name_end = Self::HEADER.checked_add(name)?;
        let length = name_end
            .checked_next_multiple_of(4)?
            .checked_add(content.checked_next_multiple_of(4)?)?;
        bytes.get(..length)?;
        Some(Self {
            // The name ends with a NUL.
            name: bytes[Self::HEADER..name_end].strip_suffix(&[0])?,
            length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::compression::tests::{gzip, zstd};
    use crate::boot::cpio::Archive;

    const MANY: u64 = 1 << 20;

    fn cpio(path: &str) -> Vec<u8> {
        let mut archive = Archive::new();
        archive.file(path, 0o644, b"content").expect("added");
        archive.finish().expect("an archive")
    }

    #[test]
    fn every_archive_is_unpacked_at_its_place() {
        let (first, second, third) = (cpio("microcode"), cpio("init"), cpio("more"));
        // dracut builds an initramfs like this: the archive for the processor, zeros to the end of a
        // page, and then the rest.
        let mut image = first.clone();
        image.resize(4096, 0);
        image.extend(zstd(&second));
        image.extend([0; 3]);
        image.extend(gzip(&third));
        assert_eq!(
            unpack(&image, MANY),
            [first, second, third].concat(),
            "their lengths are multiples of four"
        );
    }

    #[test]
    fn an_archive_begins_at_a_multiple_of_four() {
        let archive = cpio("init");
        let image = [gzip(&archive[..archive.len() - 1]), gzip(&archive)].concat();
        let unpacked = unpack(&image, MANY);
        assert_eq!(unpacked, [archive.as_slice(), &archive].concat());
    }

    #[test]
    fn what_is_not_known_is_left_to_the_kernel() {
        let packed = gzip(&cpio("init"));
        for (what, image, most) in [
            ("nothing", Vec::new(), MANY),
            ("zeros", vec![0; 8], MANY),
            ("an archive", cpio("init"), MANY),
            ("another compression", b"BZh9".to_vec(), MANY),
            ("too much", packed.clone(), 100),
            ("a damaged one", packed[..packed.len() / 2].to_vec(), MANY),
            (
                "something behind it",
                [packed.as_slice(), b"behind"].concat(),
                MANY,
            ),
            ("half an archive", cpio("init")[..100].to_vec(), MANY),
        ] {
            assert!(
                matches!(unpack(&image, most), Cow::Borrowed(b) if b == image),
                "{what}"
            );
        }
    }
}
