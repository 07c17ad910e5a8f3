//! `inspect`.

use clap::Args;

/// Describe an ephemeral VM as JSON
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral inspect testvm
  bcvk ephemeral inspect testvm | jq .Timings.Boot
  bcvk ephemeral inspect testvm | jq -r .Status.failure.message")]
pub(crate) struct Inspect {
    /// Name or container ID
    ///
    /// At least the first four digits of an ID are enough.
    pub(crate) name: String,
}
