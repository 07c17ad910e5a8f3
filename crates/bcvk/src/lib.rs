//! bcvk: boots bootc container images as ephemeral VMs.
//!
//! The binary is [`main`]. The rest is for the repository's own chores (`xtask`), which write the
//! manual from the command line's definition.

mod cli;
mod commands;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod ui;

use std::env;
use std::process::ExitCode;

use bcvk_guest::early;

pub use cli::{described, settings};

/// Runs the process's command line.
#[must_use]
pub fn main() -> ExitCode {
    // The kernel knows no subcommands, and passes words of its own command line as our arguments.
    if std::process::id() == 1
        && env::args_os()
            .next()
            .is_some_and(|name| name == early::INIT)
    {
        let _told = early::init();
        return ExitCode::FAILURE;
    }
    if commands::answered() {
        return ExitCode::SUCCESS;
    }
    let cli = cli::Defaults::default().parse(env::args_os());
    let ui = ui::Ui::new(cli.quiet, cli.verbose);
    ui.start_logging();
    let result = commands::apply_defaults(cli, &ui).and_then(|cli| commands::run(cli.command, &ui));
    match result {
        Ok(code) => code,
        Err(error) => ui.report(&error),
    }
}
