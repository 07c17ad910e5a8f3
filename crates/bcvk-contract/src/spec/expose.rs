//! Ports of a guest that its container has too.

use serde::{Deserialize, Serialize};

use crate::choice;

/// Ports of the guest through which its neighbours on the container's network reach it, besides those that
/// are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Expose {
    /// Each port on which something listens, as for a container.
    #[default]
    All,
    /// None.
    None,
}

choice!(Expose, "a rule for ports", { All: "all", None: "none" });
