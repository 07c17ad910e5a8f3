//! Way from an error to what the user reads: message, causes, hint, exit code. There is no other one.

mod hint;

use std::fmt;

use bcvk_contract::exit;
use bcvk_contract::status::{self, FailureKind, Phase, printable};
use bcvk_host::{HostError, Operation};
use hint::{hint, podman_hint};

/// Exit code for a request that cannot be met whatever the host's state, as clap has it too.
const USAGE: u8 = 2;

/// Exit code for a limit that was reached, as timeout(1) has it too.
const TIMEOUT: u8 = 124;

/// Hint of errors that `bcvk doctor` would have found.
const DOCTOR: &str = "`bcvk doctor` checks everything that a VM needs here";

/// An error ready to be read.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) message: String,
    pub(super) causes: Vec<String>,
    pub(super) failed_units: Vec<String>,
    pub(super) starting_units: Vec<String>,
    pub(super) console_tail: Vec<String>,
    pub(super) hint: Option<String>,
    /// True if `bcvk doctor` would have found it.
    foreseeable: bool,
    pub(super) code: u8,
}

impl Report {
    pub(super) fn of(error: &HostError) -> Self {
        // Text from outside (guest, image, podman) must not steer the terminal.
        let [failed_units, starting_units, console_tail] =
            guest_words(error).map(|lines| lines.iter().map(|line| printable(line)).collect());
        Self {
            message: printable(&error.to_string()),
            causes: causes(error),
            failed_units,
            starting_units,
            console_tail,
            hint: hint(error).as_deref().map(printable),
            foreseeable: is_foreseeable(error),
            code: code(error),
        }
    }

    /// Returns the hint that mends most, for those who read only one.
    pub(super) fn first_hint(&self) -> Option<String> {
        let doctor = || self.foreseeable.then(|| DOCTOR.to_owned());
        self.hint.clone().or_else(doctor)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        for cause in &self.causes {
            writeln!(f, "  caused by: {cause}")?;
        }
        for (heading, lines) in [
            ("failed units", &self.failed_units),
            ("it was still starting", &self.starting_units),
            ("the console's last lines", &self.console_tail),
        ] {
            if !lines.is_empty() {
                writeln!(f, "  {heading}:")?;
            }
            for line in lines {
                writeln!(f, "    {line}")?;
            }
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "  hint: {hint}")?;
        }
        if self.foreseeable {
            writeln!(f, "  hint: {DOCTOR}")?;
        }
        Ok(())
    }
}

fn causes(error: &HostError) -> Vec<String> {
    let texts: Vec<String> = match error {
        HostError::Vm(failure) => failure.causes.clone(),
        HostError::EndedBefore {
            failure: Some(failure),
            ..
        } => std::iter::once(failure.sentence())
            .chain(failure.causes.clone())
            .collect(),
        HostError::Podman { stderr, .. } | HostError::InGuest { stderr, .. } => {
            stderr.lines().map(str::to_owned).collect()
        }
        other => status::causes(other),
    };
    texts
        .iter()
        .map(|text| printable(text))
        .filter(|text| !text.is_empty())
        .collect()
}

fn is_foreseeable(error: &HostError) -> bool {
    match error {
        HostError::ToolMissing(_)
        | HostError::QemuOutsideUsr(_)
        | HostError::FewOpenFiles { .. }
        | HostError::NoKvm { .. }
        | HostError::VmDir { .. } => true,
        HostError::Podman { action, stderr } => {
            *action == Operation::Start && podman_hint(stderr).is_none()
        }
        _ => false,
    }
}

/// Returns the guest's part in a failure: the units that failed, those that were still starting,
/// and the console's last lines.
fn guest_words(error: &HostError) -> [&[String]; 3] {
    match error {
        HostError::Vm(failure)
        | HostError::EndedBefore {
            failure: Some(failure),
            ..
        } => [&failure.failed_units, &[], &failure.console_tail],
        HostError::SupervisorVanished { console_tail, .. } => [&[], &[], console_tail],
        HostError::ReadyTimeout {
            starting,
            console_tail,
            ..
        }
        | HostError::WaitTimeout {
            starting,
            console_tail,
            ..
        } => [&[], starting, console_tail],
        _ => [&[], &[], &[]],
    }
}

/// Returns the exit code of a command that a signal ended, as shells count it.
pub(crate) fn interrupted(signal: i32) -> u8 {
    exit::SIGNAL.saturating_add(u8::try_from(signal).unwrap_or_default())
}

/// Returns true if the request itself cannot be met, whatever the host's state.
pub(super) fn is_usage(error: &HostError) -> bool {
    code(error) == USAGE
}

/// Returns the exit code for an error. It names every variant, so that a new one gets its code by a
/// decision.
fn code(error: &HostError) -> u8 {
    match error {
        HostError::Spec(_)
        | HostError::ImageName { .. }
        | HostError::ShareSource { .. }
        | HostError::ShareNotDirectory(_)
        | HostError::SshNeeded { .. }
        | HostError::ExecuteOverSsh { .. }
        | HostError::NoEvents(_)
        | HostError::NotResumable(_)
        | HostError::DiskNotRegular(_)
        | HostError::DiskLooksQcow2 { .. }
        | HostError::DiskNotQcow2(_)
        | HostError::DiskHasBacking(_)
        | HostError::Disk { .. }
        | HostError::Units { .. }
        | HostError::NoUnits(_)
        | HostError::Ignition { .. }
        | HostError::OutputFile { .. }
        | HostError::Picture { .. }
        | HostError::PathNotText(_)
        | HostError::Setting { .. } => USAGE,
        HostError::ReadyTimeout { .. } | HostError::WaitTimeout { .. } => TIMEOUT,
        HostError::EndedBefore { .. } | HostError::Stopped => exit::NOT_READY,
        HostError::Interrupted { signal } => interrupted(*signal),
        HostError::Vm(failure) => match failure.kind {
            FailureKind::Image | FailureKind::Host => exit::HOST,
            FailureKind::Guest if failure.phase < Phase::Ready => exit::NOT_READY,
            FailureKind::Guest => exit::FAILED,
        },
        HostError::NoSuchVm { .. }
        | HostError::NotAVm { .. }
        | HostError::NotRunning { .. }
        | HostError::NotReady { .. }
        | HostError::StillRunning { .. }
        | HostError::NoSsh { .. }
        | HostError::UnitNotActive { .. }
        | HostError::InGuest { .. }
        | HostError::NeedsForce => exit::FAILED,
        HostError::NotStatic(_)
        | HostError::ToolMissing(_)
        | HostError::QemuOutsideUsr(_)
        | HostError::UsrNotMerged(_)
        | HostError::FewSubIds { .. }
        | HostError::ImageMissing { .. }
        | HostError::PullFailed { .. }
        | HostError::ImageSteersRuntime { .. }
        | HostError::ImageArch { .. }
        | HostError::NotARunner { .. }
        | HostError::RunnerVersion { .. }
        | HostError::RunnerArch { .. }
        | HostError::SupervisorNotStarted { .. }
        | HostError::NoKvm { .. }
        | HostError::MemoryTooLarge { .. }
        | HostError::FewOpenFiles { .. }
        | HostError::NoSnapshot
        | HostError::NoSuchSnapshot(_)
        | HostError::SnapshotInUse(_)
        | HostError::NameTaken { .. }
        | HostError::Podman { .. }
        | HostError::Io { .. }
        | HostError::VmDir { .. }
        | HostError::SupervisorVanished { .. }
        | HostError::Detached => exit::HOST,
    }
}

#[cfg(test)]
mod every;
