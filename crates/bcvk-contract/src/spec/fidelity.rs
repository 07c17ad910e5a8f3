//! Extent to which a VM repeats the image's boot.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SpecError;

/// Choice between a boot that leaves out work for long-lived hosts, and the whole boot of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Fidelity {
    /// It does, and is up sooner.
    #[default]
    Fast,
    /// It boots all that the image does.
    Full,
}

impl Fidelity {
    /// The word for it on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Full => "full",
        }
    }
}

impl FromStr for Fidelity {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        match value {
            "fast" => Ok(Self::Fast),
            "full" => Ok(Self::Full),
            other => Err(SpecError::Fidelity(other.to_owned())),
        }
    }
}
