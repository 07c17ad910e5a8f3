//! The words between a VM's life and what carries it out.

use std::time::Instant;

use bcvk_contract::status::Phase;

use crate::children::Role;
use crate::console::Sign;
use crate::problem::Problem;
use bcvk_contract::control::Message;
use bcvk_contract::spec::{Snapshot, SnapshotStage};

/// Something that happened to a VM.
#[derive(Debug)]
pub(crate) enum LifeEvent {
    /// Somebody wants the VM to end: SIGTERM or SIGINT.
    Stop,
    /// The command that the VM belongs to has ended.
    CliGone,
    /// Time has passed.
    Tick,
    /// The image has been looked at.
    Looked(Looked),
    /// The files that QEMU starts with are there.
    Prepared,
    /// The VM cannot be booted.
    CannotBoot(Problem),
    /// All processes have been started.
    Started {
        /// Stages at which the guest is to be saved.
        saves: Saves,
    },
    /// The guest has its names and keys, so that sessions can begin; it is yet to become this VM.
    Known,
    /// The guest runs where its snapshot was taken, and is this VM if its system was up.
    Resumed,
    /// The attempt to resume the VM has failed.
    NotResumed(String),
    /// The guest has been saved.
    Saved,
    /// The guest has not been saved.
    NotSaved(String),
    /// The guest has become this VM.
    Personalized,
    /// The guest has not become this VM.
    NotPersonalized(String),
    /// The user wants the VM to be saved as a checkpoint, or taken back to one.
    Hold,
    /// The hold is over, and the guest goes on.
    LetGo,
    /// The hold is over, and the guest cannot go on.
    Lost(String),
    /// All processes that were killed have ended.
    Cleared,
    /// The console said something that matters.
    Console(Sign),
    /// The guest said something over the control port.
    Control(Message),
    /// sshd sent its banner.
    Banner,
    /// QEMU has taken a press of the power button.
    Pressed,
    /// QEMU has not taken a press of the power button.
    NotPressed(String),
    /// QEMU says that its guest has ended, and ends.
    GuestEnded(GuestEnd),
    /// A file server has ended.
    ServerEnded {
        /// The one that did.
        role: Role,
        /// The way it ended, and its last words.
        how: Vec<String>,
    },
    /// The host has no space left for one of the guest's disks, and QEMU has stopped the guest.
    HostFull {
        /// The disk.
        disk: String,
    },
    /// QEMU has ended.
    QemuEnded(QemuEnd),
    /// There is something worth telling the user.
    Warning(String),
}

/// Stages at which a guest that boots is to be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Saves {
    /// Set if it is saved before it mounts its image.
    pub(crate) early: bool,
    /// Set if it is saved once it is up.
    pub(crate) ready: bool,
}

/// Result of a look at an image before its VM starts.
#[derive(Debug)]
pub(crate) enum Looked {
    /// Nothing is in the way of a snapshot.
    Fit,
    /// The VM can neither be saved nor resumed.
    Obstacle(String),
    /// The snapshot does not hold for the image.
    Differs(String),
}

/// How a guest ended, as QEMU tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuestEnd {
    /// By itself, or by the power button.
    PowerOff,
    /// By a reset, after which an ephemeral VM does not go on.
    Reboot,
    /// By a signal to QEMU, which ends in good order then.
    Signal,
}

/// How QEMU ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QemuEnd {
    /// Set for exit code 0.
    pub(crate) success: bool,
    /// Set for SIGKILL.
    pub(crate) killed: bool,
    /// The way it ended, and its last words.
    pub(crate) how: Vec<String>,
}

/// Something to be done, in the order in which it was asked for.
#[derive(Debug)]
pub(crate) enum Action {
    /// Look at the image for obstacles to a snapshot; answered by [`LifeEvent::Looked`].
    Look,
    /// Run this VM with another use of snapshots.
    UseSnapshot(Option<Snapshot>),
    /// Make the files that QEMU starts with; answered by [`LifeEvent::Prepared`] or a failure.
    Prepare(Start),
    /// Start all processes; answered at once by [`LifeEvent::Started`] or a failure.
    Start(Start),
    /// Give up the rights that starting takes.
    GiveUpRights,
    /// Save the guest; answered by [`LifeEvent::Saved`] or [`LifeEvent::NotSaved`].
    Save(SnapshotStage),
    /// Let the guest go on without a snapshot of it.
    AbandonSaving(SnapshotStage),
    /// Let a guest go on that waits before it mounts its image.
    LetGoOn,
    /// Make the guest this VM; answered by [`LifeEvent::Personalized`] or a failure.
    Personalize,
    /// Carry out the user's request for a checkpoint; answered by [`LifeEvent::LetGo`] or
    /// [`LifeEvent::Lost`].
    CarryOut,
    /// Refuse that request: the VM is not ready.
    Decline,
    /// Press the power button; answered by [`LifeEvent::Pressed`] or [`LifeEvent::NotPressed`].
    PressPowerButton,
    /// Kill QEMU.
    KillQemu,
    /// Kill every process and forget the guest; answered by [`LifeEvent::Cleared`].
    Clear,
    /// Record that a phase began.
    RecordPhase(Phase),
    /// Record why the VM ends.
    RecordFailure(Trouble),
    /// Record the exit code of the commands.
    RecordExecuted(u8),
    /// Record that the VM was resumed at this stage.
    RecordResumed(SnapshotStage),
    /// Record why there is no snapshot, or no use of it.
    RecordCold(String),
    /// Record what differs between the image and that of the snapshot.
    RecordDiffers(String),
    /// Tell the user.
    Warn(String),
    /// End the container.
    Exit {
        /// Its exit code.
        code: u8,
        /// Set if QEMU has ended, so that its output can be read to the end.
        drained: bool,
    },
}

/// The two ways in which a guest starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With its kernel.
    Boot,
    /// From its snapshot.
    Resume,
}

/// A problem and the phase in which it was seen.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) problem: Problem,
    /// The way a process ended; empty if the problem has causes of its own.
    pub(crate) how: Vec<String>,
    pub(crate) phase: Phase,
}

/// Trouble that is told at a certain time, unless it is explained or mended before.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) trouble: Trouble,
    pub(super) until: Instant,
}
