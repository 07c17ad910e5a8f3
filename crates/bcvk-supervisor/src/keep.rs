//! Files that keep the guest's output. They have a bound, because a guest must not fill the host.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use bcvk_contract::missing::if_exists;
use bcvk_contract::shared::earlier;

use crate::Event;

/// Size at which a log of ours is put aside and begun anew; the VM directory is in memory.
const MAX_LOG_BYTES: u64 = 8 << 20;

/// Most bytes that are written to a file of the user's.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// A log in the VM directory, with one predecessor. A warning tells when earlier output has been
/// lost.
pub(super) struct Log {
    /// Name of the output, for that warning.
    what: &'static str,
    path: PathBuf,
    file: File,
    written: u64,
    begun_anew: u32,
    events: Sender<Event>,
}

impl Log {
    pub(super) fn create(
        what: &'static str,
        path: &Path,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        // An earlier start of the same container may have left this file behind.
        if_exists(fs::remove_file(earlier(path)))?;
        Ok(Self {
            what,
            path: path.to_owned(),
            file: open(path)?,
            written: 0,
            begun_anew: 0,
            events,
        })
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        fs::rename(&self.path, earlier(&self.path))?;
        self.file = open(&self.path)?;
        self.written = 0;
        self.begun_anew = self.begun_anew.saturating_add(1);
        // Nothing is lost yet when the log is begun anew for the first time.
        if self.begun_anew == 2 {
            let text = format!(
                "the {} is long: only its end is kept, 8 MiB at least",
                self.what
            );
            // Nobody listens to a VM that has ended.
            let _ = self.events.send(Event::Warning(text));
        }
        Ok(())
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written + bytes.len() as u64 > MAX_LOG_BYTES {
            self.begin_anew()?;
        }
        let n = self.file.write(bytes)?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of the user's, complete from its first byte up to a limit. A warning tells when it ends
/// there.
pub(super) struct Capped {
    file: File,
    path: PathBuf,
    left: u64,
    events: Sender<Event>,
}

impl Capped {
    /// Begins `container_path` anew, which the user knows as `path`.
    pub(super) fn create(
        container_path: &Path,
        path: PathBuf,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        Ok(Self {
            file: open(container_path)?,
            path,
            left: MAX_FILE_BYTES,
            events,
        })
    }
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let fits = bytes
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if fits == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let written = self.file.write(&bytes[..fits]);
        let cut = match &written {
            Ok(n) => {
                self.left -= *n as u64;
                (self.left == 0).then(|| "it has 1 GiB".to_owned())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => None,
            Err(e) => Some(e.to_string()),
        };
        if let Some(reason) = cut {
            let text = format!("{} is not complete: {reason}", self.path.display());
            // Nobody listens to a VM that has ended.
            let _ = self.events.send(Event::Warning(text));
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn the_log_has_a_bound_and_that_it_was_cut_is_said_once() {
        let (sender, events) = channel();
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("console.log");
        let mut log = Log::create("console", &path, sender).expect("create");
        let block = vec![b'x'; 1 << 20];
        for written in 1..40 {
            log.write_all(&block).expect("write");
            let said = matches!(events.try_recv(), Ok(Event::Warning(_)));
            // The first bytes are lost when the third file begins.
            assert_eq!(said, written == 17, "after {written} MiB");
        }
        let total: u64 = fs::read_dir(dir.path())
            .expect("read")
            .map(|e| e.and_then(|e| e.metadata()).expect("metadata").len())
            .sum();
        assert!(total <= 2 * MAX_LOG_BYTES, "{total}");
        assert_eq!(mode(&path), 0o600);
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("metadata").mode() & 0o777
    }

    #[test]
    fn a_log_is_filled_to_its_bound() {
        let (sender, _events) = channel();
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("console.log");
        fs::write(earlier(&path), "of an earlier start").expect("write");
        let mut log = Log::create("console", &path, sender).expect("create");
        assert!(!earlier(&path).exists());
        let length = |path: &Path| {
            fs::metadata(path)
                .map(|file| file.len())
                .unwrap_or_default()
        };
        let half = vec![b'x'; 4 << 20];
        for _ in 0..2 {
            log.write_all(&half).expect("write");
        }
        assert_eq!((length(&path), length(&earlier(&path))), (8 << 20, 0));
        log.write_all(b"y").expect("write");
        assert_eq!((length(&path), length(&earlier(&path))), (1, 8 << 20));
    }

    #[test]
    fn a_file_of_the_users_is_cut_and_that_is_said_once() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("journal.json");
        let (sender, events) = channel();
        let mut file = Capped::create(&path, path.clone(), sender).expect("create");
        assert_eq!(file.left, 1 << 30);
        file.left = 5;
        assert!(file.write_all(b"1234567").is_err());
        assert!(file.write_all(b"8").is_err());
        assert_eq!(file.write(b"").expect("nothing fits"), 0);
        assert_eq!(fs::read_to_string(&path).expect("read"), "12345");
        assert_eq!(mode(&path), 0o600);
        assert!(matches!(events.try_recv(), Ok(Event::Warning(_))));
        assert!(events.try_recv().is_err());
    }
}
