//! `logs`.

use clap::Args;

use super::common::VmRef;

/// Show the console or the journal of an ephemeral VM
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral logs testvm
  bcvk ephemeral logs -f testvm
  bcvk ephemeral logs --journal testvm | grep sshd")]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) vm: VmRef,

    /// Go on until the VM ends
    ///
    /// After what there is, what comes is shown. Ctrl-C ends the command before. What a guest writes
    /// into its journal while it shuts down is not seen: its sessions are over by then. It is on the
    /// console.
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Show the serial console (the default)
    #[arg(long, conflicts_with = "journal")]
    pub(crate) console: bool,

    /// Show the journal of this boot, over SSH
    #[arg(long)]
    pub(crate) journal: bool,
}
