//! Errors before there is a system.

use std::io;
use std::path::Path;

use thiserror::Error;

/// Something that the guest needs before its system starts could not be done.
#[derive(Debug, Error)]
#[error("cannot {action}: {cause}")]
pub struct EarlyError {
    /// Action that failed, as the end of a sentence.
    action: String,
    cause: io::Error,
}

impl EarlyError {
    pub(super) fn new(action: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self {
            action: action.into(),
            cause: cause.into(),
        }
    }

    /// Makes a function for `map_err` of what is done to `path`: `action` is the verb.
    pub(super) fn with<E: Into<io::Error>>(action: &str, path: &Path) -> impl FnOnce(E) -> Self {
        move |cause| Self::new(format!("{action} {}", path.display()), cause)
    }
}
