//! Files that keep a [`Status`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use serde::Serialize;

use super::{Checkpoint, Event, Failure, Held, Phase, Reset, Status, Timestamp, printable};
use crate::missing::if_exists;
use crate::replace::replace;
use crate::spec::{SnapshotStage, VmName};
use crate::untrusted;

const STATUS: &str = "status.json";
const EVENTS: &str = "events.jsonl";

const RESERVE: &str = "status.reserve";

/// Room for two statuses with a failure as guests usually cause it: the old one goes when the new
/// one is there.
const RESERVED_BYTES: u64 = 64 * 1024;

/// Limit for what the host reads, because a container under hostile control may write anything.
const MAX_STATUS_BYTES: u64 = 512 * 1024;

/// Limit for a text that is written, and for the number of texts of a kind. Guests and images put
/// into these what they like, and all of them, doubled by JSON's escapes, have to be less than the
/// host reads.
const MAX_TEXT_BYTES: usize = 1024;
const MAX_TEXTS: usize = 50;

/// The supervisor's side: the only writer.
#[derive(Debug)]
pub struct StatusWriter {
    dir: PathBuf,
    events: File,
    status: Status,
}

/// Takes room in `dir` for a status, so that a file system which fills up while the VM runs does
/// not leave everybody waiting for news of it. To be called before the VM is started: if there is
/// no room for that, there is none for a VM.
pub fn reserve(dir: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(dir.join(RESERVE))?;
    Ok(fallocate(file, FallocateFlags::empty(), 0, RESERVED_BYTES)?)
}

impl StatusWriter {
    /// Removes what an earlier start of the same container has left in `dir`. To be called before
    /// the supervisor takes its lock: whoever finds that held must not read of an earlier boot.
    pub fn forget(dir: &Path) -> io::Result<()> {
        if_exists(fs::remove_file(dir.join(STATUS))).map(drop)
    }

    /// Starts a history in `dir`, dropping that of an earlier start of the same container.
    pub fn create(dir: &Path) -> io::Result<Self> {
        let events = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(dir.join(EVENTS))?;
        let mut writer = Self {
            dir: dir.to_owned(),
            events,
            status: Status::new(Timestamp::now()),
        };
        writer.enter(Phase::Preparing)?;
        Ok(writer)
    }

    /// Returns the state as last written.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Records that `phase` began now. A phase that is not ahead of the present one is ignored:
    /// reports come from several places, and a VM does not boot backwards.
    pub fn enter(&mut self, phase: Phase) -> io::Result<()> {
        if !self.status.history.is_empty() && phase <= self.status.phase {
            return Ok(());
        }
        let event = Event {
            phase,
            at: Timestamp::now(),
        };
        self.status.phase = phase;
        self.status.since = event.at;
        self.status.history.push(event);
        // The state matters more than the way there, so it is written first.
        self.replace()?;
        self.append(&event)
    }

    /// Records why the VM ends. The first failure is the cause; later ones follow from it.
    pub fn fail(&mut self, failure: Failure) -> io::Result<()> {
        if self.status.failure.is_none() {
            self.status.failure = Some(cut(failure));
        }
        self.replace()
    }

    /// Records the end of the VM, with the exit code of its container.
    pub fn exit(&mut self, code: u8) -> io::Result<()> {
        self.status.exit_code = Some(code);
        self.enter(Phase::Exited)
    }

    /// Records how the commands to execute have ended.
    pub fn executed(&mut self, code: u8) -> io::Result<()> {
        self.status.executed = Some(code);
        self.replace()
    }

    /// Records that the VM was resumed, at this stage.
    pub fn resumed(&mut self, stage: SnapshotStage) -> io::Result<()> {
        self.status.resumed = true;
        self.status.stage = Some(stage);
        self.replace()
    }

    /// Records why there is no resuming: of this VM, or of another one from it.
    pub fn cold(&mut self, why: &str) -> io::Result<()> {
        self.status.cold = Some(cut_text(why));
        self.replace()
    }

    /// Records what differs between the VM's image and that of the snapshot.
    pub fn differs(&mut self, what: &str) -> io::Result<()> {
        self.status.differs = Some(cut_text(what));
        self.replace()
    }

    /// Records something worth telling the user, once.
    pub fn warn(&mut self, warning: String) -> io::Result<()> {
        if self.status.warnings.contains(&warning) {
            return Ok(());
        }
        self.status.warnings.push(warning);
        self.replace()
    }

    /// Records why the VM takes no sessions for now, or that it does again.
    pub fn held(&mut self, held: Option<Held>) -> io::Result<()> {
        self.status.held = held;
        self.replace()
    }

    /// Records the VM's checkpoints, of which `made` is new.
    pub fn checkpoints(
        &mut self,
        all: Vec<Checkpoint>,
        made: Option<&Checkpoint>,
    ) -> io::Result<()> {
        self.status.checkpoints = all;
        self.replace()?;
        match made {
            Some(made) => self.append(&serde_json::json!({"checkpoint": made.name, "at": made.at})),
            None => Ok(()),
        }
    }

    /// Records that the VM was taken back to a checkpoint now, in this many microseconds.
    pub fn reset(&mut self, to: VmName, took: u64) -> io::Result<()> {
        let before = self.status.reset.as_ref().map_or(0, |reset| reset.count);
        let reset = Reset {
            to,
            at: Timestamp::now(),
            took,
            count: before + 1,
        };
        let event = serde_json::json!({"reset": reset.to, "at": reset.at});
        self.status.reset = Some(reset);
        self.replace()?;
        self.append(&event)
    }

    /// Adds a line to the history.
    fn append(&mut self, event: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.events.write_all(&line)
    }

    fn replace(&self) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&self.status)?;
        let write = || replace(&self.dir.join(STATUS), 0o644, &text);
        match write() {
            Err(e) if e.kind() == io::ErrorKind::StorageFull => {
                fs::remove_file(self.dir.join(RESERVE))?;
                write()?;
                // If somebody else takes the room meanwhile, it is gone; the next status then needs luck.
                let _ = reserve(&self.dir);
                Ok(())
            }
            result => result,
        }
    }
}

/// Cuts the failure to as many words as the host reads.
fn cut(failure: Failure) -> Failure {
    let all = |texts: Vec<String>| texts.iter().take(MAX_TEXTS).map(|t| cut_text(t)).collect();
    Failure {
        message: cut_text(&failure.message),
        causes: all(failure.causes),
        hint: failure.hint.as_deref().map(cut_text),
        failed_units: all(failure.failed_units),
        console_tail: all(failure.console_tail),
        ..failure
    }
}

fn cut_text(text: &str) -> String {
    let mut text = printable(text);
    if text.len() > MAX_TEXT_BYTES {
        let end = (0..=MAX_TEXT_BYTES).rfind(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}

/// The host's side: a reader.
#[derive(Debug, Clone)]
pub struct StatusReader {
    path: PathBuf,
}

impl StatusReader {
    /// Reads the status kept in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            path: dir.join(STATUS),
        }
    }

    /// Returns the present state; `None` before the supervisor has written one.
    pub fn read(&self) -> io::Result<Option<Status>> {
        let Some(text) = if_exists(untrusted::read(&self.path, MAX_STATUS_BYTES))? else {
            return Ok(None);
        };
        Ok(Some(serde_json::from_slice(&text)?))
    }

    /// Returns true if a history that begins with `first` is that of the container's first start.
    /// The events of later ones go into the same file. Returns false where the file system does not
    /// say when that file was made.
    #[must_use]
    pub fn is_first_start(&self, first: Timestamp) -> bool {
        /// Longest time between the file's making and the first time stamp.
        const APART: u64 = 1_000_000;
        let made = untrusted::metadata(&self.path.with_file_name(EVENTS)).and_then(|m| m.created());
        made.is_ok_and(|made| Timestamp::from(made).0.abs_diff(first.0) < APART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::FailureKind;

    fn failure(message: &str) -> Failure {
        Failure {
            kind: FailureKind::Guest,
            phase: Phase::Kernel,
            message: message.into(),
            causes: vec![],
            hint: None,
            remedy: None,
            failed_units: vec![],
            console_tail: vec![],
        }
    }

    #[test]
    fn the_host_can_read_whatever_guest_and_image_have_said() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut writer = StatusWriter::create(dir.path()).expect("create");
        let endless = vec!["\"\\\u{1b}é".repeat(1000); 200];
        writer
            .fail(Failure {
                causes: endless.clone(),
                hint: Some(endless.concat()),
                failed_units: endless.clone(),
                console_tail: endless,
                ..failure("message")
            })
            .expect("fail");
        let status = StatusReader::new(dir.path()).read().expect("read");
        let failure = status.and_then(|status| status.failure).expect("a failure");
        assert!(failure.causes[0].ends_with('…') && failure.causes[0].len() < 1030);
    }

    #[test]
    fn a_second_start_is_told_from_the_first() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let reader = StatusReader::new(dir.path());
        assert!(!reader.is_first_start(Timestamp::now()), "no start at all");
        let writer = StatusWriter::create(dir.path()).expect("create");
        let first = writer.status().history[0].at;
        assert!(reader.is_first_start(first));
        assert!(!reader.is_first_start(Timestamp(first.0 + 2_000_000)));
    }

    #[test]
    fn a_reader_sees_what_was_written_and_phases_only_advance() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let reader = StatusReader::new(dir.path());
        assert_eq!(reader.read().expect("read"), None);

        let mut writer = StatusWriter::create(dir.path()).expect("create");
        for phase in [Phase::Qemu, Phase::Userspace, Phase::Initrd, Phase::Ready] {
            writer.enter(phase).expect("enter");
        }
        writer.fail(failure("first")).expect("fail");
        writer.fail(failure("second")).expect("fail");

        let status = reader.read().expect("read").expect("written");
        let phases: Vec<_> = status.history.iter().map(|e| e.phase).collect();
        assert_eq!(
            phases,
            [
                Phase::Preparing,
                Phase::Qemu,
                Phase::Userspace,
                Phase::Ready
            ]
        );
        assert!(status.was_ready());
        assert_eq!(status.failure.expect("failure").message, "first");
        let events = fs::read_to_string(dir.path().join(EVENTS)).expect("events");
        assert_eq!(events.lines().count(), 4);
    }
}
