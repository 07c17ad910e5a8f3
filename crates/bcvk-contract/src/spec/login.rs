//! The user's way into a guest, and when it counts as open.

use serde::{Deserialize, Serialize};

use crate::choice;

/// Way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Login {
    /// It is bcvk's own, and depends on nothing of the image's.
    #[default]
    Own,
    /// It is the image's sshd, over the guest's network, as for a stranger with a key.
    Image,
}

choice!(Login, "a way in", { Own: "own", Image: "image" });

/// Moment from which on a VM that its user logs in to is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Ready {
    /// The moment at which a deployed host's sshd would answer: after `network.target`.
    #[default]
    Deployed,
    /// The first moment at which a session is possible, while the system still starts.
    Early,
}

choice!(Ready, "a moment", { Deployed: "deployed", Early: "early" });
