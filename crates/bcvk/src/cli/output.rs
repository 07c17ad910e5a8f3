//! The value of `--output`.

use std::str::FromStr;

use bcvk_contract::spec::Stream;

/// What is shown of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Something that the VM says.
    Stream(Stream),
    /// What happens to it, as lines of JSON. For `run` alone: elsewhere, standard output is taken.
    Events,
}

/// How [`Output::Events`] is given.
const EVENTS: &str = "json";

/// A value of `--output` that means nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' cannot be shown: known are console, journal and, for run, json")]
pub(crate) struct OutputError(String);

impl Output {
    /// As it is given.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stream(stream) => stream.name(),
            Self::Events => EVENTS,
        }
    }

    /// The VM's stream, if it is one.
    pub(crate) const fn stream(self) -> Option<Stream> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::Events => None,
        }
    }
}

impl FromStr for Output {
    type Err = OutputError;

    fn from_str(value: &str) -> Result<Self, OutputError> {
        match value {
            EVENTS => Ok(Self::Events),
            stream => stream
                .parse()
                .map(Self::Stream)
                .map_err(|_| OutputError(value.to_owned())),
        }
    }
}
