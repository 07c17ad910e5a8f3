//! `logs`.

use clap::Args;

/// Show the console or the journal of an ephemeral VM
///
/// The console is there while the VM runs and, without --rm, after its end. Control characters of
/// the guest's reach programs that read this, but not your terminal.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral logs testvm
  bcvk ephemeral logs -f testvm
  bcvk ephemeral logs --journal testvm | grep sshd")]
pub(crate) struct Logs {
    /// Name or container ID
    pub(crate) name: String,

    /// Go on until the VM ends
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Show the serial console; this is the default
    #[arg(long, conflicts_with = "journal")]
    pub(crate) console: bool,

    /// Show the journal of this boot, over SSH
    #[arg(long)]
    pub(crate) journal: bool,
}
