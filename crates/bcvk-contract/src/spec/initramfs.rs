//! Initramfs that a VM boots through on the way to its image.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SpecError;

/// The initramfs that a VM boots with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Initramfs {
    /// The image's own, as an installed host would.
    #[default]
    Image,
    /// One of bcvk's that does nothing but make the image the root.
    Direct,
}

impl Initramfs {
    /// The word for it on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Direct => "direct",
        }
    }
}

impl FromStr for Initramfs {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        match value {
            "image" => Ok(Self::Image),
            "direct" => Ok(Self::Direct),
            other => Err(SpecError::Initramfs(other.to_owned())),
        }
    }
}
