//! `bcvk completions`.

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// Print a script that completes bcvk's command lines in a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(bcvk completions bash)
  bcvk completions zsh >~/.zfunc/_bcvk
  bcvk completions fish >~/.config/fish/completions/bcvk.fish")]
pub(crate) struct Completions {
    /// For which shell
    pub(crate) shell: Shell,
}

/// The command line as users type it: scripts for shells would offer hidden subcommands too.
pub(crate) fn visible() -> Command {
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|c| !c.is_hide_set()).cloned();
    Command::new("bcvk")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .args(all.get_arguments().cloned())
        .subcommands(shown)
}
