//! `inspect`.

use clap::Args;

/// Describe an ephemeral VM as JSON
///
/// Image, state, everything that the VM was started with, and how long each phase of its boot took.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral inspect testvm
  bcvk ephemeral inspect testvm | jq .Timings.Boot")]
pub(crate) struct Inspect {
    /// Name or container ID
    pub(crate) name: String,
}
