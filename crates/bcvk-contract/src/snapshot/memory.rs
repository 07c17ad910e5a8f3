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

/// Copies `from` to `to` as [`copy`] does, without a sum, for a first copy of what somebody still writes
/// to: [`update`] makes it a true one.
pub fn copy_roughly(from: &File, to: &File, length: u64) -> io::Result<()> {
    ftruncate(to, length)?;
    in_parts(length, &|range, buffer| {
        visit_used(from, range, buffer, &mut |bytes, place| {
            to.write_all_at(bytes, place)
        })
    })
    .map(drop)
}

/// Makes `to`, a copy of `from` as it was a moment ago, one of `from` as it is now. Only what has changed
/// is written.
pub fn update(from: &File, to: &File, length: u64) -> io::Result<()> {
    update_range(from, to, 0..length)
}

/// Does what [`update`] does for a range of the files, from the beginning of a page to that of another or
/// the end.
pub fn update_range(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
    in_parts_of(range, &|range, buffer| {
        let mut old = vec![0; BUFFER];
        let mut update_piece = |at: u64, room: usize| {
            let (new, old) = (&mut buffer[..room], &mut old[..room]);
            from.read_exact_at(new, at)?;
            to.read_exact_at(old, at)?;
            let blocks = new.chunks(BLOCK).zip(old.chunks(BLOCK));
            for (index, (new, _)) in blocks.enumerate().filter(|(_, (new, old))| new != old) {
                to.write_all_at(new, at + (index * BLOCK) as u64)?;
            }
            Ok(())
        };
        visit_data(from, range.clone(), &mut update_piece)?;
        // The rest is what has become a hole meanwhile.
        visit_data(to, range, &mut |at, room| {
            if has_only_data(from, at, room)? {
                return Ok(());
            }
            update_piece(at, room)
        })
    })
    .map(drop)
}

/// Finds the first page of `file`, `length` bytes with holes, that has `bytes` at `offset`; returns where
/// in the file these bytes are. `bytes` must not reach beyond the page.
pub fn find_in_pages(
    file: &File,
    length: u64,
    offset: usize,
    bytes: &[u8],
) -> io::Result<Option<u64>> {
    let found = in_parts(length, &|range, buffer| {
        let mut found = None;
        visit_data(file, range, &mut |at, room| {
            let read = &mut buffer[..room];
            file.read_exact_at(read, at)?;
            let mut pages = read.chunks(BLOCK);
            let page =
                pages.position(|page| page.get(offset..).is_some_and(|p| p.starts_with(bytes)));
            found = found.or(page.map(|page| at + (page * BLOCK + offset) as u64));
            Ok(())
        })?;
        Ok(found)
    })?;
    Ok(found.into_iter().flatten().next())
}

/// Returns true if no hole is in the `room` bytes of a file from `at` on.
fn has_only_data(file: &File, at: u64, room: usize) -> io::Result<bool> {
    Ok(data_from(file, at)? == Some(at) && seek(file, SeekFrom::Hole(at))? >= at + room as u64)
}

/// Sums up the content of `file`, `length` bytes with holes.
pub fn sum(file: &File, length: u64) -> io::Result<SavedFile> {
    read(file, length, &|_, _| Ok(()))
}

/// Function that is called with used blocks that follow each other, and the place of the first.
type VisitBlocks<'a> = &'a (dyn Fn(&[u8], u64) -> io::Result<()> + Sync);

/// Reads a file and passes on the blocks that are not zero.
fn read(from: &File, length: u64, visit: VisitBlocks<'_>) -> io::Result<SavedFile> {
    let read = in_parts(length, &|range, buffer| {
        read_part(from, range, buffer, visit)
    })?;
    let mut whole = Sha256::new_with_prefix(length.to_le_bytes());
    for part in read {
        whole.update(part.finalize());
    }
    Ok(SavedFile {
        length,
        sha256: Sha256Digest(whole.finalize().into()),
    })
}

/// Work on one part of a file, with a buffer of [`BUFFER`] bytes.
type Work<'a, T> = &'a (dyn Fn(Range<u64>, &mut [u8]) -> io::Result<T> + Sync);

/// Works on a file of this `length`, in as many parts at once as there are processors: a guest stands
/// still meanwhile, so they have nothing else to do. Returns the results in the order of the parts.
fn in_parts<T: Send>(length: u64, work: Work<'_, T>) -> io::Result<Vec<T>> {
    in_parts_of(0..length, work)
}

/// Does what [`in_parts`] does for a range of a file.
fn in_parts_of<T: Send>(whole: Range<u64>, work: Work<'_, T>) -> io::Result<Vec<T>> {
    let length = whole.end.saturating_sub(whole.start);
    let parts = length.div_ceil(PART);
    let next = AtomicU64::new(0);
    let worker = || -> io::Result<Vec<(u64, T)>> {
        let mut buffer = vec![0; BUFFER];
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= parts {
                return Ok(done);
            }
            let begin = whole.start + number * PART;
            let result = work(begin..whole.end.min(begin + PART), &mut buffer)?;
            done.push((number, result));
        }
    };
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let mut done = Vec::new();
        for worker in workers {
            done.extend(worker.join().expect("no panic")?);
        }
        io::Result::Ok(done)
    })?;
    done.sort_unstable_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, result)| result).collect())
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
    visit_used(from, range, buffer, &mut |bytes, place| {
        for (index, block) in bytes.chunks(BLOCK).enumerate() {
            part.update((place + (index * BLOCK) as u64).to_le_bytes());
            part.update(block);
        }
        visit(bytes, place)
    })?;
    Ok(part)
}

/// Calls `visit` with blocks of a part that are not zero and follow each other, and the place of the
/// first.
fn visit_used(
    from: &File,
    range: Range<u64>,
    buffer: &mut [u8],
    visit: &mut dyn FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    visit_data(from, range, &mut |at, room| {
        let bytes = &mut buffer[..room];
        from.read_exact_at(bytes, at)?;
        let blocks: Vec<usize> = used_blocks(bytes).collect();
        for run in blocks.chunk_by(|before, after| before + 1 == *after) {
            let (first, end) = (run[0] * BLOCK, (run[0] + run.len()) * BLOCK);
            visit(&bytes[first..room.min(end)], at + first as u64)?;
        }
        Ok(())
    })
}

/// Calls `visit` with the place and length of each piece of a part that has data, of at most [`BUFFER`]
/// bytes.
fn visit_data(
    file: &File,
    range: Range<u64>,
    visit: &mut dyn FnMut(u64, usize) -> io::Result<()>,
) -> io::Result<()> {
    let mut at = range.start;
    while let Some(start) = data_from(file, at)?.filter(|start| *start < range.end) {
        let hole = seek(file, SeekFrom::Hole(start))?;
        // This has at least one block, even if there is a hole by now: somebody may write meanwhile.
        let end = hole.max(start + 1).next_multiple_of(BLOCK as u64);
        let end = end.min(range.end);
        at = start - start % BLOCK as u64;
        while at < end {
            let room = usize::try_from(end - at).map_or(BUFFER, |left| left.min(BUFFER));
            visit(at, room)?;
            at += room as u64;
        }
    }
    Ok(())
}

/// Returns where the next data of a file is, from `at` on (lseek(2), SEEK_DATA).
fn data_from(file: &File, at: u64) -> io::Result<Option<u64>> {
    match seek(file, SeekFrom::Data(at)) {
        Ok(start) => Ok(Some(start)),
        Err(Errno::NXIO) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Returns the numbers of the blocks of `bytes` that are not zero.
fn used_blocks(bytes: &[u8]) -> impl Iterator<Item = usize> {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let blocks = bytes.chunks(BLOCK).enumerate();
    blocks
        .filter(|(_, block)| **block != ZEROS[..block.len()])
        .map(|(index, _)| index)
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

    /// A guest goes on while the first copy is made: it writes, frees and uses memory.
    #[test]
    fn a_rough_copy_becomes_a_true_one() {
        let length = 64 << 20;
        let (from, to) = (file(), file());
        ftruncate(&from, length).expect("longer");
        from.write_all_at(&vec![1; 10 * BLOCK], 5 << 20)
            .expect("written");
        from.write_all_at(&vec![2; 3 * BLOCK], 40 << 20)
            .expect("written");
        copy_roughly(&from, &to, length).expect("copied");
        let sum_of = |file: &File| sum(file, length).expect("read");
        assert_eq!(sum_of(&to), sum_of(&from));

        from.write_all_at(&[3; 100], (5 << 20) + 5000)
            .expect("written");
        from.write_all_at(&[0; BLOCK], (5 << 20) + 8192)
            .expect("zeros");
        from.write_all_at(&[4; 2 * BLOCK], 63 << 20).expect("new");
        from.write_all_at(&[5; 1], length - 1).expect("the end");
        let punched =
            rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&from, punched, 40 << 20, 3 * BLOCK as u64).expect("freed");
        assert_ne!(sum_of(&to), sum_of(&from));
        update(&from, &to, length).expect("updated");
        assert_eq!(sum_of(&to), sum_of(&from));

        let at = 30 << 20;
        for place in [at - 1, at, at + PART, at + PART + BLOCK as u64] {
            from.write_all_at(&[6], place).expect("written");
        }
        update_range(&from, &to, at..at + PART + BLOCK as u64).expect("updated");
        let byte = |place| {
            let mut byte = [0];
            to.read_exact_at(&mut byte, place).expect("read");
            byte[0]
        };
        let bytes = [at - 1, at, at + PART, at + PART + BLOCK as u64].map(byte);
        assert_eq!(bytes, [0, 6, 6, 0]);
    }

    #[test]
    fn a_page_is_found_by_what_it_has_at_one_place() {
        let length = 64 << 20;
        let file = file();
        ftruncate(&file, length).expect("longer");
        let find = || find_in_pages(&file, length, 40, b"needle").expect("read");
        for (at, found) in [
            // It is elsewhere in its page, reaches into the next one, and is at its place.
            ((20 << 20) + 41, None),
            ((20 << 20) - 2, None),
            ((50 << 20) + 8192 + 40, Some((50 << 20) + 8192 + 40)),
            ((30 << 20) + 40, Some((30 << 20) + 40)),
        ] {
            file.write_all_at(b"needle", at).expect("written");
            assert_eq!(find(), found, "{at}");
        }
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
