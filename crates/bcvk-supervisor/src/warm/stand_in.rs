//! File that QEMU takes for the kernel of a machine that is resumed.

/// Offsets in the file.
const NOTE: u64 = 0x1000;
const CODE: u64 = 0x2000;

/// Where the kernel would be in memory.
const ADDRESS: u64 = 0x100_0000;

/// A kernel that QEMU starts in the same way as `kernel`, so that it makes the same machine: which
/// firmware is in there depends on that way. The guest never sees it, and is spared the time that
/// reading a whole kernel takes: an ELF file with Xen's note for booting through PVH, and no code
/// (QEMU, hw/i386/x86-common.c, `load_elfboot`; Xen, public/elfnote.h).
pub(super) fn stand_in(kernel: &[u8]) -> Vec<u8> {
    const ELF: &[u8] = b"\x7fELF\x02\x01\x01";
    const EXECUTABLE: u16 = 2;
    const X86_64: u16 = 62;
    const LOAD: u32 = 1;
    const NOTES: u32 = 4;
    const PHYS32_ENTRY: u32 = 18;
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
        .u32(PHYS32_ENTRY)
        .bytes(b"Xen\0")
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
    use object::Endianness;
    use object::elf::{FileHeader64, PT_NOTE};
    use object::read::elf::{FileHeader, ProgramHeader};

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
