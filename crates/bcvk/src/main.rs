//! bcvk: boots bootc container images as ephemeral VMs.

mod cli;
mod commands;
mod ui;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let ui = ui::Ui::new(cli.quiet, cli.verbose);
    ui.start_logging();
    let result = commands::apply_defaults(cli).and_then(|cli| commands::run(cli.command, &ui));
    match result {
        Ok(code) => code,
        Err(error) => ui.report(&error),
    }
}
