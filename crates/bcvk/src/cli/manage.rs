//! `ps`, `stop`, `rm`, `rm-all` and `ssh-config`.

use clap::Args;

/// List ephemeral VMs
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Show stopped VMs too
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// How to print
    #[arg(long, value_name = "FORMAT", value_parser = ["table", "json"], conflicts_with = "json")]
    pub(crate) format: Option<String>,
}

/// Shut down ephemeral VMs
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Names or container IDs
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Remove ephemeral VMs
#[derive(Debug, Args)]
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
pub(crate) struct RmAll {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// Print a stanza for ~/.ssh/config
///
/// ssh -F, scp -F, rsync -e, editors and Ansible reach the VM with it.
#[derive(Debug, Args)]
pub(crate) struct SshConfig {
    /// Name or container ID
    pub(crate) name: String,
}
