//! Extent to which a VM repeats the image's boot.

use serde::{Deserialize, Serialize};

use crate::choice;

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

choice!(Fidelity, "a fidelity", { Fast: "fast", Full: "full" });
