//! Moments of a boot at which a VM is saved.

use serde::{Deserialize, Serialize};

/// The moment of its boot at which a VM was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotStage {
    /// Kernel and initramfs have done their work, and the image is about to be mounted.
    Early,
    /// The system is up.
    Ready,
}

impl SnapshotStage {
    /// All stages, in the order of a boot.
    pub const ALL: [Self; 2] = [Self::Early, Self::Ready];

    /// Returns where a container sees a snapshot of this stage that its VM is resumed from.
    #[must_use]
    pub const fn snapshot(self) -> &'static str {
        match self {
            Self::Early => "/run/bcvk-snapshot-early",
            Self::Ready => "/run/bcvk-snapshot",
        }
    }

    /// Returns the directory in a container with the files that its VM is saved to at this stage.
    #[must_use]
    pub const fn staging(self) -> &'static str {
        match self {
            Self::Early => "/run/bcvk-staging-early",
            Self::Ready => "/run/bcvk-staging",
        }
    }

    /// Returns the stage's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::Ready => "ready",
        }
    }
}
