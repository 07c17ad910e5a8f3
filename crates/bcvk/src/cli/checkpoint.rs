//! `bcvk ephemeral checkpoint` and `reset`.

use bcvk_contract::spec::VmName;
use clap::Args;

use super::common::VmRef;

/// Save a running VM as it is, to be taken back to that
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral checkpoint testvm
  bcvk ephemeral checkpoint --replace testvm installed")]
pub(crate) struct Checkpoint {
    /// Replace the checkpoint of that name, if there is one
    #[arg(long)]
    pub(crate) replace: bool,

    #[command(flatten)]
    pub(crate) vm: VmRef,

    /// Name of the checkpoint; checkpoint-1 and so on if left out
    ///
    /// It is a name among the checkpoints of its VM, of letters, digits, `_`, `.` and `-`.
    #[arg(id = "checkpoint", value_name = "CHECKPOINT", value_parser = checkpoint_name)]
    pub(crate) point: Option<VmName>,
}

/// Take a running VM back to a checkpoint
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral reset testvm
  bcvk ephemeral reset testvm installed")]
pub(crate) struct Reset {
    #[command(flatten)]
    pub(crate) vm: VmRef,

    /// Name of the checkpoint; the VM's newest if left out
    #[arg(id = "checkpoint", value_name = "CHECKPOINT", value_parser = checkpoint_name)]
    pub(crate) point: Option<VmName>,
}

/// Parses the name of a checkpoint, for which podman's rule for names holds.
pub(super) fn checkpoint_name(value: &str) -> Result<VmName, &'static str> {
    value.parse().map_err(|_| {
        "the name of a checkpoint has letters, digits, '_', '.' and '-', and begins with one of the first two"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_named_as_a_vm_is() {
        assert!(checkpoint_name("after-install.2").is_ok());
        let error = checkpoint_name("a/b").expect_err("no name");
        assert!(error.contains("checkpoint"), "{error}");
    }
}
