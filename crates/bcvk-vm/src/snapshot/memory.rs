//! Copying what little of a guest's memory was ever used.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crc32fast::Hasher;
use rustix::fs::{SeekFrom, ftruncate, seek};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Blocks of this many bytes are left out if they are zero: a page.
const BLOCK: usize = 4096;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// What is in a file with holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// Bytes, with the holes.
    pub(crate) length: u64,
    /// Bytes in blocks that are not zero.
    pub stored: u64,
    /// CRC-32 over those blocks and their places.
    pub(crate) crc: u32,
}

/// Copies `from`, `length` bytes with holes, to `to`, an empty file; blocks that are zero become
/// holes.
pub(crate) fn copy(from: &File, to: &File, length: u64) -> io::Result<Contents> {
    ftruncate(to, length)?;
    read(from, length, |bytes, place| to.write_all_at(bytes, place))
}

/// Looks at what is in `file`, `length` bytes with holes.
pub(crate) fn sum(file: &File, length: u64) -> io::Result<Contents> {
    read(file, length, |_, _| Ok(()))
}

/// Reads a file, and passes on what is not zero with its place.
fn read(
    from: &File,
    length: u64,
    mut pass: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<Contents> {
    let mut buffer = vec![0; BUFFER];
    let mut crc = Hasher::new();
    let mut stored = 0;
    let mut at = 0;
    while let Some(start) = data_from(from, at)? {
        let hole = seek(from, SeekFrom::Hole(start))?;
        let end = hole.next_multiple_of(BLOCK as u64).min(length);
        at = start - start % BLOCK as u64;
        while at < end {
            let room = usize::try_from(end - at).map_or(BUFFER, |left| left.min(BUFFER));
            let part = &mut buffer[..room];
            from.read_exact_at(part, at)?;
            let place = |index: usize| at + (index * BLOCK) as u64;
            let blocks: Vec<(usize, &[u8])> = used_blocks(part).collect();
            for (index, block) in &blocks {
                crc.update(&place(*index).to_le_bytes());
                crc.update(block);
                stored += block.len() as u64;
            }
            for run in blocks.chunk_by(|(before, _), (after, _)| before + 1 == *after) {
                let (first, count) = (run[0].0, run.len());
                let bytes = &part[first * BLOCK..room.min((first + count) * BLOCK)];
                pass(bytes, place(first))?;
            }
            at += room as u64;
        }
    }
    Ok(Contents {
        length,
        stored,
        crc: crc.finalize(),
    })
}

/// Where the next data of a file is, from `at` on (lseek(2), SEEK_DATA).
fn data_from(file: &File, at: u64) -> io::Result<Option<u64>> {
    match seek(file, SeekFrom::Data(at)) {
        Ok(start) => Ok(Some(start)),
        Err(Errno::NXIO) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// The blocks of `bytes` that are not zero, with their numbers.
fn used_blocks(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let blocks = bytes.chunks(BLOCK).enumerate();
    blocks.filter(|(_, block)| **block != ZEROS[..block.len()])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn file() -> File {
        tempfile::tempfile().expect("a file")
    }

    #[test]
    fn a_copy_is_the_same_and_has_no_zeros() {
        let length = 64 << 20;
        let from = file();
        ftruncate(&from, length).expect("longer");
        for (at, bytes) in [
            (0, vec![1_u8; 10]),
            (5 << 20, vec![0; 3 << 20]),
            ((6 << 20) + 17, vec![7; 5000]),
            (length - 3, b"end".to_vec()),
        ] {
            from.write_all_at(&bytes, at).expect("written");
        }
        let to = file();
        let contents = copy(&from, &to, length).expect("copied");
        assert_eq!(contents.length, length);
        assert_eq!(contents.stored, 4 * BLOCK as u64);
        assert!(to.metadata().expect("there").blocks() * 512 <= 16 * BLOCK as u64);
        let again = copy(&to, &file(), length).expect("copied");
        assert_eq!(again, contents);
        let mut bytes = [vec![1; 64 << 20], vec![2; 64 << 20]];
        from.read_exact_at(&mut bytes[0], 0).expect("read");
        to.read_exact_at(&mut bytes[1], 0).expect("read");
        assert!(bytes[0] == bytes[1]);
    }

    #[test]
    fn a_bit_or_a_place_that_changed_is_seen() {
        let from = file();
        ftruncate(&from, 1 << 20).expect("longer");
        from.write_all_at(b"text", 4096).expect("written");
        let before = copy(&from, &file(), 1 << 20).expect("copied");
        from.write_all_at(b"tezt", 4096).expect("written");
        let changed = copy(&from, &file(), 1 << 20).expect("copied");
        from.write_all_at(&[0; 4], 4096).expect("written");
        from.write_all_at(b"text", 8192).expect("written");
        let moved = copy(&from, &file(), 1 << 20).expect("copied");
        assert_ne!(before.crc, changed.crc);
        assert_ne!(before.crc, moved.crc);
    }
}
