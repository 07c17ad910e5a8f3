//! Long trials of bcvk: faults at every moment, many VMs at once, and many in a row (docs/reliability.md),
//! and other hosts (docs/hosts.md).

mod crowd;
mod cycles;
mod faults;
mod hosts;

use std::process::ExitCode;

use bcvk_testkit::drive;
use clap::{Parser, Subcommand};

/// Long trials of bcvk
#[derive(Debug, Parser)]
#[command(name = "torture")]
struct Cli {
    #[command(subcommand)]
    trial: Trial,
}

/// A trial.
#[derive(Debug, Subcommand)]
enum Trial {
    /// Kill and stop every part of a VM at every moment
    Faults(faults::Options),
    /// Start many VMs at once
    Crowd(crowd::Options),
    /// Start and end VMs again and again, and see that nothing grows
    Cycles(cycles::Options),
    /// Run bcvk on other hosts, under a KVM of their own
    Hosts(hosts::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    drive::main(|| match &cli.trial {
        Trial::Faults(options) => faults::run(options),
        Trial::Crowd(options) => crowd::crowd(options),
        Trial::Cycles(options) => cycles::cycles(options),
        Trial::Hosts(options) => hosts::run(options),
    })
}
