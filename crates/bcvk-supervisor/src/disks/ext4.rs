//! An empty ext4 file system, written without mkfs, which neither every host nor every image has.
//!
//! It is the least that a kernel mounts and e2fsck(8) finds clean (Linux,
//! Documentation/filesystems/ext4): no journal, because nothing of it is read after its VM, and no
//! backups of the superblock. Bitmaps and inode tables of all groups but the first are marked as not
//! yet initialised, so that a terabyte takes a few blocks.

#![allow(
    clippy::cast_possible_truncation,
    reason = "sizes within a block or a group are small"
)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const BLOCK: usize = 4096;
const GROUP_BLOCKS: u32 = 32_768;
const GROUP_INODES: u32 = 8192;
const INODE: usize = 256;

/// Blocks of a group's inode table.
const TABLE_BLOCKS: u32 = GROUP_INODES * INODE as u32 / BLOCK as u32;

/// Blocks of a group's two bitmaps and its inode table.
const GROUP_TABLES: u32 = 2 + TABLE_BLOCKS;

/// Least size of the last group; a shorter rest of the disk is not used.
const LEAST_GROUP: u32 = 1024;

const DESCRIPTOR: usize = 32;
const SUPERBLOCK_AT: u64 = 1024;

/// Inodes of the root and of `lost+found`, before which all are reserved.
const ROOT: u32 = 2;
const LOST_AND_FOUND: u32 = 11;

/// The same for each, because a guest has only one.
const UUID: [u8; 16] = *b"bcvk's /var disk";
const LABEL: &[u8] = b"bcvk-var";

/// Flags of a group: its inodes, its blocks are not initialised; its inode table is zero.
const INODE_UNINIT: u16 = 1;
const BLOCK_UNINIT: u16 = 2;
const INODE_ZEROED: u16 = 4;

/// Makes a file of this size, all of whose bytes are zero, an ext4 file system.
pub(super) fn format(file: &File, bytes: u64) -> io::Result<()> {
    let layout = Layout::new(bytes)?;
    file.write_all_at(&layout.superblock(), SUPERBLOCK_AT)?;
    file.write_all_at(&layout.descriptors(), BLOCK as u64)?;
    let block =
        |block: u32, content: &[u8]| file.write_all_at(content, u64::from(block) * BLOCK as u64);
    block(layout.tables(0), &layout.block_bitmap(0))?;
    if layout.groups > 1 {
        let last = layout.groups - 1;
        block(layout.tables(last), &layout.block_bitmap(last))?;
    }
    block(layout.tables(0) + 1, &inode_bitmap())?;
    block(layout.tables(0) + 2, &layout.inodes())?;
    let root = [(".", ROOT), ("..", ROOT), ("lost+found", LOST_AND_FOUND)];
    block(layout.root(), &directory(&root))?;
    let lost = [(".", LOST_AND_FOUND), ("..", ROOT)];
    block(layout.root() + 1, &directory(&lost))
}

/// Places of everything in the file system.
struct Layout {
    blocks: u32,
    groups: u32,
    /// Blocks of the group descriptors.
    descriptor_blocks: u32,
}

impl Layout {
    fn new(bytes: u64) -> io::Result<Self> {
        let blocks = u32::try_from(bytes / BLOCK as u64)
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let rest = blocks % GROUP_BLOCKS;
        let blocks = if rest < LEAST_GROUP {
            blocks - rest
        } else {
            blocks
        };
        let groups = blocks.div_ceil(GROUP_BLOCKS);
        if groups == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let per_block = (BLOCK / DESCRIPTOR) as u32;
        Ok(Self {
            blocks,
            groups,
            descriptor_blocks: groups.div_ceil(per_block),
        })
    }

    /// Returns the number of blocks in a group.
    fn size(&self, group: u32) -> u32 {
        (self.blocks - group * GROUP_BLOCKS).min(GROUP_BLOCKS)
    }

    /// Returns the first block of a group's bitmaps and inode table. In the first group, superblock and
    /// descriptors come before them.
    fn tables(&self, group: u32) -> u32 {
        match group {
            0 => 1 + self.descriptor_blocks,
            _ => group * GROUP_BLOCKS,
        }
    }

    /// Returns the block of the root directory; that of `lost+found` is the next.
    fn root(&self) -> u32 {
        self.tables(0) + GROUP_TABLES
    }

    /// Returns the number of blocks that are in use, all of them at the beginning of their group.
    fn used(&self, group: u32) -> u32 {
        match group {
            0 => self.root() + 2,
            _ => GROUP_TABLES,
        }
    }

    fn superblock(&self) -> [u8; 1024] {
        let free: u32 = (0..self.groups)
            .map(|group| self.size(group) - self.used(group))
            .sum();
        let inodes = self.groups * GROUP_INODES;
        let mut block = Bytes([0; 1024]);
        block.u32(0x00, inodes);
        block.u32(0x04, self.blocks);
        block.u32(0x0c, free);
        block.u32(0x10, inodes - LOST_AND_FOUND);
        // The sizes of blocks and clusters are given as powers of two above 1024.
        block.u32(0x18, 2);
        block.u32(0x1c, 2);
        block.u32(0x20, GROUP_BLOCKS);
        block.u32(0x24, GROUP_BLOCKS);
        block.u32(0x28, GROUP_INODES);
        // It is never due for a check.
        block.u16(0x36, u16::MAX);
        block.u16(0x38, 0xef53);
        // It is clean, and goes on after an error.
        block.u16(0x3a, 1);
        block.u16(0x3c, 1);
        // Revision 1 has features.
        block.u32(0x4c, 1);
        block.u32(0x54, LOST_AND_FOUND);
        block.u16(0x58, INODE as u16);
        // ext_attr, dir_index, sparse_super2
        block.u32(0x5c, 0x008 | 0x020 | 0x200);
        // filetype, extents
        block.u32(0x60, 0x02 | 0x40);
        // large_file, huge_file, gdt_csum, dir_nlink, extra_isize
        block.u32(0x64, 0x02 | 0x08 | 0x10 | 0x20 | 0x40);
        block.bytes(0x68, &UUID);
        block.bytes(0x78, LABEL);
        // Directories are hashed with this seed and half MD4, of signed characters.
        block.bytes(0xec, &UUID);
        block.bytes(0xfc, &[1]);
        block.u32(0x160, 1);
        block.u16(0x15c, EXTRA_INODE);
        block.u16(0x15e, EXTRA_INODE);
        block.0
    }

    fn descriptors(&self) -> Vec<u8> {
        (0..self.groups)
            .flat_map(|group| self.descriptor(group))
            .collect()
    }

    fn descriptor(&self, group: u32) -> [u8; DESCRIPTOR] {
        let last = self.groups - 1;
        let (used_inodes, directories, flags) = match group {
            0 => (LOST_AND_FOUND, 2, INODE_ZEROED),
            // Only the bitmap of blocks says where the last group ends.
            _ if group == last => (0, 0, INODE_UNINIT | INODE_ZEROED),
            _ => (0, 0, INODE_UNINIT | BLOCK_UNINIT | INODE_ZEROED),
        };
        let tables = self.tables(group);
        let mut bytes = Bytes([0; DESCRIPTOR]);
        for (place, table) in [(0x00, tables), (0x04, tables + 1), (0x08, tables + 2)] {
            bytes.u32(place, table);
        }
        // A group has fewer than 2^16 blocks and inodes.
        bytes.u16(0x0c, (self.size(group) - self.used(group)) as u16);
        bytes.u16(0x0e, (GROUP_INODES - used_inodes) as u16);
        bytes.u16(0x10, directories);
        bytes.u16(0x12, flags);
        bytes.u16(0x1c, (GROUP_INODES - used_inodes) as u16);
        let sum = [&UUID[..], &group.to_le_bytes(), &bytes.0[..0x1e]];
        bytes.u16(0x1e, sum.into_iter().fold(u16::MAX, crc16));
        bytes.0
    }

    /// Returns a group's bitmap of blocks: those in use, and those that the group does not have.
    fn block_bitmap(&self, group: u32) -> [u8; BLOCK] {
        bitmap(self.used(group), self.size(group))
    }

    /// Returns the first block of the inode table.
    fn inodes(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        for (number, mode, links, content) in [
            (ROOT, 0o040_755, 3, self.root()),
            (LOST_AND_FOUND, 0o040_700, 2, self.root() + 1),
        ] {
            let at = (number as usize - 1) * INODE;
            block[at..at + INODE].copy_from_slice(&inode(mode, links, content));
        }
        block
    }
}

/// Bytes of an inode beyond the 128 of the first ext2.
const EXTRA_INODE: u16 = 32;

/// Returns the inode of a directory whose content is one block.
fn inode(mode: u16, links: u16, content: u32) -> [u8; INODE] {
    const EXTENTS: u32 = 0x80000;
    let mut bytes = Bytes([0; INODE]);
    bytes.u16(0x00, mode);
    bytes.u32(0x04, BLOCK as u32);
    bytes.u16(0x1a, links);
    // In units of 512 bytes.
    bytes.u32(0x1c, BLOCK as u32 / 512);
    bytes.u32(0x20, EXTENTS);
    // A tree of extents without branches: its magic number, one of four entries, and that one.
    bytes.u16(0x28, 0xf30a);
    bytes.u16(0x2a, 1);
    bytes.u16(0x2c, 4);
    bytes.u16(0x38, 1);
    bytes.u32(0x3c, content);
    bytes.u16(0x80, EXTRA_INODE);
    bytes.0
}

/// Returns a directory's block. The last entry reaches to its end.
fn directory(entries: &[(&str, u32)]) -> [u8; BLOCK] {
    const DIRECTORY: u8 = 2;
    let mut block = Bytes([0; BLOCK]);
    let mut at = 0;
    for (index, (name, number)) in entries.iter().enumerate() {
        let length = if index + 1 == entries.len() {
            BLOCK - at
        } else {
            8 + name.len().next_multiple_of(4)
        };
        block.u32(at, *number);
        block.u16(at + 4, length as u16);
        block.bytes(at + 6, &[name.len() as u8, DIRECTORY]);
        block.bytes(at + 8, name.as_bytes());
        at += length;
    }
    block.0
}

/// Returns the first group's bitmap of inodes.
fn inode_bitmap() -> [u8; BLOCK] {
    bitmap(LOST_AND_FOUND, GROUP_INODES)
}

/// Returns a bitmap in which the first `used` bits are set, and those from `size` on.
fn bitmap(used: u32, size: u32) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    for bit in (0..used).chain(size..BLOCK as u32 * 8) {
        block[bit as usize / 8] |= 1 << (bit % 8);
    }
    block
}

/// Goes on with a CRC-16 (polynomial 0x8005, reflected), as the kernel's lib/crc16.c does.
fn crc16(sum: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(sum, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0xa001 } else { 0 }
        })
    })
}

/// A structure whose numbers are little-endian.
struct Bytes<const N: usize>([u8; N]);

impl<const N: usize> Bytes<N> {
    fn bytes(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn u16(&mut self, at: usize, value: u16) {
        self.bytes(at, &value.to_le_bytes());
    }

    fn u32(&mut self, at: usize, value: u32) {
        self.bytes(at, &value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::process::Command;

    use super::*;

    /// The tools that the file systems of hosts are checked with have nothing to say.
    #[test]
    fn e2fsck_finds_nothing() {
        const MIB: u64 = 1 << 20;
        for (mib, usable) in [
            (64, 16_384),
            // The last group begins with too little, and with enough.
            (128 + 3, 32_768),
            (128 + 4, 33_792),
            (20 << 10, 5_242_880),
            (1 << 20, 268_435_456),
        ] {
            let file = tempfile::NamedTempFile::new().expect("a file");
            file.as_file().set_len(mib * MIB).expect("sparse");
            format(file.as_file(), mib * MIB).expect("formatted");
            let check = Command::new("/usr/sbin/e2fsck")
                .args(["-f", "-n"])
                .arg(file.path())
                .output()
                .expect("e2fsck");
            let said = String::from_utf8_lossy(&check.stdout).into_owned()
                + &String::from_utf8_lossy(&check.stderr);
            assert!(check.status.success(), "{mib} MiB: {said}");
            assert!(said.contains("bcvk-var: 11/"), "{mib} MiB: {said}");
            assert!(
                said.contains(&format!("/{usable} blocks")),
                "{mib} MiB: {said}"
            );
            let taken = file.as_file().metadata().expect("there").blocks() * 512;
            assert!(taken <= MIB, "{mib} MiB takes {taken} bytes");
        }
    }

    #[test]
    fn what_has_no_room_for_it_is_an_error() {
        for bytes in [0, 1 << 20, 16 << 40] {
            assert!(Layout::new(bytes).is_err(), "{bytes}");
        }
    }

    #[test]
    fn a_checksum_as_the_kernel_makes_it() {
        // The check value of CRC-16/ARC, whose register begins with 0.
        assert_eq!(crc16(0, b"123456789"), 0xbb3d);
    }
}
