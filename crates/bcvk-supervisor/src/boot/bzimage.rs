//! x86 kernels as distributions ship them: the kernel proper, compressed, in a program that unpacks
//! it (Linux, `Documentation/arch/x86/boot.rst`).
//!
//! Unpacking takes an emulated processor many times what it takes the host's. The kernel proper is an
//! ELF file, and QEMU enters it directly if it has the note that says where: the PVH entry, made for
//! Xen (Linux, `arch/x86/platform/pvh/head.S`; QEMU, `hw/i386/x86-common.c`).

use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};

use super::compression::Compression;

/// Limit for the size of an unpacked kernel. Distributions' kernels have 60 to 100 MiB.
const MAX_KERNEL_BYTES: u64 = 512 << 20;

/// Name and type of the note with the PVH entry (Xen, `xen/include/public/elfnote.h`:
/// `XEN_ELFNOTE_PHYS32_ENTRY`).
const PVH_NOTE: (&[u8], u32) = (b"Xen", 18);

/// Offsets of the setup header's fields.
mod offset {
    pub(super) const SETUP_SECTORS: usize = 0x1f1;
    pub(super) const MAGIC: usize = 0x202;
    pub(super) const VERSION: usize = 0x206;
    pub(super) const PAYLOAD: usize = 0x248;
    pub(super) const PAYLOAD_LENGTH: usize = 0x24c;
}

/// The first version of the boot protocol whose header says where the packed kernel is.
const VERSION_WITH_PAYLOAD: u16 = 0x0208;

const SECTOR: usize = 512;

/// Returns the kernel proper of the bzImage `file`. Returns `None` if `file` is no bzImage, or its
/// kernel cannot be entered directly, or is packed in a way that is unknown here. Such a `file` boots
/// as it is.
#[must_use]
pub(crate) fn unpack(file: &[u8]) -> Option<Vec<u8>> {
    let mut payload = payload(file)?;
    let kernel = Compression::of(payload)?
        .undo(&mut payload, MAX_KERNEL_BYTES)
        .ok()?;
    has_pvh_entry(&kernel).then_some(kernel)
}

/// Returns the packed kernel.
fn payload(file: &[u8]) -> Option<&[u8]> {
    let long = |at: usize| {
        let bytes = file.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    if file.get(offset::MAGIC..offset::MAGIC + 4)? != b"HdrS" {
        return None;
    }
    let version = file.get(offset::VERSION..offset::VERSION + 2)?;
    if u16::from_le_bytes(version.try_into().ok()?) < VERSION_WITH_PAYLOAD {
        return None;
    }
    let setup_sectors = match file[offset::SETUP_SECTORS] {
        // This kernel is older than the field.
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (setup_sectors + 1) * SECTOR + long(offset::PAYLOAD)?;
    file.get(start..start.checked_add(long(offset::PAYLOAD_LENGTH)?)?)
}

/// Returns true if a kernel has the note that says where a VM can enter it.
fn has_pvh_entry(kernel: &[u8]) -> bool {
    let has = || -> object::read::Result<bool> {
        let header = FileHeader64::<Endianness>::parse(kernel)?;
        let endian = header.endian()?;
        for segment in header.program_headers(endian, kernel)? {
            let Some(mut notes) = segment.notes(endian, kernel)? else {
                continue;
            };
            while let Some(note) = notes.next()? {
                if (note.name(), note.n_type(endian)) == (PVH_NOTE.0, elf::NoteType(PVH_NOTE.1)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    };
    has().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression as Level;
    use flate2::write::GzEncoder;

    use super::*;

    /// Returns an ELF file with nothing but a note of this name and type.
    fn elf(name: [u8; 4], kind: u32) -> Vec<u8> {
        const HEADER: u64 = 64;
        const SEGMENT: u64 = 56;
        let mut note = Vec::new();
        for word in [4, 8, kind] {
            note.extend(u32::to_le_bytes(word));
        }
        note.extend(name);
        note.extend(0x0100_0c43_u64.to_le_bytes());

        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        for long in [0, HEADER, 0] {
            file.extend(u64::to_le_bytes(long));
        }
        file.extend([0; 4]);
        for short in [HEADER, SEGMENT, 1, 64, 0, 0] {
            file.extend(u16::try_from(short).expect("small").to_le_bytes());
        }
        file.extend([4, 0, 0, 0, 4, 0, 0, 0]);
        let length = note.len() as u64;
        for long in [HEADER + SEGMENT, 0, 0, length, length, 4] {
            file.extend(long.to_le_bytes());
        }
        file.extend(note);
        file
    }

    fn bzimage(version: u16, payload: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 2 * SECTOR + 16];
        file[offset::SETUP_SECTORS] = 1;
        file[offset::MAGIC..offset::MAGIC + 4].copy_from_slice(b"HdrS");
        file[offset::VERSION..offset::VERSION + 2].copy_from_slice(&version.to_le_bytes());
        let length = u32::try_from(payload.len()).expect("small");
        for (at, value) in [(offset::PAYLOAD, 16), (offset::PAYLOAD_LENGTH, length)] {
            file[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
        }
        file.extend(payload);
        file.extend(b"what unpacks it");
        file
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
        encoder.write_all(bytes).expect("write");
        let mut packed = encoder.finish().expect("the end");
        // The kernel's build adds the size, for formats that do not have it.
        packed.extend(4711_u32.to_le_bytes());
        packed
    }

    #[test]
    fn a_kernel_with_a_pvh_entry_is_unpacked() {
        let kernel = elf(*b"Xen\0", 18);
        let file = bzimage(0x20f, &gzip(&kernel));
        assert_eq!(unpack(&file), Some(kernel));
    }

    #[test]
    fn other_kernels_boot_as_they_are() {
        let kernel = elf(*b"Xen\0", 18);
        let packed = gzip(&kernel);
        let whole = bzimage(0x20f, &packed);
        for (what, file) in [
            ("nothing", Vec::new()),
            ("an ELF file", kernel.clone()),
            ("another note", bzimage(0x20f, &gzip(&elf(*b"Xen\0", 17)))),
            ("another's note", bzimage(0x20f, &gzip(&elf(*b"Nix\0", 18)))),
            ("no ELF file", bzimage(0x20f, &gzip(b"kernel"))),
            ("another compression", bzimage(0x20f, b"LZO")),
            ("an old header", bzimage(0x207, &packed)),
            (
                "a damaged kernel",
                bzimage(0x20f, &packed[..packed.len() / 2]),
            ),
            (
                "an end too early",
                whole[..whole.len() - packed.len()].to_vec(),
            ),
        ] {
            assert_eq!(unpack(&file), None, "{what}");
        }
    }
}
