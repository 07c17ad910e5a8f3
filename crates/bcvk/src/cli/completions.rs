//! `bcvk completions`.

use clap::Args;
use clap_complete::Shell;

/// Print a script that completes bcvk's command lines in a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(bcvk completions bash)
  bcvk completions zsh >~/.zfunc/_bcvk
  bcvk completions fish >~/.config/fish/completions/bcvk.fish")]
pub(crate) struct Completions {
    /// Which shell
    pub(crate) shell: Shell,
}
