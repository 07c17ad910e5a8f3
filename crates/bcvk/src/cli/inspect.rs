//! `inspect`.

use clap::Args;

use super::common::VmRef;

/// Describe an ephemeral VM as JSON
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral inspect testvm
  bcvk ephemeral inspect testvm | jq .Timings.Boot
  bcvk ephemeral inspect testvm | jq -r .Status.failure.message")]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) vm: VmRef,
}
