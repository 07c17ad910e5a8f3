//! This program as it travels into an initramfs, which may have other libraries, or none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use object::Endianness;
use object::elf::{DT_SONAME, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};

use super::cpio::Archive;
use crate::guest::early::{BIN, INIT};
use crate::missing::if_exists;

/// Its own name there.
const NAME: &str = "bcvk";

/// A program with the libraries that it is linked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// The executable, without what only a debugger reads.
    executable: Vec<u8>,
    /// The dynamic loader, as the executable names it; a static one has none.
    loader: Option<PathBuf>,
    /// The loader among them.
    libraries: Vec<Library>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Library {
    /// The name under which it is looked for.
    name: String,
    /// The directory of the host's that it is from.
    directory: PathBuf,
    content: Vec<u8>,
}

impl Program {
    /// The one that is running.
    ///
    /// # Errors
    /// If its own files cannot be read.
    pub(crate) fn running() -> io::Result<Self> {
        let path = PathBuf::from(crate::spec::CONTAINER_EXE);
        let maps = String::new();
        let mut executable = fs::read(&path)?;
        let (loader, length) = loader_and_length(&executable).map_err(io::Error::other)?;
        executable.truncate(length);
        let mut libraries = Vec::new();
        for mapped in mapped_files(&maps).into_iter().filter(|file| *file != path) {
            libraries.extend(Library::read(mapped)?);
        }
        Ok(Self {
            executable,
            loader,
            libraries,
        })
    }

    /// The words that run it where `dir` has it with its libraries, among a guest's own.
    #[must_use]
    pub(crate) fn command(&self, dir: &str) -> String {
        match self.loader.as_deref().and_then(Path::file_name) {
            Some(loader) => {
                let loader = loader.display();
                format!("{dir}/{loader} --library-path {dir} {dir}/{NAME}")
            }
            None => format!("{dir}/{NAME}"),
        }
    }

    /// Adds it to an archive.
    ///
    /// # Errors
    /// As [`Archive::file`].
    pub(crate) fn add(&self, archive: &mut Archive) -> io::Result<()> {
        archive.file(&format!("{BIN}/{NAME}"), 0o755, &self.executable)?;
        for library in &self.libraries {
            archive.file(&format!("{BIN}/{}", library.name), 0o755, &library.content)?;
        }
        Ok(())
    }

    /// Adds it as the first process of an initramfs that has nothing else. Loader and libraries are
    /// where they are on the host, because that is where they are looked for.
    ///
    /// # Errors
    /// As [`Archive::file`].
    pub(crate) fn add_as_init(&self, archive: &mut Archive) -> io::Result<()> {
        self.add(archive)?;
        archive.symlink(INIT, &format!("{BIN}/{NAME}"))?;
        for merged in ["lib", "lib64"] {
            archive.symlink(merged, &format!("usr/{merged}"))?;
        }
        let places = self.libraries.iter().map(|l| l.directory.join(&l.name));
        let mut places: Vec<PathBuf> = places.chain(self.loader.clone()).map(in_usr).collect();
        places.sort();
        places.dedup();
        for place in places {
            let name = place.file_name().unwrap_or_default().display();
            archive.symlink(&place.to_string_lossy(), &format!("{BIN}/{name}"))?;
        }
        Ok(())
    }
}

impl Library {
    /// `None` if the file is something else that was mapped.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let Some(content) = if_exists(fs::read(path))?.filter(|c| c.starts_with(b"\x7fELF")) else {
            return Ok(None);
        };
        let file_name = || path.file_name()?.to_str().map(str::to_owned);
        let name = soname(&content).map_err(io::Error::other)?;
        Ok(name.or_else(file_name).map(|name| Self {
            name,
            directory: path.parent().unwrap_or(path).to_owned(),
            content,
        }))
    }
}

/// The files in a process's memory map (proc_pid_maps(5)), each once.
fn mapped_files(maps: &str) -> Vec<&Path> {
    let mut files: Vec<&Path> = maps
        .lines()
        .filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])))
        .collect();
    files.sort();
    files.dedup();
    files
}

/// What is in `/lib` or `/lib64` is in `/usr`, as file-hierarchy(7) has it.
fn in_usr(path: PathBuf) -> PathBuf {
    if path.starts_with("/lib") || path.starts_with("/lib64") {
        Path::new("/usr").join(path.strip_prefix("/").unwrap_or(&path))
    } else {
        path
    }
}

/// The loader that an executable asks for, and how much of it gets into memory: what follows is for
/// debuggers, and more than ten times as much if it was built for them.
fn loader_and_length(executable: &[u8]) -> object::read::Result<(Option<PathBuf>, usize)> {
    let header = FileHeader64::<Endianness>::parse(executable)?;
    let endian = header.endian()?;
    let (mut loader, mut end) = (None, 0);
    for segment in header.program_headers(endian, executable)? {
        if let Some(path) = segment.interpreter(endian, executable)? {
            loader = Some(PathBuf::from(String::from_utf8_lossy(path).into_owned()));
        }
        let (offset, size) = segment.file_range(endian);
        end = end.max(offset.saturating_add(size));
    }
    Ok((loader, usize::try_from(end).unwrap_or(usize::MAX)))
}

/// The name that whoever is linked with a library looks for it by.
fn soname(library: &[u8]) -> object::read::Result<Option<String>> {
    let header = FileHeader64::<Endianness>::parse(library)?;
    let endian = header.endian()?;
    let table = header
        .sections(endian, library)?
        .dynamic_table(endian, library)?;
    match table.iter().find(|entry| entry.tag == DT_SONAME) {
        Some(entry) => {
            let name = table.string(entry)?;
            Ok(Some(String::from_utf8_lossy(name).into_owned()))
        }
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_brings_along_what_it_is_linked_with() {
        let program = Program::running().expect("this test");
        let names: Vec<&str> = program.libraries.iter().map(|l| l.name.as_str()).collect();
        assert!(names.contains(&"libc.so.6"), "{names:?}");
        let loader = program.loader.as_deref().and_then(Path::file_name);
        let loader = loader.and_then(|name| name.to_str()).expect("a loader");
        assert!(names.contains(&loader), "{loader} is not in {names:?}");
        let whole = fs::metadata("/proc/self/exe").expect("this test").len();
        assert!((program.executable.len() as u64) < whole);
    }

    /// As an initramfs has it: nothing but what was brought along.
    #[test]
    fn what_was_brought_along_is_enough_to_run() {
        let program = Program::running().expect("this test");
        let dir = tempfile::tempdir().expect("a directory");
        let place = |name: &str, content: &[u8]| {
            use std::os::unix::fs::PermissionsExt;

            let path = dir.path().join(name);
            fs::write(&path, content).expect("written");
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("set");
        };
        place(NAME, &program.executable);
        for library in &program.libraries {
            place(&library.name, &library.content);
        }
        let command = program
            .command(BIN)
            .replace(BIN, &dir.path().to_string_lossy());
        let mut words = command.split(' ');
        let output = std::process::Command::new(words.next().expect("a word"))
            .args(words)
            .arg("--help")
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{output:?}");
    }

    #[test]
    fn mapped_files_are_told_from_other_memory() {
        let maps = "1-2 r--p 0 fe:00 7          /usr/bin/a b\n\
                    2-3 rw-p 0 00:00 0\n\
                    3-4 r-xp 0 fe:00 7          /usr/bin/a b\n\
                    4-5 rw-p 0 00:00 0          [heap]\n\
                    5-6 r--p 0 fe:00 8          /usr/lib/libc.so.6\n";
        let files = mapped_files(maps);
        assert_eq!(files, ["/usr/bin/a b", "/usr/lib/libc.so.6"].map(Path::new));
    }

    #[test]
    fn libraries_are_in_usr() {
        for (path, usr) in [
            (
                "/lib64/ld-linux-x86-64.so.2",
                "/usr/lib64/ld-linux-x86-64.so.2",
            ),
            (
                "/lib/ld-linux-aarch64.so.1",
                "/usr/lib/ld-linux-aarch64.so.1",
            ),
            ("/usr/lib/libc.so.6", "/usr/lib/libc.so.6"),
            ("/library/x", "/library/x"),
        ] {
            assert_eq!(in_usr(path.into()), Path::new(usr));
        }
    }
}
