//! Chores: the manual, made from the command line's own words, and a recording of a session.

mod man;
mod record;

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
    /// Record docs/images/session.svg anew, with the test image trixie
    Record,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    drive::main(|| match &cli.task {
        Task::Man(options) => man::man(options),
        Task::Record => record::record(),
    })
}
