//! The user's way into a guest, and when it counts as open.

use serde::{Deserialize, Serialize};

use super::VmSpec;
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

/// Sign by which a VM that its user logs in to counts as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachable {
    /// The image's sshd has sent its banner.
    Banner,
    /// A deployed host would answer.
    Answers,
    /// Sessions are possible.
    Sessions,
}

impl VmSpec {
    /// The way into the VM; `None` if nobody logs in.
    #[must_use]
    pub fn login(&self) -> Option<Login> {
        self.ssh.as_ref().map(|ssh| ssh.login)
    }

    /// The sign by which the VM counts as ready.
    #[must_use]
    pub fn reachable(&self) -> Reachable {
        match self.ssh.as_ref().map(|ssh| (ssh.login, ssh.ready)) {
            Some((Login::Image, _)) => Reachable::Banner,
            Some((Login::Own, Ready::Early)) => Reachable::Sessions,
            Some((Login::Own, Ready::Deployed)) | None => Reachable::Answers,
        }
    }
}
