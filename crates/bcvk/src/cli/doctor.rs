//! `bcvk doctor`.

use clap::Args;

/// Check what a VM needs on this machine
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk doctor
  bcvk doctor --json | jq -r '.[] | select(.Status == \"error\").Hint'")]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
