//! x86 kernels as distributions ship them: the kernel proper, compressed, in a program that unpacks
//! it (Linux, `Documentation/arch/x86/boot.rst`).
//!
//! Unpacking takes an emulated processor many times what it takes the host's. QEMU enters the kernel
//! proper directly if it has a PVH entry.

use super::compression::Compression;
use super::pvh::has_entry;

/// Limit for the size of an unpacked kernel. Distributions' kernels have 60 to 100 MiB.
const MAX_KERNEL_BYTES: u64 = 512 << 20;

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
    has_entry(&kernel).then_some(kernel)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::compression::tests::gzip;
    use crate::boot::pvh::stand_in;

    /// Returns a kernel with a PVH entry.
    fn kernel() -> Vec<u8> {
        stand_in(b"\x7fELF\x02\x01\x01")
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

    fn packed(kernel: &[u8]) -> Vec<u8> {
        let mut packed = gzip(kernel);
        // The kernel's build adds the size, for formats that do not have it.
        packed.extend(4711_u32.to_le_bytes());
        packed
    }

    #[test]
    fn a_kernel_with_a_pvh_entry_is_unpacked() {
        let kernel = kernel();
        let file = bzimage(0x20f, &packed(&kernel));
        assert_eq!(unpack(&file), Some(kernel));
    }

    #[test]
    fn other_kernels_boot_as_they_are() {
        let kernel = kernel();
        let name = kernel.windows(4).position(|word| word == b"Xen\0");
        // The type comes right before the name.
        let other = |offset: isize| {
            let mut kernel = kernel.clone();
            kernel[name
                .and_then(|at| at.checked_add_signed(offset))
                .expect("a note")] += 1;
            kernel
        };
        let content = packed(&kernel);
        let whole = bzimage(0x20f, &content);
        for (what, file) in [
            ("nothing", Vec::new()),
            ("an ELF file", kernel.clone()),
            ("another note", bzimage(0x20f, &packed(&other(-4)))),
            ("another's note", bzimage(0x20f, &packed(&other(0)))),
            ("no ELF file", bzimage(0x20f, &packed(b"kernel"))),
            ("another compression", bzimage(0x20f, b"LZO")),
            ("an old header", bzimage(0x207, &content)),
            (
                "a damaged kernel",
                bzimage(0x20f, &content[..content.len() / 2]),
            ),
            (
                "an end too early",
                whole[..whole.len() - content.len()].to_vec(),
            ),
        ] {
            assert_eq!(unpack(&file), None, "{what}");
        }
    }
}
