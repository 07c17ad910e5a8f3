//! The PVH entry, made for Xen: kernels that QEMU enters directly (Linux, `arch/x86/platform/pvh/head.S`;
//! QEMU, `hw/i386/x86-common.c`). They are ELF files with a note that says where.

use object::Endianness;
use object::elf::{FileHeader64, NoteType};
use object::read::elf::{FileHeader, ProgramHeader};

/// Name and type of the note (Xen, `xen/include/public/elfnote.h`: `XEN_ELFNOTE_PHYS32_ENTRY`).
const NOTE_NAME: &[u8; 4] = b"Xen\0";
const NOTE_TYPE: u32 = 18;

/// Offsets in a stand-in.
const NOTE: u64 = 0x1000;
const CODE: u64 = 0x2000;

/// Address at which a stand-in would be in memory.
const ADDRESS: u64 = 0x100_0000;

/// Returns true if a kernel has the note that says where a VM can enter it.
pub(super) fn has_entry(kernel: &[u8]) -> bool {
    let has = || -> object::read::Result<bool> {
        let header = FileHeader64::<Endianness>::parse(kernel)?;
        let endian = header.endian()?;
        for segment in header.program_headers(endian, kernel)? {
            let Some(mut notes) = segment.notes(endian, kernel)? else {
                continue;
            };
            while let Some(note) = notes.next()? {
                if note.name() == b"Xen" && note.n_type(endian) == NoteType(NOTE_TYPE) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    };
    has().unwrap_or(false)
}

/// A kernel that QEMU starts in the same way as `kernel`, so that it makes the same machine: which
/// firmware is in there depends on that way. The guest never sees it, and is spared the time that
/// reading a whole kernel takes: an ELF file with Xen's note for booting through PVH, and no code.
pub(crate) fn stand_in(kernel: &[u8]) -> Vec<u8> {
    const ELF: &[u8] = b"\x7fELF\x02\x01\x01";
    const EXECUTABLE: u16 = 2;
    const X86_64: u16 = 62;
    const LOAD: u32 = 1;
    const NOTES: u32 = 4;
    const LENGTH: u64 = 16;

    if !kernel.starts_with(ELF) {
        return kernel.to_vec();
    }
    let mut elf = Writer::default();
    elf.bytes(ELF).to(16);
    elf.u16(EXECUTABLE).u16(X86_64).u32(1);
    elf.u64(ADDRESS).u64(64).u64(0).u32(0);
    elf.u16(64).u16(56).u16(2).u16(64).u16(0).u16(0);
    elf.u32(LOAD).u32(5).u64(CODE);
    elf.u64(ADDRESS).u64(ADDRESS).u64(LENGTH).u64(LENGTH).u64(1);
    elf.u32(NOTES).u32(4).u64(NOTE);
    elf.u64(0).u64(0).u64(24).u64(24).u64(4);
    elf.to(NOTE);
    elf.u32(4)
        .u32(8)
        .u32(NOTE_TYPE)
        .bytes(NOTE_NAME)
        .u64(ADDRESS);
    elf.to(CODE + LENGTH);
    elf.0
}

/// Little-endian numbers in a row.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    fn u16(&mut self, number: u16) -> &mut Self {
        self.bytes(&number.to_le_bytes())
    }

    fn u32(&mut self, number: u32) -> &mut Self {
        self.bytes(&number.to_le_bytes())
    }

    fn u64(&mut self, number: u64) -> &mut Self {
        self.bytes(&number.to_le_bytes())
    }

    /// Zeros up to `offset`.
    fn to(&mut self, offset: u64) -> &mut Self {
        self.0.resize(usize::try_from(offset).unwrap_or(0), 0);
        self
    }
}

#[cfg(test)]
mod tests {
    use object::elf::PT_NOTE;

    use super::*;

    #[test]
    fn an_elf_kernel_has_one_with_the_note() {
        let elf = stand_in(b"\x7fELF\x02\x01\x01 and so on");
        let header = FileHeader64::<Endianness>::parse(&*elf).expect("a header");
        let endian = header.endian().expect("an order of bytes");
        let headers = header.program_headers(endian, &*elf).expect("headers");
        let note = headers.iter().find(|h| h.p_type(endian) == PT_NOTE);
        let mut notes = note
            .expect("a header of notes")
            .notes(endian, &*elf)
            .expect("notes")
            .expect("notes");
        let note = notes.next().expect("well-formed").expect("a note");
        assert_eq!((note.name(), note.n_type(endian).0), (&b"Xen"[..], 18));
        assert_eq!(note.desc(), ADDRESS.to_le_bytes());
    }

    #[test]
    fn any_other_is_taken_as_it_is() {
        assert_eq!(stand_in(b"MZ kernel"), b"MZ kernel");
    }
}
