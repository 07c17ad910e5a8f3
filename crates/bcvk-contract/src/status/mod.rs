//! Progress and end of a VM: written by the supervisor, read by the host without `podman exec`.
//!
//! `status.json` is the present state, replaced in one step, so a reader sees all of one state or
//! all of the next. `events.jsonl` is the way there, one [`Event`] a line. `status.reserve` is room
//! for the next state on a file system that is full.

mod printable;
mod store;

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::spec::{SnapshotStage, VmName};

pub use printable::{PrintableStream, TextStream, printable, steers};
pub use store::StatusReader;
pub use store::{StatusWriter, reserve};

/// Phase of a VM. The order is that of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The supervisor runs and looks at the image.
    Preparing,
    /// QEMU has been executed.
    Qemu,
    /// The guest's kernel printed its first byte.
    Kernel,
    /// The initramfs has mounted the image as its root.
    Initrd,
    /// The image's own systemd runs.
    Userspace,
    /// The first session is possible, while the system still starts.
    Reachable,
    /// The VM is what its user wants: a login is answered as on a deployed host, or the system is up.
    Ready,
    /// The VM was asked to power off.
    Stopping,
    /// QEMU has ended.
    Exited,
}

impl Phase {
    /// Describes the phase to the user.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Qemu => "starting the kernel",
            Self::Kernel => "kernel",
            Self::Initrd => "initramfs",
            Self::Userspace => "starting services",
            Self::Reachable => "first session possible",
            Self::Ready => "ready",
            Self::Stopping => "shutting down",
            Self::Exited => "ended",
        }
    }
}

/// The state of one VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Status {
    /// Phase that the VM has reached.
    pub phase: Phase,
    /// Time at which that phase began.
    pub since: Timestamp,
    /// Time at which each phase so far began.
    pub history: Vec<Event>,
    /// Failure that ended the VM, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Exit code of the commands that the VM was to execute, once they have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executed: Option<u8>,
    /// Exit code of the container, once its VM has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// True if the VM was resumed from a snapshot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
    /// Moment of a boot that the VM was resumed at, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<SnapshotStage>,
    /// Reason why the VM was booted although there was a snapshot, or why none could be made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold: Option<String>,
    /// Difference between the VM's image and that of the snapshot, because of which it was booted, or
    /// resumed from the early stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
    /// Things worth telling the user that are no failure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Reason why the VM takes no sessions at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// Checkpoints of the VM, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<Checkpoint>,
    /// The last time that the VM was taken back to a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
}

impl Status {
    /// Returns the warnings with which the image's sshd says why it lets nobody in ([`refusal`]).
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        let warnings = self.warnings.iter();
        warnings
            .filter(|warning| warning.starts_with(REFUSAL))
            .cloned()
            .collect()
    }

    /// The state of a VM of which nothing is known but the time.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            phase: Phase::Preparing,
            since: now,
            history: Vec::new(),
            failure: None,
            executed: None,
            exit_code: None,
            resumed: false,
            stage: None,
            cold: None,
            differs: None,
            warnings: Vec::new(),
            held: None,
            checkpoints: Vec::new(),
            reset: None,
        }
    }

    /// Returns true if the VM was ready at some time.
    #[must_use]
    pub fn was_ready(&self) -> bool {
        self.history.iter().any(|e| e.phase == Phase::Ready)
    }

    /// Returns when `phase` began, if it did.
    #[must_use]
    pub fn began(&self, phase: Phase) -> Option<Timestamp> {
        self.history.iter().find(|e| e.phase == phase).map(|e| e.at)
    }
}

/// A phase and when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// The phase that began.
    pub phase: Phase,
    /// Time of the event.
    pub at: Timestamp,
}

/// Work for which a VM takes no sessions, with the name of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// It is saved.
    Checkpoint(VmName),
    /// It is taken back.
    Reset(VmName),
}

/// A state to which a running VM can be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Checkpoint {
    /// Name of the checkpoint among those of its VM.
    pub name: VmName,
    /// Time at which it was made.
    pub at: Timestamp,
    /// Bytes that it takes up on the host.
    pub size: u64,
    /// Microseconds for which the guest stood still.
    pub stood_still: u64,
}

/// A return of a VM to one of its checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reset {
    /// Name of the checkpoint.
    pub to: VmName,
    /// Time at which the guest ran again.
    pub at: Timestamp,
    /// Microseconds from the request until then.
    pub took: u64,
    /// Number of resets of this VM so far.
    pub count: u64,
}

/// Microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Returns the present, to be shown: nothing waits by it.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place")]
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// Returns the seconds since `earlier`; zero if the clock went backwards.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> f64 {
        std::time::Duration::from_micros(self.0.saturating_sub(earlier.0)).as_secs_f64()
    }

    /// Returns the seconds since `earlier` without the digits that a binary fraction adds to microseconds.
    #[must_use]
    pub fn rounded_seconds_since(self, earlier: Self) -> f64 {
        (self.seconds_since(earlier) * 1e6).round() / 1e6
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

/// Failure of a VM, in words for its user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failure {
    /// Kind of the failure; the CLI chooses hint and exit code by it.
    pub kind: FailureKind,
    /// The phase in which it happened.
    pub phase: Phase,
    /// One sentence without a full stop.
    pub message: String,
    /// Causes of the failure, outermost first.
    #[serde(default)]
    pub causes: Vec<String>,
    /// Advice that mends it, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Other way to start the VM that mends it, or avoids it, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
    /// Units that the guest reported as failed, with their last messages.
    #[serde(default)]
    pub failed_units: Vec<String>,
    /// The last lines of the guest's console, without control characters.
    #[serde(default)]
    pub console_tail: Vec<String>,
}

impl Failure {
    /// Returns the message, with the phase in which the VM was if it had begun to run.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self.phase {
            Phase::Preparing => self.message.clone(),
            phase => format!("{} (phase: {})", self.message, phase.describe()),
        }
    }
}

/// Other way to start a VM. The command line knows by which options that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    /// Without a configuration for Ignition.
    WithoutIgnition,
    /// Without user data for cloud-init.
    WithoutCloudInit,
    /// Without SSH, and with its console shown.
    WithoutSsh,
    /// With bcvk's own way in instead of the image's.
    OwnLogin,
    /// Booted if it cannot be resumed.
    BootIfNeeded,
    /// Booted instead of resumed.
    Boot,
}

/// Returns the causes of an error, outermost first, for [`Failure::causes`].
#[must_use]
pub fn causes(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(error.source(), |&cause| cause.source())
        .map(ToString::to_string)
        .collect()
}

/// Beginning of a warning with which the image's sshd says why it lets nobody in.
const REFUSAL: &str = "the image's sshd: ";

/// Returns the warning for a reason of the image's sshd.
#[must_use]
pub fn refusal(why: &str) -> String {
    format!("{REFUSAL}{why}")
}

/// Advice for where something on the host was killed and nobody says by whom.
pub const OUT_OF_MEMORY: &str = "the kernel kills what is large when memory is short: `journalctl -k -g 'Out of memory'` shows \
     whether it did";

/// Kinds of failure that differ in what a user should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The image lacks what a VM needs (kernel, systemd, sshd).
    Image,
    /// The container or a process in it could not do its part.
    Host,
    /// The guest gave up: panic, emergency mode, power-off before it was ready.
    Guest,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::examples::status;

    #[test]
    fn a_status_knows_when_each_phase_began() {
        let booting = status(&[
            (Phase::Preparing, 10),
            (Phase::Qemu, 12),
            (Phase::Kernel, 13),
        ]);
        assert_eq!(booting.began(Phase::Qemu), Some(Timestamp(12_000_000)));
        assert_eq!(booting.began(Phase::Ready), None);
        assert!(!booting.was_ready());
        let ended = status(&[
            (Phase::Ready, 20),
            (Phase::Stopping, 30),
            (Phase::Exited, 31),
        ]);
        assert!(ended.was_ready());
    }

    #[test]
    fn only_what_an_sshd_says_is_a_refusal() {
        let refused = refusal("no root here");
        let warnings = vec!["the console is long".to_owned(), refused.clone()];
        let status = Status {
            warnings,
            ..status(&[(Phase::Ready, 1)])
        };
        assert_eq!(status.refusals(), [refused]);
    }

    #[test]
    fn times_are_shown_to_the_microsecond_and_never_negative() {
        let (early, late) = (Timestamp(1_100_000), Timestamp(1_400_001));
        let seconds = late.rounded_seconds_since(early).to_string();
        assert_eq!(seconds, "0.300001");
        assert_eq!(late.seconds_since(early).to_string(), "0.300001");
        assert_eq!(early.seconds_since(late).to_string(), "0");
        let epoch = UNIX_EPOCH + Duration::from_micros(7);
        assert_eq!(Timestamp::from(epoch), Timestamp(7));
        assert!(Timestamp::now() > Timestamp(1_700_000_000_000_000));
    }

    #[test]
    fn a_failure_names_the_phase_in_which_a_guest_was() {
        let sentence = |phase| {
            let failure = Failure {
                kind: FailureKind::Guest,
                phase,
                message: "it failed".to_owned(),
                causes: Vec::new(),
                hint: None,
                remedy: None,
                failed_units: Vec::new(),
                console_tail: Vec::new(),
            };
            failure.sentence()
        };
        for (phase, expected) in [
            (Phase::Preparing, "it failed"),
            (Phase::Qemu, "it failed (phase: starting the kernel)"),
            (Phase::Kernel, "it failed (phase: kernel)"),
            (Phase::Initrd, "it failed (phase: initramfs)"),
            (Phase::Userspace, "it failed (phase: starting services)"),
            (
                Phase::Reachable,
                "it failed (phase: first session possible)",
            ),
            (Phase::Ready, "it failed (phase: ready)"),
            (Phase::Stopping, "it failed (phase: shutting down)"),
            (Phase::Exited, "it failed (phase: ended)"),
        ] {
            assert_eq!(sentence(phase), expected);
        }
    }

    #[test]
    fn causes_are_listed_outermost_first() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);

        let error = Outer(std::io::Error::other("inner"));
        assert_eq!(causes(&error), ["inner"]);
    }
}
