//! Measurements of bcvk (docs/performance.md).

mod beside;
mod scale;

use std::process::ExitCode;

use bcvk_testkit::drive;
use clap::{Parser, Subcommand};

/// Measurements of bcvk
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    measurement: Measurement,
}

/// A measurement.
#[derive(Debug, Subcommand)]
enum Measurement {
    /// Measure bcvk beside the same VM started by hand
    Beside(beside::Options),
    /// Measure what each further VM costs
    Scale(scale::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    drive::main(|| match &cli.measurement {
        Measurement::Beside(options) => beside::run(options),
        Measurement::Scale(options) => scale::run(options),
    })
}
