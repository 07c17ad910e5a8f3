//! This program as it travels into an initramfs, where there may be no libraries for it.

use std::fs;
use std::io;
use std::path::Path;

use bcvk_guest::early::{INIT, PROGRAM};
use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, ProgramHeader};

use super::cpio::Archive;

/// A static program, without the parts that only a debugger reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program(Vec<u8>);

impl Program {
    /// Reads the program in the file `path`.
    ///
    /// # Errors
    /// If the file cannot be read, or is no program that runs without a loader.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let mut executable = fs::read(path)?;
        let length = loaded_length(&executable).map_err(io::Error::other)?;
        executable.truncate(length.ok_or_else(|| io::Error::other("it is not static"))?);
        Ok(Self(executable))
    }

    /// Adds the program to an archive.
    ///
    /// # Errors
    /// The same as for [`Archive::file`].
    pub(crate) fn add(&self, archive: &mut Archive) -> io::Result<()> {
        archive.file(PROGRAM, 0o755, &self.0)
    }

    /// Adds the program as the first process of an initramfs that has nothing else.
    ///
    /// # Errors
    /// The same as for [`Archive::file`].
    pub(crate) fn add_as_init(&self, archive: &mut Archive) -> io::Result<()> {
        self.add(archive)?;
        archive.symlink(INIT, PROGRAM)
    }
}

/// Returns the length of the part of an executable that gets into memory; `None` if it asks for a
/// loader. The rest is for debuggers, and more than ten times as long if the program was built for
/// them.
fn loaded_length(executable: &[u8]) -> object::read::Result<Option<usize>> {
    let header = FileHeader64::<Endianness>::parse(executable)?;
    let endian = header.endian()?;
    let mut end = 0;
    for segment in header.program_headers(endian, executable)? {
        if segment.interpreter(endian, executable)?.is_some() {
            return Ok(None);
        }
        let (offset, size) = segment.file_range(endian);
        end = end.max(offset.saturating_add(size));
    }
    Ok(Some(usize::try_from(end).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    /// The program runs as in an initramfs: it is the one file in an empty root.
    #[test]
    fn a_program_runs_without_its_debug_information() {
        let this = env::current_exe().expect("this test");
        let Program(executable) = Program::read(&this).expect("this test");
        let whole = fs::metadata(&this).expect("this test").len();
        assert!((executable.len() as u64) < whole);
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("bcvk");
        fs::write(&place, executable).expect("written");
        fs::set_permissions(&place, PermissionsExt::from_mode(0o755)).expect("set");
        let output = Command::new(place).arg("--help").output();
        let output = output.expect("it starts");
        assert!(output.status.success(), "{output:?}");
    }

    #[test]
    fn a_program_with_a_loader_is_refused() {
        let error = Program::read(Path::new("/usr/bin/env")).expect_err("it is dynamic");
        assert_eq!(error.to_string(), "it is not static");
    }
}
