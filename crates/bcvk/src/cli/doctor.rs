//! `bcvk doctor`.

use clap::Args;

use super::common::Form;

/// Check what a VM needs on this machine
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk doctor
  bcvk doctor --json | jq -r '.[] | select(.Status == \"error\").Hint'")]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) form: Form,
}
