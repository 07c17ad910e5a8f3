//! Initramfs that a VM boots through on the way to its image.

use serde::{Deserialize, Serialize};

use crate::choice;

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

choice!(Initramfs, "an initramfs", { Image: "image", Direct: "direct" });
