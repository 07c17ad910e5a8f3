//! The value of `--output`.

use std::str::FromStr;

use bcvk_contract::spec::{Choice, Stream};
use clap::builder::PossibleValue;

use super::words::Words;

/// Output of a VM's that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Something that the VM says.
    Stream(Stream),
    /// Events of the VM's life, as lines of JSON. Only `run` has them: elsewhere, standard output
    /// is taken.
    Events,
}

/// Word for [`Output::Events`] on the command line.
const EVENTS: &str = "json";

/// A value of `--output` that means nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{value}' cannot be shown: known are {} and, for run, {EVENTS}", streams().join(", "))]
pub(crate) struct OutputError {
    value: String,
}

impl Output {
    /// The word for it on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stream(stream) => stream.name(),
            Self::Events => EVENTS,
        }
    }

    /// The stream of the VM's, if it is one.
    pub(crate) const fn stream(self) -> Option<Stream> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::Events => None,
        }
    }
}

impl Words for Output {
    fn words() -> Vec<PossibleValue> {
        let events = PossibleValue::new(EVENTS).hide(true);
        Stream::words().into_iter().chain([events]).collect()
    }
}

fn streams() -> Vec<&'static str> {
    Stream::ALL.iter().map(|stream| stream.name()).collect()
}

impl FromStr for Output {
    type Err = OutputError;

    fn from_str(value: &str) -> Result<Self, OutputError> {
        match value {
            EVENTS => Ok(Self::Events),
            stream => stream.parse().map(Self::Stream).map_err(|_| OutputError {
                value: value.to_owned(),
            }),
        }
    }
}
