//! Figures that several measurements have in common.

use std::time::Duration;

/// Memory of the guest, which is bcvk's default.
pub(super) const MEMORY_MIB: u32 = 4096;

/// Limit for commands that take a second or two.
pub(super) const SHORT: Duration = Duration::from_secs(60);

/// virtiofs tag of the directory in the VM started by hand, and bcvk's name for it.
pub(super) const TAG: &str = "bench";
