//! Findings of a check: the kinds there are, and what one says.

use serde::Serialize;

/// Kind of a finding, in the order in which findings are shown: faults first, then notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A unit is in the state "failed".
    FailedUnit,
    /// A service ended and was started again, more than once.
    RestartLoop,
    /// A unit's file is one that systemd cannot use.
    InvalidUnit,
    /// A job of the start has not ended.
    EndlessJob,
    /// systemd deleted a job because units wait for each other.
    OrderingCycle,
    /// The kernel found itself in a state that its authors exclude.
    KernelFault,
    /// A module was asked for that the image does not have.
    MissingModule,
    /// A driver asked for firmware that the image does not have.
    MissingFirmware,
    /// A service was refused a write, because the file system is read-only.
    RefusedWrite,
    /// A service ended and was started again, once.
    Restarted,
    /// A unit took long to start.
    SlowUnit,
    /// The VM was ready later than the last one of this image.
    SlowerBoot,
    /// The kernel logged an error.
    KernelError,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::FailedUnit,
        Self::RestartLoop,
        Self::InvalidUnit,
        Self::EndlessJob,
        Self::OrderingCycle,
        Self::KernelFault,
        Self::MissingModule,
        Self::MissingFirmware,
        Self::RefusedWrite,
        Self::Restarted,
        Self::SlowUnit,
        Self::SlowerBoot,
        Self::KernelError,
    ];

    /// Returns the kind in words, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FailedUnit => "failed unit",
            Self::RestartLoop => "restart loop",
            Self::InvalidUnit => "invalid unit",
            Self::EndlessJob => "endless job",
            Self::OrderingCycle => "ordering cycle",
            Self::KernelFault => "kernel fault",
            Self::MissingModule => "missing module",
            Self::MissingFirmware => "missing firmware",
            Self::RefusedWrite => "refused write",
            Self::Restarted => "restarted",
            Self::SlowUnit => "slow unit",
            Self::SlowerBoot => "slower boot",
            Self::KernelError => "kernel error",
        }
    }

    /// Returns the kind as one word, as patterns and programs have it.
    #[must_use]
    pub fn word(self) -> String {
        self.name().replace(' ', "-")
    }

    /// Returns true if a finding of this kind makes an image unhealthy.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        match self {
            Self::FailedUnit
            | Self::RestartLoop
            | Self::InvalidUnit
            | Self::EndlessJob
            | Self::OrderingCycle
            | Self::KernelFault
            | Self::MissingModule
            | Self::MissingFirmware
            | Self::RefusedWrite => true,
            Self::Restarted | Self::SlowUnit | Self::SlowerBoot | Self::KernelError => false,
        }
    }

    /// Returns the part of the guest's answer that findings of this kind are in; `None` if the host
    /// knows them.
    #[must_use]
    pub const fn source(self) -> Option<Source> {
        match self {
            Self::FailedUnit
            | Self::RestartLoop
            | Self::InvalidUnit
            | Self::Restarted
            | Self::SlowUnit => Some(Source::Units),
            Self::EndlessJob => Some(Source::Jobs),
            Self::OrderingCycle
            | Self::KernelFault
            | Self::MissingModule
            | Self::MissingFirmware
            | Self::RefusedWrite
            | Self::KernelError => Some(Source::Journal),
            Self::SlowerBoot => None,
        }
    }
}

/// Part of the guest's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// State of systemd as a whole.
    Manager,
    /// State of each unit.
    Units,
    /// Jobs that have not ended.
    Jobs,
    /// Journal of the boot.
    Journal,
}

impl Source {
    /// Every part, in the order of the answer.
    pub const ALL: [Self; 4] = [Self::Manager, Self::Units, Self::Jobs, Self::Journal];

    /// Returns the word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Manager => "manager",
            Self::Units => "units",
            Self::Jobs => "jobs",
            Self::Journal => "journal",
        }
    }

    /// Returns the program of the image that tells it.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Manager | Self::Units | Self::Jobs => "systemctl",
            Self::Journal => "journalctl",
        }
    }
}

/// Part of a system that could not be looked at, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// The part.
    pub source: Source,
    /// Reason, as a sentence without its full stop.
    pub reason: String,
}

/// Something that was found of a system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Kind of the finding.
    pub kind: Kind,
    /// Unit, module or file that it is about.
    pub subject: String,
    /// Description, in one line.
    pub text: String,
    /// Lines of the journal that explain it.
    pub lines: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_the_one_that_programs_read() {
        for kind in Kind::ALL {
            let word = serde_json::to_value(kind).expect("serialised");
            assert_eq!(word, kind.word());
        }
        assert!(Kind::ALL.is_sorted(), "in the order of the type");
    }
}
