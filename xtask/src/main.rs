//! The manual, made from the command line's own words.

mod man;

use std::process::ExitCode;

use bcvk_testkit::drive;
use clap::{Parser, Subcommand};

/// Chores of the bcvk repository
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

/// A chore.
#[derive(Debug, Subcommand)]
enum Task {
    /// Write the option lists of docs/man anew, or make manual pages of it (CONTRIBUTING.md)
    Man(man::Options),
}

fn main() -> ExitCode {
    let Cli {
        task: Task::Man(options),
    } = Cli::parse();
    drive::main(|| man::man(&options))
}
