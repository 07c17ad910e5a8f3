//! Checkpoints: a running guest is saved as it is, and taken back to that, any number of times.
//!
//! The guest stays in its QEMU, and its file servers go on: QEMU puts the state of its devices, and
//! with it that of the file servers, into a small disk image of its own, and reads it back from there
//! (`snapshot-save` and `snapshot-load`). The guest's memory and the disks that are made for it are
//! files, which are copied and written back beside it. So neither needs a right that the VM has not.

pub(super) mod requests;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bcvk_contract::snapshot::{copy_roughly, find_in_pages, update, update_range};
use bcvk_contract::spec::Arch;
use bcvk_contract::status::Timestamp;
use bcvk_guest::agent::Renewal;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::disks::unnamed;
use crate::qemu::monitor::Monitor;
use crate::sessions::Sessions;

/// Path of a copy, until it has no name any more: in the container's own layer, on disk.
const COPY: &str = "/.bcvk-checkpoint";

/// Place of the generation ID in the page that QEMU's firmware sets aside for it
/// (QEMU, docs/specs/vmgenid: `VMGENID_GUID_OFFSET`).
const GENERATION: usize = 40;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Least bytes of a large memory that a PC has from address 0 on (QEMU, hw/i386/pc_q35.c).
const LOW_MEMORY: u64 = 2 << 30;

/// A file of the guest's that its QEMU has mapped or opened.
#[derive(Debug)]
pub(super) struct Part {
    /// The file.
    pub(super) file: File,
    /// Its length.
    pub(super) bytes: u64,
}

/// The parts of a running VM that make up its state.
#[derive(Debug)]
pub(super) struct Machine {
    monitor: Monitor,
    sessions: Sessions,
    arch: Arch,
    memory: Part,
    /// Disks that were made for this guest.
    disks: Vec<Part>,
    /// Place of the generation ID in the guest's memory, once it has been looked for.
    generation: OnceLock<Option<u64>>,
    /// Set once QEMU has a place for states.
    has_store: OnceLock<()>,
}

/// A saved state of a VM.
#[derive(Debug)]
pub(super) struct Saved {
    /// Name of the devices' state in QEMU's disk image.
    tag: String,
    /// Copy of the memory.
    memory: File,
    /// Copies of the disks.
    disks: Vec<File>,
    /// Bytes on the host's disk.
    pub(super) size: u64,
    /// Time for which the guest stood still.
    pub(super) stood_still: Duration,
}

/// Reason why something was not done.
#[derive(Debug)]
pub(super) enum Failed {
    /// The guest goes on as before.
    Unharmed(io::Error),
    /// The guest is neither what it was nor what it was to be.
    Lost(io::Error),
}

impl Machine {
    pub(super) fn new(
        (monitor, sessions): (Monitor, Sessions),
        arch: Arch,
        memory: Part,
        disks: Vec<Part>,
    ) -> Self {
        Self {
            monitor,
            sessions,
            arch,
            memory,
            disks,
            generation: OnceLock::new(),
            has_store: OnceLock::new(),
        }
    }

    /// Saves the guest. Most is copied while it runs; while it stands still, copies are only compared.
    pub(super) fn save(&self, tag: String) -> Result<Saved, Failed> {
        self.get_ready().map_err(Failed::Unharmed)?;
        let memory = first_copy(&self.memory).map_err(Failed::Unharmed)?;
        let disks = self.disks.iter().map(first_copy);
        let disks: Vec<File> = disks.collect::<Result<_, _>>().map_err(Failed::Unharmed)?;
        self.sessions.quieten().map_err(Failed::Unharmed)?;
        let begun = Instant::now();
        let saved = self.monitor.stop().and_then(|()| {
            self.monitor.save_state(&tag)?;
            update(&self.memory.file, &memory, self.memory.bytes)?;
            let parts = self.disks.iter().zip(&disks);
            for (part, copy) in parts {
                update(&part.file, copy, part.bytes)?;
            }
            Ok(())
        });
        self.monitor.go_on().map_err(Failed::Lost)?;
        let stood_still = begun.elapsed();
        self.sessions.go_on(None).map_err(Failed::Lost)?;
        saved.map_err(Failed::Unharmed)?;
        tracing::info!(took = ?stood_still, tag, "the guest stood still for a checkpoint");
        let size = size(disks.iter().chain([&memory])).map_err(Failed::Unharmed)?;
        Ok(Saved {
            tag,
            memory,
            disks,
            size,
            stood_still,
        })
    }

    /// Takes the guest back to `saved`. Its sessions end, and clients that come meanwhile wait.
    pub(super) fn reset_to(&self, saved: &Saved) -> Result<(), Failed> {
        self.sessions.drop_all().map_err(Failed::Unharmed)?;
        let begun = Instant::now();
        self.restore(saved).map_err(Failed::Lost)?;
        tracing::info!(took = ?begun.elapsed(), tag = saved.tag, "the guest runs again");
        self.sessions
            .go_on(Some(news().map_err(Failed::Lost)?))
            .map_err(Failed::Lost)?;
        tracing::info!(took = ?begun.elapsed(), "it has heard the time");
        Ok(())
    }

    /// Removes the devices' state of a checkpoint. The rest of it is gone with its files.
    pub(super) fn forget(&self, saved: &Saved) -> io::Result<()> {
        self.monitor.delete_state(&saved.tag)
    }

    /// Makes what the first checkpoint needs.
    fn get_ready(&self) -> io::Result<()> {
        if self.has_store.get().is_none() {
            self.monitor.make_store()?;
            let _ = self.has_store.set(());
        }
        if self.generation.get().is_none() {
            let place = match self.monitor.generation()? {
                Some(id) => find_in_pages(&self.memory.file, self.memory.bytes, GENERATION, &id)?,
                None => None,
            };
            let _ = self.generation.set(place);
        }
        Ok(())
    }

    fn restore(&self, saved: &Saved) -> io::Result<()> {
        let begun = Instant::now();
        self.monitor.stop()?;
        // Devices look at their queues in memory when they get their state.
        update(&saved.memory, &self.memory.file, self.memory.bytes)?;
        for (part, copy) in self.disks.iter().zip(&saved.disks) {
            update(copy, &part.file, part.bytes)?;
        }
        tracing::debug!(took = ?begun.elapsed(), "the memory is that of the checkpoint");
        self.monitor.load_state(&saved.tag)?;
        tracing::debug!(took = ?begun.elapsed(), "so are the devices");
        // The machine's reset, which comes before, writes the kernel into the memory anew.
        for range in self.loaded()? {
            update_range(&saved.memory, &self.memory.file, range)?;
        }
        if let Some(place) = self.generation.get().copied().flatten() {
            // QEMU has written its own ID, which the guest knows, and announced a new one.
            let id: [u8; 16] = random()?;
            self.memory.file.write_all_at(&id, place)?;
        }
        self.monitor.go_on()
    }

    /// Returns the pages of the memory's file that QEMU writes when it resets the machine.
    fn loaded(&self) -> io::Result<Vec<Range<u64>>> {
        let whole = 0..self.memory.bytes;
        let loaded = self.monitor.loaded()?;
        // Above that, and on other machines, places in the file are not the guest's addresses.
        let same = match self.arch {
            Arch::X86_64 => self.memory.bytes.min(LOW_MEMORY),
            Arch::Aarch64 => 0,
        };
        if loaded.iter().any(|range| range.end > same) {
            return Ok(vec![whole]);
        }
        let pages = loaded.into_iter().map(|range| {
            let end = range.end.next_multiple_of(PAGE).min(whole.end);
            range.start - range.start % PAGE..end
        });
        Ok(pages.collect())
    }
}

/// Copies a part of a guest that runs.
fn first_copy(part: &Part) -> io::Result<File> {
    let copy = unnamed(Path::new(COPY), part.bytes)?;
    copy_roughly(&part.file, &copy, part.bytes)?;
    Ok(copy)
}

/// Returns the bytes that files take up on the disk.
fn size<'a>(files: impl Iterator<Item = &'a File>) -> io::Result<u64> {
    /// Unit of [`MetadataExt::blocks`] (stat(2)).
    const BLOCK: u64 = 512;
    let mut size = 0;
    for file in files {
        size += file.metadata()?.blocks() * BLOCK;
    }
    Ok(size)
}

/// Returns what a guest has missed.
fn news() -> io::Result<Renewal> {
    let clock = Timestamp::now().0.saturating_mul(1000);
    Ok(Renewal::new(clock, &random::<64>()?))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut random = [0; N];
    getrandom(&mut random, GetRandomFlags::empty())?;
    Ok(random)
}

/// Makes a checkpoint of nothing, for tests of what is done with them.
#[cfg(test)]
pub(super) fn example(tag: &str) -> Saved {
    Saved {
        tag: tag.to_owned(),
        memory: tempfile::tempfile().expect("a file"),
        disks: Vec::new(),
        size: 0,
        stood_still: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_takes_up_what_is_used() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(1 << 30).expect("longer");
        file.write_all_at(&[1; 5000], 1 << 20).expect("written");
        let files = [&file, &file];
        let size = size(files.into_iter()).expect("a size");
        assert!((10_000..100_000).contains(&size), "{size}");
    }
}
