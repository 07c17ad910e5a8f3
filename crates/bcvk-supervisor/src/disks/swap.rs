//! Format of a guest's swap device.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Page size of the guest's kernel. (64 KiB kernels for aarch64 exist, and refuse such a device.)
const PAGE: usize = 4096;

/// Makes a file of this size a swap area.
pub(super) fn format(file: &File, bytes: u64) -> io::Result<()> {
    file.write_all_at(&header(bytes), 0)
}

/// Returns the first page of a swap area, as mkswap(8) writes it (Linux, include/linux/swap.h, `union
/// swap_header`): version, number of the last page and no bad pages at byte 1024, and ten characters
/// at the end.
fn header(bytes: u64) -> [u8; PAGE] {
    let pages = u32::try_from(bytes / PAGE as u64).unwrap_or(u32::MAX);
    let mut page = [0; PAGE];
    page[1024..1028].copy_from_slice(&1_u32.to_le_bytes());
    page[1028..1032].copy_from_slice(&pages.saturating_sub(1).to_le_bytes());
    page[PAGE - 10..].copy_from_slice(b"SWAPSPACE2");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_as_mkswap_writes_it() {
        let page = header(64 << 20);
        assert_eq!(page[1024..1032], [1, 0, 0, 0, 0xff, 0x3f, 0, 0]);
        assert_eq!(&page[4086..], b"SWAPSPACE2");
    }
}
