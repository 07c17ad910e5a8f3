//! `ps`, `stop`, `rm`, `rm-all` and `ssh-config`.

use clap::Args;

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

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// How to print: table or json
    #[arg(long, value_name = "FORMAT", value_parser = ["table", "json"], conflicts_with = "json", hide_possible_values = true)]
    pub(crate) format: Option<String>,
}

/// Shut down ephemeral VMs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral stop testvm devvm")]
pub(crate) struct Stop {
    /// Names or container IDs
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
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

    /// Names or container IDs
    #[arg(required = true, value_name = "NAME")]
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
    /// Name or container ID
    ///
    /// At least the first four digits of an ID are enough.
    pub(crate) name: String,
}
