//! Record of what a guest looks at, while it boots to be saved.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bcvk_contract::lock::Lock;
use bcvk_contract::spec::Sha256Digest;
use virtiofsd::filesystem::ROOT_ID;

use crate::threads;
use crate::trace::Asked;

/// Where a trace goes, and what it begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceOptions {
    /// The file. The server has it locked until it is whole.
    pub file: PathBuf,
    /// Digest of all that was made of the image for the guest.
    pub given: Sha256Digest,
    /// Files of the image that the guest has been given.
    pub files: Vec<PathBuf>,
}

/// Record of what a guest looks at.
#[derive(Debug)]
pub(super) struct Record {
    /// `None` once the guest has been saved.
    recording: Mutex<Option<Recording>>,
}

#[derive(Debug)]
struct Recording {
    asked: Asked,
    given: Sha256Digest,
    file: File,
    /// Sign that the file is not whole.
    lock: Lock,
}

impl Record {
    /// Begins to record for `options`, before the server has lost the way to the file.
    pub(super) fn begin(options: &TraceOptions) -> io::Result<Self> {
        let file = File::options().write(true).open(&options.file)?;
        let mut asked = Asked::new(ROOT_ID);
        asked.given(&options.files);
        let recording = Recording {
            asked,
            given: options.given,
            lock: Lock::exclusive(file.try_clone()?)?,
            file,
        };
        Ok(Self {
            recording: Mutex::new(Some(recording)),
        })
    }

    pub(super) fn add(&self, ask: impl FnOnce(&mut Asked)) {
        // A panic leaves nothing half done that matters: a file server that panics ends.
        let mut recording = self
            .recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(recording) = &mut *recording {
            ask(&mut recording.asked);
        }
    }

    /// Writes what was recorded, without anybody waiting for it: the guest goes on meanwhile.
    pub(super) fn end(&self) {
        let recording = self
            .recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(recording) = recording {
            threads::spawn_with_rights(move || {
                if let Err(error) = recording.write() {
                    tracing::info!(%error, "what the boot has looked at is not known");
                }
            });
        }
    }
}

impl Recording {
    fn write(self) -> io::Result<()> {
        let trace = self.asked.answered(Path::new("/"), self.given)?;
        let mut file = self.file;
        file.write_all(&trace.to_json()?)?;
        drop(self.lock);
        Ok(())
    }
}
