//! Errors, each in one line.

use std::io;

/// Result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// Reason why a chore could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Ctrl-C, or another of the signals that [`super::interrupt`] takes.
    #[error("interrupted")]
    Interrupted,
    /// The system refused something.
    #[error("cannot {action}: {source}")]
    Io {
        /// Action that was tried, as the end of "cannot".
        action: String,
        /// Answer of the system.
        source: io::Error,
    },
    /// Some cases did not come out as they have to.
    #[error("{failed} of {all} cases failed")]
    Torture {
        /// Number of cases that failed.
        failed: usize,
        /// Number of all cases.
        all: usize,
    },
    /// Everything else.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// Makes a function for `map_err`; `action` is what was tried, as the end of "cannot".
    pub fn io<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |e| Self::Io {
            action,
            source: e.into(),
        }
    }

    /// Makes an error that is only a sentence.
    pub fn other(message: impl Into<String>) -> Self {
        Self::Other(message.into())
    }
}
