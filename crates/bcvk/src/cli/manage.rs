//! `ps`, `start`, `stop`, `rm`, `rm-all` and `ssh-config`.

use clap::Args;

use super::Filter;
use super::common::{Listing, VmRef, VmRefs};

/// List ephemeral VMs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral ps
  bcvk ephemeral ps -a --filter ancestor=localhost/mybootc
  bcvk ephemeral ps --format '{{.Names}} {{.Status}}'")]
pub(crate) struct Ps {
    /// Show stopped VMs too
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Show those for which KEY=VALUE is true
    ///
    /// KEY is one of podman's: `name` (a part of it; `^` and `$` stand for beginning and end), `id`,
    /// `status`, `label` (`KEY` or `KEY=VALUE`), `ancestor` (the image) and `exited` (an exit code).
    /// The status may also be a VM's own, such as `ready`. Of several filters with one key either is
    /// enough, but all labels have to be there; those with different keys all have to be true. With
    /// `status` and `exited`, stopped VMs are shown too.
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<Filter>,

    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// Boot ephemeral VMs again that have ended
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral start testvm
  bcvk ephemeral stop testvm && bcvk ephemeral start testvm")]
pub(crate) struct Start {
    #[command(flatten)]
    pub(crate) vms: VmRefs,
}

/// Shut down ephemeral VMs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral stop testvm devvm
  bcvk ephemeral stop --all")]
pub(crate) struct Stop {
    /// Shut down all VMs that run
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Leave out what is not there or does not run
    #[arg(short, long)]
    pub(crate) ignore: bool,

    /// End a VM that takes longer than this
    ///
    /// In seconds; 0 ends it at once. A VM that is not off after 25 seconds is ended in any case.
    #[arg(short, long, alias = "timeout", value_name = "SECONDS")]
    pub(crate) time: Option<u32>,

    /// Names or container IDs
    #[arg(
        value_name = "NAME",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub(crate) names: Vec<String>,
}

/// Remove ephemeral VMs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral rm testvm
  bcvk ephemeral rm -f testvm devvm")]
pub(crate) struct Rm {
    /// Remove all VMs; with -f, running ones too
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Remove running VMs too; none is no error
    #[arg(short, long)]
    pub(crate) force: bool,

    /// Leave out what is not there
    #[arg(short, long)]
    pub(crate) ignore: bool,

    /// Names or container IDs
    #[arg(
        value_name = "NAME",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub(crate) names: Vec<String>,
}

/// Remove all ephemeral VMs, running ones included
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral rm-all
  bcvk ephemeral rm-all -f")]
pub(crate) struct RmAll {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// Print an SSH configuration file for a VM
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral ssh-config testvm >testvm.conf
  scp -F testvm.conf notes.txt testvm:
  rsync -a -e 'ssh -F testvm.conf' src/ testvm:/var/tmp/src/")]
pub(crate) struct SshConfig {
    #[command(flatten)]
    pub(crate) vm: VmRef,
}
