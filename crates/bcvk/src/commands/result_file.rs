//! File that a command writes its result to.

use std::io;
use std::path::{Path, PathBuf};

use bcvk_contract::replace::{beside, replace};
use bcvk_host::{FileError, output_file};

use crate::error::{CommandError, UsageError};

/// Permissions of such a file, from which the umask takes some.
const MODE: u32 = 0o666;

/// A file that can be written, and is once there is all of the result.
#[derive(Debug)]
pub(super) struct ResultFile {
    /// The result, in a word.
    what: &'static str,
    path: PathBuf,
}

impl ResultFile {
    /// Checks the file before anything is booted for it: one that cannot be written is an error.
    pub(super) fn at(what: &'static str, path: &Path) -> Result<Self, CommandError> {
        let cwd =
            std::env::current_dir().map_err(CommandError::io("find the current directory"))?;
        let path = output_file(path, &cwd).map_err(|error| match error {
            FileError::Output { path, source } => {
                CommandError::from(UsageError::ResultFile { what, path, source })
            }
            other => other.into(),
        })?;
        let file = Self { what, path };
        // If no file can be made beside the old one, the old one cannot be replaced in one step.
        beside(&file.path, MODE).map_err(|source| file.unusable(source))?;
        Ok(file)
    }

    /// Replaces the file in one step.
    pub(super) fn write(&self, text: &str) -> Result<(), CommandError> {
        replace(&self.path, MODE, text.as_bytes()).map_err(|source| self.unusable(source).into())
    }

    fn unusable(&self, source: io::Error) -> UsageError {
        UsageError::ResultFile {
            what: self.what,
            path: self.path.clone(),
            source,
        }
    }
}
