//! Copies of a guest's memory that have only the little that was ever used.

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rustix::fs::{SeekFrom, ftruncate, seek};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::spec::{SavedFile, Sha256Digest};

/// Size of a block: a page. Blocks are left out if they are zero.
const BLOCK: usize = 4096;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// Bytes of a part that one thread reads by itself.
const PART: u64 = 16 << 20;

/// Copies `from`, `length` bytes with holes, to `to`, an empty file; blocks that are zero become
/// holes.
pub fn copy(from: &File, to: &File, length: u64) -> io::Result<SavedFile> {
    ftruncate(to, length)?;
    read(from, length, &|bytes, place| to.write_all_at(bytes, place))
}

/// Sums up the content of `file`, `length` bytes with holes.
pub fn sum(file: &File, length: u64) -> io::Result<SavedFile> {
    read(file, length, &|_, _| Ok(()))
}

/// Function that is called with used blocks that follow each other, and the place of the first.
type VisitBlocks<'a> = &'a (dyn Fn(&[u8], u64) -> io::Result<()> + Sync);

/// Reads a file, in as many parts at once as there are processors, and passes on the blocks that
/// are not zero. A guest stands still meanwhile, so the processors have nothing else to do.
fn read(from: &File, length: u64, visit: VisitBlocks<'_>) -> io::Result<SavedFile> {
    let parts = length.div_ceil(PART);
    let next = AtomicU64::new(0);
    let reader = || -> io::Result<Vec<(u64, Sha256)>> {
        let mut buffer = vec![0; BUFFER];
        let mut read = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= parts {
                return Ok(read);
            }
            let begin = number * PART;
            let part = read_part(from, begin..length.min(begin + PART), &mut buffer, visit)?;
            read.push((number, part));
        }
    };
    let readers = thread::available_parallelism().map_or(1, NonZero::get);
    let mut read = thread::scope(|scope| {
        let readers: Vec<_> = (0..readers).map(|_| scope.spawn(reader)).collect();
        let mut read = Vec::new();
        for reader in readers {
            read.extend(reader.join().expect("no panic")?);
        }
        io::Result::Ok(read)
    })?;
    read.sort_unstable_by_key(|(number, _)| *number);
    let mut whole = Sha256::new_with_prefix(length.to_le_bytes());
    for (_, part) in read {
        whole.update(part.finalize());
    }
    Ok(SavedFile {
        length,
        sha256: Sha256Digest(whole.finalize().into()),
    })
}

/// Reads a part of a file. Its digest is over the blocks that are not zero, each after its place, so
/// that it does not depend on where the file has holes.
fn read_part(
    from: &File,
    range: Range<u64>,
    buffer: &mut [u8],
    visit: VisitBlocks<'_>,
) -> io::Result<Sha256> {
    let mut part = Sha256::new();
    let mut at = range.start;
    while let Some(start) = data_from(from, at)?.filter(|start| *start < range.end) {
        let hole = seek(from, SeekFrom::Hole(start))?;
        // This has at least one block, even if there is a hole by now: somebody may write meanwhile.
        let end = hole.max(start + 1).next_multiple_of(BLOCK as u64);
        let end = end.min(range.end);
        at = start - start % BLOCK as u64;
        while at < end {
            let room = usize::try_from(end - at).map_or(BUFFER, |left| left.min(BUFFER));
            let bytes = &mut buffer[..room];
            from.read_exact_at(bytes, at)?;
            let place = |index: usize| at + (index * BLOCK) as u64;
            let blocks: Vec<(usize, &[u8])> = used_blocks(bytes).collect();
            for (index, block) in &blocks {
                part.update(place(*index).to_le_bytes());
                part.update(block);
            }
            for run in blocks.chunk_by(|(before, _), (after, _)| before + 1 == *after) {
                let (first, count) = (run[0].0, run.len());
                visit(
                    &bytes[first * BLOCK..room.min((first + count) * BLOCK)],
                    place(first),
                )?;
            }
            at += room as u64;
        }
    }
    Ok(part)
}

/// Returns where the next data of a file is, from `at` on (lseek(2), SEEK_DATA).
fn data_from(file: &File, at: u64) -> io::Result<Option<u64>> {
    match seek(file, SeekFrom::Data(at)) {
        Ok(start) => Ok(Some(start)),
        Err(Errno::NXIO) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Returns the blocks of `bytes` that are not zero, with their numbers.
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
            // Zeros that are no hole are between two blocks, which are not written as one.
            (9 << 20, [[8; BLOCK], [0; BLOCK], [9; BLOCK]].concat()),
            // A part begins with data.
            (PART, vec![5]),
            (length - 3, b"end".to_vec()),
        ] {
            from.write_all_at(&bytes, at).expect("written");
        }
        let to = file();
        let contents = copy(&from, &to, length).expect("copied");
        assert_eq!(contents.length, length);
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
        assert_ne!(before.sha256, changed.sha256);
        assert_ne!(before.sha256, moved.sha256);
    }
}
