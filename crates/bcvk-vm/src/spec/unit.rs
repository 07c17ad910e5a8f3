//! systemd units that the user adds to a guest.

use serde::{Deserialize, Serialize};

/// A file of the user's that is put among the guest's units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UnitFile {
    /// Path under `/run/systemd/system`, such as `a.service` or `default.target.wants/a.service`.
    pub path: String,
    /// What is there.
    pub content: UnitContent,
}

/// What a [`UnitFile`] is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnitContent {
    /// A file with this text.
    File(String),
    /// A symbolic link to this path.
    Link(String),
}
