//! `bcvk ephemeral snapshots`.

use bcvk_contract::spec::{MemorySize, SpecError};
use clap::{Args, Subcommand};

use super::common::{Form, Ids};

/// Manage the snapshots that --warm makes, and checkpoints
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral snapshots ls
  bcvk ephemeral snapshots prune --keep 0")]
pub(crate) struct Snapshots {
    #[command(subcommand)]
    pub(crate) verb: SnapshotsVerb,
}

impl Snapshots {
    /// Returns whether the list is of IDs, if one is asked for.
    pub(crate) fn ids(&mut self) -> Option<&mut Ids> {
        match &mut self.verb {
            SnapshotsVerb::Ls(list) => Some(&mut list.ids),
            SnapshotsVerb::Rm(_) | SnapshotsVerb::Prune(_) => None,
        }
    }
}

/// The verbs of `bcvk ephemeral snapshots`.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotsVerb {
    #[command(alias = "list")]
    Ls(SnapshotsLs),
    Rm(SnapshotsRm),
    Prune(SnapshotsPrune),
}

/// List snapshots, and the checkpoints of running VMs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral snapshots ls
  bcvk ephemeral snapshots ls --json | jq '.[] | select(.Usable or .Saving | not).Id'")]
pub(crate) struct SnapshotsLs {
    #[command(flatten)]
    pub(crate) form: Form,

    #[command(flatten)]
    pub(crate) ids: Ids,
}

/// Remove snapshots and checkpoints
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral snapshots rm 3f2a
  bcvk ephemeral snapshots rm testvm/installed")]
pub(crate) struct SnapshotsRm {
    /// IDs of snapshots, or their beginnings; VM/CHECKPOINT for checkpoints
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

/// Remove snapshots that are of no more use
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral snapshots prune
  bcvk ephemeral snapshots prune --keep 0")]
pub(crate) struct SnapshotsPrune {
    /// How much may stay, such as 4G or 0
    ///
    /// It is written like memory: a plain number is MiB. Those used longest ago go first. What an
    /// interrupted command has left, and what was made before the host's last boot, goes in any case.
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = kept)]
    pub(crate) keep: u64,
}

/// Parses the bytes that may stay: a memory size, or nothing.
fn kept(value: &str) -> Result<u64, SpecError> {
    match value {
        "0" => Ok(0),
        size => size.parse::<MemorySize>().map(MemorySize::bytes),
    }
}
