//! Unified kernel images: kernel, initramfs and command line in one EFI program.
//!
//! Sections are those of the UAPI group's specification
//! (<https://uapi-group.org/specifications/specs/unified_kernel_image/>).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use bcvk_contract::spec::Arch;
use object::read::pe::{ImageNtHeaders, SectionTable};
use object::{LittleEndian, pe};
use thiserror::Error;

/// Contents of a UKI, in the bytes of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uki<'data> {
    /// Architecture that the UKI is for; `None` if guests cannot have that.
    pub arch: Option<Arch>,
    /// `.linux`: the kernel, itself an image that QEMU's `-kernel` boots.
    pub linux: &'data [u8],
    /// `.initrd`: the initramfs, one or more cpio archives, compressed or not.
    pub initrd: &'data [u8],
    /// `.cmdline`: the kernel's command line; `None` if the UKI leaves it to the boot loader.
    pub cmdline: Option<String>,
    /// `.uname`: the kernel's release, such as `6.12.43-amd64`.
    pub uname: Option<String>,
}

/// Reason why a file is not a UKI that a VM can be booted from.
#[derive(Debug, Error)]
pub(crate) enum UkiError {
    /// The file is not an EFI program.
    #[error("the file is not a 64-bit EFI program (PE32+)")]
    NotPe(#[source] object::read::Error),
    /// The file is an EFI program, but not a UKI.
    #[error(
        "the file has no {section} section, which a unified kernel image for a VM needs; it has {found}"
    )]
    NoSection {
        /// The section that is missing or empty.
        section: &'static str,
        /// The sections that there are, separated by commas, or `none`.
        found: String,
    },
    /// The file was cut short.
    #[error("the file is incomplete: its {section} section goes beyond its end")]
    Incomplete {
        /// The section that is not whole in the file.
        section: &'static str,
    },
    /// A section that should be text is not.
    #[error("the file's {section} section is not UTF-8 text")]
    NotText {
        /// The section.
        section: &'static str,
        /// The place at which the section stops being text.
        #[source]
        source: std::str::Utf8Error,
    },
}

impl<'data> Uki<'data> {
    /// Parses the bytes of a file.
    ///
    /// If the UKI has profiles, the result is its base: the sections before the first `.profile`.
    ///
    /// # Errors
    /// See [`UkiError`].
    pub(crate) fn parse(data: &'data [u8]) -> Result<Self, UkiError> {
        let (machine, table) = headers(data).map_err(UkiError::NotPe)?;
        let base = Base { data, table };
        Ok(Self {
            arch: arch(machine),
            linux: base.required(".linux")?,
            initrd: base.required(".initrd")?,
            cmdline: base.text(".cmdline")?,
            uname: base.text(".uname")?,
        })
    }
}

/// Returns the machine that a kernel or UKI is for, by its PE header; `None` if it has none (arm64
/// kernels may be gzip files).
///
/// # Errors
/// If the file cannot be read.
pub(super) fn machine_of(mut file: &File) -> io::Result<Option<pe::Machine>> {
    file.seek(SeekFrom::Start(0))?;
    let mut start = Vec::new();
    // The headers of every kernel are in its first sectors.
    file.take(64 * 1024).read_to_end(&mut start)?;
    Ok(headers(&start).ok().map(|(machine, _)| machine))
}

/// Returns the architecture of that machine; `None` if guests cannot have it.
pub(super) fn arch(machine: pe::Machine) -> Option<Arch> {
    match machine {
        pe::IMAGE_FILE_MACHINE_AMD64 => Some(Arch::X86_64),
        pe::IMAGE_FILE_MACHINE_ARM64 => Some(Arch::Aarch64),
        _ => None,
    }
}

/// Returns the machine and the sections of an EFI program.
fn headers(data: &[u8]) -> object::read::Result<(pe::Machine, SectionTable<'_>)> {
    let mut offset = pe::ImageDosHeader::parse(data)?.nt_headers_offset().into();
    let (nt, _) = pe::ImageNtHeaders64::parse(data, &mut offset)?;
    let sections = nt.sections(data, offset)?;
    Ok((nt.file_header().machine.get(LittleEndian), sections))
}

/// The sections before the first `.profile`.
struct Base<'data> {
    data: &'data [u8],
    table: SectionTable<'data>,
}

impl<'data> Base<'data> {
    fn sections(&self) -> impl Iterator<Item = &'data pe::ImageSectionHeader> {
        self.table
            .iter()
            .take_while(|s| s.raw_name() != b".profile")
    }

    /// Returns the content of the first section of that name; `None` if there is none or it is empty.
    fn find(&self, section: &'static str) -> Result<Option<&'data [u8]>, UkiError> {
        let named = |s: &&pe::ImageSectionHeader| s.raw_name() == section.as_bytes();
        let Some(header) = self.sections().find(named) else {
            return Ok(None);
        };
        // `pe_data` leaves out the padding up to the file's alignment.
        let content = header
            .pe_data(self.data)
            .map_err(|_| UkiError::Incomplete { section })?;
        Ok(Some(content).filter(|c| !c.is_empty()))
    }

    fn required(&self, section: &'static str) -> Result<&'data [u8], UkiError> {
        self.find(section)?.ok_or_else(|| {
            let names: Vec<_> = self
                .sections()
                // A UKI has about ten sections, but the file may claim any number.
                .take(20)
                .map(|s| String::from_utf8_lossy(s.raw_name()))
                .collect();
            UkiError::NoSection {
                section,
                found: if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                },
            }
        })
    }

    /// Returns the text of a section in one line, as systemd-stub hands it to the kernel: spaces
    /// replace control characters, and there are none at either end.
    fn text(&self, section: &'static str) -> Result<Option<String>, UkiError> {
        let Some(bytes) = self.find(section)? else {
            return Ok(None);
        };
        let text =
            std::str::from_utf8(bytes).map_err(|source| UkiError::NotText { section, source })?;
        let line: String = text
            .trim_end_matches('\0')
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        Ok(Some(line.trim().to_owned()).filter(|l| !l.is_empty()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns an EFI program of sections, each 512-byte aligned in the file.
    pub(in super::super) fn efi(machine: pe::Machine, sections: &[(&str, &[u8])]) -> Vec<u8> {
        const ALIGN: usize = 512;
        const OPTIONAL_HEADER: usize = 112;
        let mut out = vec![0_u8; 64];
        out[..2].copy_from_slice(b"MZ");
        out[0x3c] = 64;
        out.extend(b"PE\0\0");
        out.extend(machine.0.to_le_bytes());
        out.extend(u16::try_from(sections.len()).expect("few").to_le_bytes());
        out.extend([0; 12]);
        out.extend(u16::try_from(OPTIONAL_HEADER).expect("fits").to_le_bytes());
        out.extend([0; 2]);
        let optional = out.len();
        out.extend([0; OPTIONAL_HEADER]);
        out[optional..optional + 2].copy_from_slice(&0x20b_u16.to_le_bytes());
        let mut offset = (out.len() + 40 * sections.len()).next_multiple_of(ALIGN);
        for (name, content) in sections {
            let mut raw_name = [0; 8];
            raw_name[..name.len()].copy_from_slice(name.as_bytes());
            out.extend(raw_name);
            let raw = content.len().next_multiple_of(ALIGN);
            // The fields are size and address in memory, then in the file; relocations, line numbers
            // and flags are 0.
            for field in [content.len(), offset, raw, offset, 0, 0, 0, 0] {
                out.extend(u32::try_from(field).expect("fits").to_le_bytes());
            }
            offset += raw;
        }
        for (_, content) in sections {
            out.resize(out.len().next_multiple_of(ALIGN), 0);
            out.extend(*content);
        }
        out.resize(out.len().next_multiple_of(ALIGN), 0);
        out
    }

    const AMD64: pe::Machine = pe::IMAGE_FILE_MACHINE_AMD64;

    #[test]
    fn everything_is_found() {
        let bytes = efi(
            AMD64,
            &[
                (".text", b"stub"),
                (".osrel", b"ID=test\n"),
                (".cmdline", b"root=x\nquiet \0\0"),
                (".uname", b"6.12.43-amd64"),
                (".linux", &[7; 1000]),
                (".initrd", &[9; 513]),
                (".profile", b"ID=other"),
                (".cmdline", b"debug"),
            ],
        );
        let uki = Uki::parse(&bytes).expect("a UKI");
        assert_eq!(uki.arch, Some(Arch::X86_64));
        assert_eq!(uki.cmdline.as_deref(), Some("root=x quiet"));
        assert_eq!(uki.uname.as_deref(), Some("6.12.43-amd64"));
        assert_eq!(uki.linux, [7; 1000]);
        assert_eq!(uki.initrd, [9; 513]);
    }

    #[test]
    fn text_is_optional() {
        let bytes = efi(
            pe::IMAGE_FILE_MACHINE_ARM64,
            &[(".linux", b"k"), (".initrd", b"i")],
        );
        let uki = Uki::parse(&bytes).expect("a UKI");
        assert_eq!(
            (uki.arch, uki.cmdline, uki.uname),
            (Some(Arch::Aarch64), None, None)
        );
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let cut = |len: usize| {
            let mut bytes = efi(AMD64, &[(".linux", &[1; 600]), (".initrd", &[2; 600])]);
            bytes.truncate(len);
            bytes
        };
        for (bytes, expected) in [
            (b"".to_vec(), "the file is not a 64-bit EFI program (PE32+)"),
            (
                b"\x7fELF".to_vec(),
                "the file is not a 64-bit EFI program (PE32+)",
            ),
            (cut(100), "the file is not a 64-bit EFI program (PE32+)"),
            (
                cut(1700),
                "the file is incomplete: its .initrd section goes beyond its end",
            ),
            (
                efi(AMD64, &[(".text", b"x"), (".linux", b"k")]),
                "the file has no .initrd section, which a unified kernel image for a VM needs; it has .text, .linux",
            ),
            (
                efi(AMD64, &[(".linux", b""), (".initrd", b"i")]),
                "the file has no .linux section, which a unified kernel image for a VM needs; it has .linux, .initrd",
            ),
            (
                efi(AMD64, &[]),
                "the file has no .linux section, which a unified kernel image for a VM needs; it has none",
            ),
            (
                efi(
                    AMD64,
                    &[(".linux", b"k"), (".initrd", b"i"), (".cmdline", b"\xff")],
                ),
                "the file's .cmdline section is not UTF-8 text",
            ),
        ] {
            let error = Uki::parse(&bytes).expect_err("an error");
            assert_eq!(error.to_string(), expected);
        }
    }
}
