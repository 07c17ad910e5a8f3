//! The boot configuration that an initramfs may end in: kernel arguments in a file
//! (Linux `Documentation/admin-guide/bootconfig.rst`).
//!
//! ```text
//! [initramfs][boot configuration][size, le32][checksum, le32][#BOOTCONFIG\n]
//! ```

const MAGIC: &[u8; 12] = b"#BOOTCONFIG\n";

/// Bytes of the size and the checksum.
const NUMBERS: usize = 8;

/// Boot loaders pad an initramfs to a multiple of four; the kernel looks for the magic before that.
const PADDING: usize = 3;

/// Number of bytes at an initramfs's end that [`length`] needs.
pub(crate) const END: usize = NUMBERS + MAGIC.len() + PADDING;

/// Returns the length of the boot configuration in an initramfs of `total` bytes, by its last [`END`]
/// bytes (fewer if it has no more). The kernel finds the configuration only if it stays the very
/// last.
#[must_use]
pub(crate) fn length(end: &[u8], total: u64) -> u64 {
    let Some((numbers, padding)) = (0..=PADDING).find_map(|padding| {
        let numbers = end.get(..end.len().checked_sub(padding)?)?;
        Some((numbers.strip_suffix(MAGIC)?, padding))
    }) else {
        return 0;
    };
    let Some([a, b, c, d, ..]) = numbers.last_chunk::<NUMBERS>() else {
        return 0;
    };
    let size = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
    let length = size + (NUMBERS + MAGIC.len() + padding) as u64;
    // The kernel does not believe a larger size either.
    if length <= total { length } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_at_the_end_and_nowhere_else() {
        let trailer = |size: u32| {
            let mut bytes = size.to_le_bytes().to_vec();
            bytes.extend(0x1234_u32.to_le_bytes());
            bytes.extend(MAGIC);
            bytes
        };
        let initramfs = |config: &[u8], size: u32, after: &[u8]| {
            let mut bytes = vec![7; 100];
            bytes.extend(config);
            bytes.extend(trailer(size));
            bytes.extend(after);
            bytes
        };
        for (name, bytes, expected) in [
            ("no configuration", vec![7; 100], 0),
            ("an empty initramfs", vec![], 0),
            ("only the magic", MAGIC.to_vec(), 0),
            ("at the end", initramfs(b"a = 1\n\0\0", 8, b""), 28),
            ("padded", initramfs(b"a = 1\n\0\0", 8, &[0; 3]), 31),
            ("behind it", initramfs(b"a = 1\n\0\0", 8, &[0; 4]), 0),
            ("empty", initramfs(b"", 0, b""), 20),
            ("longer than all", initramfs(b"", 101, b""), 0),
        ] {
            let end = &bytes[bytes.len().saturating_sub(END)..];
            assert_eq!(length(end, bytes.len() as u64), expected, "{name}");
        }
    }
}
