//! Files that a VM is to write where the user wants them, and their removal if no VM comes about.

#![allow(clippy::disallowed_methods, reason = "opens files of the user's")]

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::FileError;

/// Files and directories that did not exist before, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct CreatedFiles {
    files: Vec<PathBuf>,
    dirs: Vec<PathBuf>,
}

impl CreatedFiles {
    /// Remembers a file that is about to be made.
    pub(crate) fn record_file(&mut self, path: &Path) {
        self.files.push(path.to_owned());
    }

    /// Makes the file unless it exists.
    pub(crate) fn make_file(&mut self, path: &Path) -> Result<(), FileError> {
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(_) => {
                self.record_file(path);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(unusable(path)(e)),
        }
    }

    /// Makes the directory and its parents, unless they exist.
    pub(crate) fn make_dir(&mut self, path: &Path) -> Result<(), FileError> {
        let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.exists()).collect();
        for dir in missing.into_iter().rev() {
            fs::create_dir(dir).map_err(unusable(path))?;
            self.dirs.push(dir.to_owned());
        }
        Ok(())
    }

    /// Removes the files, and those directories that nothing else is in by now.
    pub(crate) fn undo(&mut self) {
        // A file that somebody else has removed needs no removal.
        for file in self.files.drain(..) {
            let _ = fs::remove_file(file);
        }
        for dir in self.dirs.drain(..).rev() {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// Returns the file that output is to go to: a regular file, or one that does not exist yet in a
/// directory that does.
///
/// # Errors
/// [`FileError::Output`].
pub fn output_file(path: &Path, cwd: &Path) -> Result<PathBuf, FileError> {
    let absolute = cwd.join(path);
    let resolve = || match fs::canonicalize(&absolute) {
        Ok(found) if !fs::metadata(&found)?.is_file() => Err(io::Error::other(
            "it is not a regular file (a VM's output goes to those alone)",
        )),
        Ok(found) => OpenOptions::new().write(true).open(&found).map(|_| found),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let parent = absolute.parent().map(fs::canonicalize).transpose()?;
            let parts = parent.zip(absolute.file_name());
            parts.map(|(dir, name)| dir.join(name)).ok_or(e)
        }
        Err(e) => Err(e),
    };
    resolve().map_err(unusable(path))
}

/// Returns the directory that logs are to go to, which need not exist yet.
///
/// # Errors
/// [`FileError::Output`] if the path is something else.
pub fn output_directory(path: &Path, cwd: &Path) -> Result<PathBuf, FileError> {
    let absolute = cwd.join(path);
    match fs::metadata(&absolute) {
        Ok(found) if found.is_dir() => fs::canonicalize(&absolute),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => std::path::absolute(&absolute),
        Err(e) => Err(e),
    }
    .map_err(unusable(path))
}

fn unusable(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Output { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_is_undone() {
        let tmp = tempfile::tempdir().expect("temporary directory");
        let at = |name: &str| tmp.path().join(name);
        fs::write(at("old"), "old").expect("write");
        let mut created = CreatedFiles::default();
        created.make_file(&at("old")).expect("exists");
        created.make_file(&at("new")).expect("made");
        created.make_dir(&at("a/b")).expect("made");
        created.make_dir(&at("c/d")).expect("made");
        fs::write(at("c/mine"), "mine").expect("write");
        assert!(at("new").exists() && at("a/b").exists());
        created.undo();
        assert_eq!(fs::read_to_string(at("old")).expect("read"), "old");
        assert!(!at("new").exists() && !at("a").exists() && !at("c/d").exists());
        assert!(at("c/mine").exists());
    }

    #[test]
    fn output_goes_to_regular_files() {
        let tmp = tempfile::tempdir().expect("temporary directory");
        let cwd = tmp.path().canonicalize().expect("a path");
        let file = |name: &str| output_file(Path::new(name), &cwd);
        assert_eq!(file("new").expect("a file"), cwd.join("new"));
        for other in [".", "/dev/null", "no/file", "/"] {
            assert!(
                matches!(file(other), Err(FileError::Output { .. })),
                "{other}"
            );
        }
        fs::write(cwd.join("file"), "").expect("write");
        let dir = |name: &str| output_directory(Path::new(name), &cwd);
        assert_eq!(dir("a/b").expect("a directory"), cwd.join("a/b"));
        assert!(matches!(dir("file"), Err(FileError::Output { .. })));
    }
}
