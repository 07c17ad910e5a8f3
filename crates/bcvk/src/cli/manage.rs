//! `ps`, `stop`, `rm`, `rm-all` and `ssh-config`.

use clap::{Args, ValueEnum};

use super::common::{Form, VmRef, VmRefs};

/// List ephemeral VMs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral ps
  bcvk ephemeral ps -a --json")]
pub(crate) struct Ps {
    /// Show stopped VMs too
    #[arg(short, long)]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) form: Form,

    /// How to print
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    pub(crate) format: Option<Format>,
}

/// Value of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

/// Shut down ephemeral VMs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral stop testvm devvm")]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) vms: VmRefs,
}

/// Remove ephemeral VMs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral rm testvm
  bcvk ephemeral rm -f testvm devvm")]
pub(crate) struct Rm {
    /// Remove running VMs too
    #[arg(short, long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) vms: VmRefs,
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
