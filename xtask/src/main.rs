//! Chores of the repository that are more than a line of shell.

mod bench;
mod build;
mod crowd;
mod cycles;
mod error;
mod interrupt;
mod man;
mod process;
mod scale;
mod together;
mod torture;
mod vms;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the bcvk repository
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum Task {
    /// Measure bcvk beside the same VM started by hand (docs/performance.md)
    Bench(bench::Options),
    /// Measure what each further VM costs (docs/performance.md)
    BenchScale(scale::Options),
    /// Kill and stop every part of a VM at every moment (docs/reliability.md)
    Torture(torture::Options),
    /// Start many VMs at once (docs/reliability.md)
    Crowd(crowd::Options),
    /// Start and end VMs again and again, and see that nothing grows (docs/reliability.md)
    Cycles(cycles::Options),
    /// Write the option lists of docs/man anew, or make manual pages of it (CONTRIBUTING.md)
    Man(man::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = interrupt::install().and_then(|()| match &cli.task {
        Task::Bench(options) => bench::run(options),
        Task::BenchScale(options) => scale::run(options),
        Task::Torture(options) => torture::run(options),
        Task::Crowd(options) => crowd::crowd(options),
        Task::Cycles(options) => cycles::cycles(options),
        Task::Man(options) => man::man(options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            bench::say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
