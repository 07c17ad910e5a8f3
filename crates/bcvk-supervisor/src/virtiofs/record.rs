//! Record of what a guest looks at, while it boots to be saved.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// The file for what has been looked at when the guest is saved before it mounts the image. It is
    /// locked too.
    pub early: Option<PathBuf>,
    /// Digest of all that was made of the image for the guest.
    pub given: Sha256Digest,
    /// Files of the image that the guest has been given.
    pub files: Vec<PathBuf>,
}

/// Text that is in no trace.
const SPOILED: &[u8] = b"\n!\n";

/// Record of what a guest looks at.
#[derive(Debug)]
pub(super) struct Record {
    /// `None` once the guest has been saved.
    recording: Mutex<Option<Recording>>,
    /// The file with the trace of a guest that was saved.
    written: Mutex<Option<File>>,
}

#[derive(Debug)]
struct Recording {
    asked: Asked,
    given: Sha256Digest,
    output: Output,
    early: Option<Output>,
    /// The file of the output once more, without the lock.
    again: File,
}

/// A file that a trace is written to.
#[derive(Debug)]
struct Output {
    file: File,
    /// Sign that the file is not whole.
    lock: Lock,
}

impl Record {
    /// Begins to record for `options`, before the server has lost the way to the file.
    pub(super) fn begin(options: &TraceOptions) -> io::Result<Self> {
        let mut asked = Asked::new(ROOT_ID);
        asked.given(&options.files);
        let recording = Recording {
            asked,
            given: options.given,
            output: Output::open(&options.file)?,
            again: File::options().append(true).open(&options.file)?,
            early: options.early.as_deref().map(Output::open).transpose()?,
        };
        Ok(Self {
            recording: Mutex::new(Some(recording)),
            written: Mutex::default(),
        })
    }

    pub(super) fn add(&self, ask: impl FnOnce(&mut Asked)) {
        if let Some(recording) = &mut *self.recording() {
            ask(&mut recording.asked);
        }
    }

    /// Writes what was recorded before the guest has mounted the image, and goes on recording.
    pub(super) fn write_early(&self) {
        let mut recording = self.recording();
        if let Some(recording) = &mut *recording
            && let Some(output) = recording.early.take()
        {
            write(recording.asked.clone(), recording.given, output);
        }
    }

    /// Writes what was recorded, and ends. Whoever has been saved twice since it has mounted the image
    /// has looked at more than was written at first: its trace is spoiled.
    pub(super) fn end(&self) {
        let recording = self.recording().take();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(recording) = recording {
            *written = Some(recording.again);
            write(recording.asked, recording.given, recording.output);
        } else if let Some(mut file) = written.take()
            && let Err(error) = file.write_all(SPOILED)
        {
            tracing::warn!(%error, "a trace that is not complete could not be spoiled");
        }
    }

    fn recording(&self) -> MutexGuard<'_, Option<Recording>> {
        // A panic leaves nothing half done that matters: a file server that panics ends.
        self.recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a trace, without anybody waiting for it: the guest goes on meanwhile.
fn write(asked: Asked, given: Sha256Digest, output: Output) {
    threads::spawn_with_rights(move || {
        let written = asked
            .answered(Path::new("/"), given)
            .and_then(|trace| output.write(&trace.to_json()?));
        if let Err(error) = written {
            tracing::info!(%error, "what the boot has looked at is not known");
        }
    });
}

impl Output {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).open(path)?;
        let lock = Lock::exclusive(file.try_clone()?)?;
        Ok(Self { file, lock })
    }

    fn write(mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all(text)?;
        drop(self.lock);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bcvk_contract::bounded;
    use bcvk_contract::snapshot::MAX_TRACE;

    use super::*;
    use crate::trace::Trace;

    /// Waits until a trace is whole, and returns it.
    fn trace(path: &Path) -> Option<Trace> {
        let until = Instant::now() + Duration::from_secs(20);
        while File::open(path)
            .and_then(Lock::is_exclusive)
            .expect("there")
        {
            assert!(Instant::now() < until, "it is never whole");
            std::thread::yield_now();
        }
        let text = bounded::read(File::open(path).expect("there"), MAX_TRACE).expect("read");
        Trace::parse(&text.expect("not too long")).ok()
    }

    #[test]
    fn what_is_looked_at_after_the_early_trace_is_in_the_later_one_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let [file, early] = ["later", "early"].map(|name| dir.path().join(name));
        for path in [&file, &early] {
            File::create(path).expect("made");
        }
        let record = Record::begin(&TraceOptions {
            file: file.clone(),
            early: Some(early.clone()),
            given: Sha256Digest([7; 32]),
            files: vec!["/proc/version".into()],
        });
        let record = record.expect("begun");
        record.write_early();
        record.add(|asked| asked.looked_up(ROOT_ID, b"no-such-name", None));
        // A second one would be of a guest that has gone on.
        record.write_early();
        record.end();
        let [later, early] = [&file, &early].map(|path| trace(path).expect("a trace"));
        let has = |trace: &Trace, name: &str| {
            let text = trace.to_json().expect("JSON");
            String::from_utf8(text).expect("text").contains(name)
        };
        assert!(has(&early, "version") && has(&later, "version"));
        assert!(!has(&early, "no-such-name") && has(&later, "no-such-name"));
        assert_eq!(early.given, later.given);
        record.end();
        assert_eq!(trace(&file), None, "it was saved once more");
    }
}
