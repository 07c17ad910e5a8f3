//! Events of a VM's life, as lines of JSON on standard output: `run --output json`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bcvk_contract::spec::{Accelerator, SnapshotStage};
use bcvk_contract::status::{Phase, Status, TextStream, Timestamp};
use serde::Serialize;

use super::harmless;
use crate::error::{self, CommandError};

/// Version of the format. New keys and events do not change it; readers leave out what they do not
/// know.
const VERSION: u32 = 1;

/// One line of `bcvk ephemeral run --output json`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Line {
    /// Version of the format. New keys and new events do not change it.
    version: u32,
    /// When it happened: microseconds since the Unix epoch.
    at: Timestamp,
    /// When it happened: seconds since bcvk was started.
    seconds: f64,
    #[serde(flatten)]
    event: Event,
}

/// Event of a VM.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "Event", rename_all_fields = "PascalCase")]
pub(crate) enum Event {
    /// podman has started the VM's container.
    Started {
        /// Name of the VM and of its container.
        name: String,
        /// The container's ID.
        id: String,
        image: Image,
        /// Accelerator of the guest: kvm, or tcg, which takes about ten times as long.
        accelerator: Accelerator,
    },
    /// The VM has entered a phase.
    Phase { phase: Phase },
    /// The VM can be used.
    Ready {
        /// The command that logs in; null with --no-ssh-keygen.
        ssh: Option<String>,
        /// A configuration for ssh -F, scp -F and others, in which the VM has its name; null with
        /// --no-ssh-keygen.
        ssh_config: Option<PathBuf>,
        /// True if the VM was resumed from a snapshot.
        resumed: bool,
        /// Moment of a boot at which it was resumed: early, before the image is mounted, or ready.
        stage: Option<SnapshotStage>,
        /// Difference between the image and that of the snapshot, because of which the VM was booted or
        /// resumed early.
        differs: Option<String>,
    },
    /// Something worth knowing that is no failure.
    Warning { message: String },
    /// A command of --execute has written this.
    Output {
        stream: OutputStream,
        /// A piece as it came: all pieces of a stream together are what was written. What is no
        /// UTF-8 is replaced by U+FFFD.
        text: String,
    },
    /// Something went wrong. Ended follows.
    Failed {
        kind: Kind,
        /// One sentence without a full stop.
        message: String,
        /// The phase in which the VM was, if there was one.
        phase: Option<Phase>,
        /// Causes of the failure, outermost first.
        causes: Vec<String>,
        /// Advice that mends it, if it is known.
        hint: Option<String>,
        /// Units that failed in the guest, with their last messages.
        failed_units: Vec<String>,
        /// The last lines of the guest's console, without control characters.
        console_tail: Vec<String>,
    },
    /// The last line.
    Ended {
        /// bcvk's own exit code.
        exit_code: u8,
        /// True if the VM goes on, as it does with --detach.
        running: bool,
    },
}

/// Of what the VM is made.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Image {
    /// Full image ID.
    pub(crate) id: String,
    /// Reference as the user wrote it.
    pub(crate) name: String,
}

/// Where a command has written.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum OutputStream {
    Stdout,
    Stderr,
}

/// Kinds of failure that differ in who can mend them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// An option, or what it names, cannot be used.
    Usage,
    /// The image is not here, or lacks what a VM needs.
    Image,
    /// podman, QEMU or this machine could not do their part.
    Host,
    /// The guest gave up.
    Guest,
    /// The VM was not ready in time.
    Timeout,
    /// Somebody stopped the VM before it was ready.
    Stopped,
    /// A signal came before there was a VM to shut down.
    Interrupted,
}

impl From<error::Kind> for Kind {
    fn from(kind: error::Kind) -> Self {
        match kind {
            error::Kind::Usage => Self::Usage,
            error::Kind::Image => Self::Image,
            error::Kind::Refused | error::Kind::Host | error::Kind::Machine => Self::Host,
            error::Kind::Guest { .. } => Self::Guest,
            error::Kind::Ended => Self::Stopped,
            error::Kind::Timeout => Self::Timeout,
            error::Kind::Interrupted { .. } => Self::Interrupted,
        }
    }
}

/// Writes events, from several threads.
#[derive(Debug)]
pub(crate) struct Events {
    began: Timestamp,
    reported: Mutex<Reported>,
}

/// Record of what has been written.
#[derive(Debug, Default)]
struct Reported {
    /// Number of phases of the VM's history.
    phases: usize,
    /// True once the last line is written.
    end: bool,
}

impl Events {
    pub(super) fn begin() -> Self {
        Self {
            began: Timestamp::now(),
            reported: Mutex::default(),
        }
    }

    /// Reports an event that happens now.
    pub(crate) fn tell(&self, event: Event) {
        // Nothing is lost if a reader that has gone away gets no more events.
        let _ = self.try_tell(event);
    }

    fn try_tell(&self, event: Event) -> io::Result<()> {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&mut reported, Timestamp::now(), event)
    }

    /// Reports the phases that have begun and are not reported yet.
    pub(crate) fn follow(&self, status: &Status) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        for begun in status.history.iter().skip(reported.phases) {
            let phase = begun.phase;
            let _ = self.write(&mut reported, begun.at, Event::Phase { phase });
        }
        reported.phases = reported.phases.max(status.history.len());
    }

    /// Reports why there is, or will be, no VM.
    pub(super) fn fail(&self, error: &CommandError) {
        self.tell(Event::Failed {
            kind: error.kind.into(),
            message: error.to_string(),
            phase: error.words.phase,
            causes: error.words.causes.clone(),
            hint: error.hints.first().cloned(),
            failed_units: error.words.failed_units.clone(),
            console_tail: error.words.console_tail.clone(),
        });
    }

    fn write(&self, reported: &mut Reported, at: Timestamp, event: Event) -> io::Result<()> {
        if reported.end {
            return Ok(());
        }
        reported.end = matches!(event, Event::Ended { .. });
        let line = Line {
            version: VERSION,
            at,
            seconds: at.rounded_seconds_since(self.began),
            event,
        };
        let text = format!("{}\n", harmless(&serde_json::to_string(&line)?));
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }
}

/// Writer that turns a command's output into events.
#[derive(Debug)]
pub(crate) struct OutputEvents {
    events: Arc<Events>,
    stream: OutputStream,
    text: TextStream,
}

impl OutputEvents {
    pub(crate) fn new(events: &Arc<Events>, stream: OutputStream) -> Self {
        Self {
            events: Arc::clone(events),
            stream,
            text: TextStream::default(),
        }
    }

    fn tell(&self, text: String) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let stream = self.stream;
        self.events.try_tell(Event::Output { stream, text })
    }
}

impl Write for OutputEvents {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = self.text.feed(bytes);
        self.tell(text)?;
        Ok(bytes.len())
    }

    /// Ends the text. To be called at the end alone: no character goes on afterwards.
    fn flush(&mut self) -> io::Result<()> {
        let text = self.text.finish();
        self.tell(text)
    }
}
