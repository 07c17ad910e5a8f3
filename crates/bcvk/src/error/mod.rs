//! Error of a command: the message, causes and hints that its user reads, and the exit code. There is
//! no other way from an error to these, and only here do errors name flags.

mod hint;
mod host;
mod own;

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;

use bcvk_contract::exit;
use bcvk_contract::status::{Failure, Phase, causes, printable};
use bcvk_host::HostError;

pub(crate) use own::{RequestError, UsageError};

/// Exit code for a request that cannot be met whatever the host's state, as clap has it too.
const USAGE: u8 = 2;

/// Exit code for a limit that was reached, as timeout(1) has it too.
const TIMEOUT: u8 = 124;

/// Hint of [`Kind::Machine`].
const DOCTOR: &str = "`bcvk doctor` checks everything that a VM needs here";

/// Kind of an error, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An option, or what it names, cannot be used, whatever the host's state.
    Usage,
    /// A VM is not in the state that a request needs.
    Refused,
    /// The image is not here, or lacks what a VM needs.
    Image,
    /// podman, QEMU or this machine could not do their part.
    Host,
    /// This machine lacks something that `bcvk doctor` would have found.
    Machine,
    /// The guest gave up.
    Guest {
        /// True if it had been ready before.
        ready: bool,
    },
    /// The VM ended before what was awaited.
    Ended,
    /// What was awaited did not come in time.
    Timeout,
    /// A signal ended the command.
    Interrupted { signal: i32 },
}

impl Kind {
    fn exit_code(self) -> u8 {
        match self {
            Self::Usage => USAGE,
            Self::Refused | Self::Guest { ready: true } => exit::FAILED,
            Self::Image | Self::Host | Self::Machine => exit::HOST,
            Self::Ended | Self::Guest { ready: false } => exit::NOT_READY,
            Self::Timeout => TIMEOUT,
            Self::Interrupted { signal } => interrupted(signal),
        }
    }
}

/// Returns the exit code of a command that a signal ended, as shells count it.
pub(crate) fn interrupted(signal: i32) -> u8 {
    exit::SIGNAL.saturating_add(u8::try_from(signal).unwrap_or_default())
}

/// Error whose kind and remedy the command line knows. Every variant gets them by a decision.
trait Explain: Error + Send + Sync + 'static {
    fn kind(&self) -> Kind;

    /// Returns what to do about it, if anything can be done: a command, where it can be.
    fn hint(&self) -> Option<String>;

    fn words(&self) -> Words {
        Words::default()
    }
}

/// Words of podman, the supervisor and the guest that explain an error.
#[derive(Debug, Default)]
pub(crate) struct Words {
    /// Phase in which the VM was, if there was one.
    pub(crate) phase: Option<Phase>,
    /// Causes, outermost first.
    pub(crate) causes: Vec<String>,
    pub(crate) failed_units: Vec<String>,
    pub(crate) starting_units: Vec<String>,
    pub(crate) console_tail: Vec<String>,
}

impl Words {
    /// Returns the words for a boot that takes too long.
    fn of_slow_boot(starting_units: &[String], console_tail: &[String]) -> Self {
        Self {
            starting_units: starting_units.to_vec(),
            console_tail: console_tail.to_vec(),
            ..Self::default()
        }
    }
}

impl From<&Failure> for Words {
    fn from(failure: &Failure) -> Self {
        Self {
            phase: Some(failure.phase),
            causes: failure.causes.clone(),
            failed_units: failure.failed_units.clone(),
            starting_units: Vec::new(),
            console_tail: failure.console_tail.clone(),
        }
    }
}

/// Error of a command, ready to be read.
#[derive(Debug)]
pub(crate) struct CommandError {
    pub(crate) kind: Kind,
    error: Box<dyn Error + Send + Sync>,
    /// Remedies; the first mends most.
    pub(crate) hints: Vec<String>,
    pub(crate) words: Box<Words>,
}

impl<E: Explain> From<E> for CommandError {
    fn from(error: E) -> Self {
        let kind = error.kind();
        let doctor = (kind == Kind::Machine).then(|| DOCTOR.to_owned());
        let words = error.words();
        let mut causes = clean(causes(&error).into_iter().chain(words.causes));
        causes.retain(|cause| !cause.is_empty());
        Self {
            kind,
            hints: clean(error.hint().into_iter().chain(doctor)),
            words: Box::new(Words {
                phase: words.phase,
                causes,
                failed_units: clean(words.failed_units),
                starting_units: clean(words.starting_units),
                console_tail: clean(words.console_tail),
            }),
            error: Box::new(error),
        }
    }
}

/// Removes what would steer the terminal from text of outside: the guest's, the image's, podman's.
fn clean(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    lines.into_iter().map(|line| printable(&line)).collect()
}

impl CommandError {
    /// Makes an I/O error that says what was being done.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let error = HostError::io(action);
        move |source| error(source).into()
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.kind.exit_code()
    }

    /// Returns all that the user reads.
    pub(crate) fn report(&self) -> String {
        let mut text = format!("error: {self}\n");
        // Writing into a String cannot fail.
        for cause in &self.words.causes {
            let _ = writeln!(text, "  caused by: {cause}");
        }
        for (heading, lines) in [
            ("failed units", &self.words.failed_units),
            ("it was still starting", &self.words.starting_units),
            ("the console's last lines", &self.words.console_tail),
        ] {
            if !lines.is_empty() {
                let _ = writeln!(text, "  {heading}:");
            }
            for line in lines {
                let _ = writeln!(text, "    {line}");
            }
        }
        for hint in &self.hints {
            let _ = writeln!(text, "  hint: {hint}");
        }
        text
    }
}

/// Writes the message alone.
impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.error.to_string()))
    }
}

impl Error for CommandError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

#[cfg(test)]
mod every;
