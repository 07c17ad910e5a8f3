//! `bcvk doctor`.

use clap::Args;

/// Check what a VM needs on this machine
///
/// Says of each thing whether it is there, and what mends it. A container is started that does
/// nothing; nothing else is changed. The exit code is 1 if there is an error.
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
