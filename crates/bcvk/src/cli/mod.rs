//! The command line: clap structures and their help. Pure: parsing validates values and touches
//! nothing.

mod boot_chart;
mod check;
mod checkpoint;
mod common;
mod completions;
mod copy;
mod defaults;
mod doctor;
mod exec;
mod filter;
mod guest;
mod habits;
mod help;
mod images;
mod inspect;
mod internal;
mod kube;
mod logs;
mod manage;
mod output;
mod run;
mod snapshots;
mod ssh;
mod template;
mod volume;
mod wait;
mod words;

use clap::{Args, Parser, Subcommand};

pub(crate) use boot_chart::BootChart;
pub(crate) use check::Check;
pub(crate) use checkpoint::{Checkpoint, Reset};
pub(crate) use common::{Ids, Keep, Listing};
pub(crate) use completions::Completions;
pub(crate) use copy::{Cp, Place};
#[cfg(any(test, fuzzing))]
pub(crate) use defaults::fuzzing;
pub use defaults::settings;
pub(crate) use defaults::{Defaults, SettingError};
pub(crate) use doctor::Doctor;
pub(crate) use exec::{Exec, GuestPortRef, Port, Top};
pub(crate) use filter::{Filter, Filtered, all_fit};
pub(crate) use guest::GuestOptions;
pub(crate) use habits::{nearest, with_ephemeral};
pub use help::described;
pub(crate) use help::{command, heading, visible};
pub(crate) use images::{Images, ImagesVerb};
pub(crate) use inspect::Inspect;
pub(crate) use internal::{InGuest, Internal, Pod};
pub(crate) use kube::Kube;
pub(crate) use logs::{Logs, Tail};
pub(crate) use manage::{Ps, Rm, RmAll, SshConfig, Start, Stop};
pub(crate) use output::Output;
pub(crate) use run::{Run, RunSsh, VmOptions};
pub(crate) use snapshots::{Snapshots, SnapshotsLs, SnapshotsPrune, SnapshotsRm, SnapshotsVerb};
pub(crate) use ssh::Ssh;
pub(crate) use template::{Description, Format, NoSuchKey, Template};
pub(crate) use volume::{HostName, Volume};
pub(crate) use wait::{Until, Wait};

/// Boot bootc container images as ephemeral VMs
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    args_override_self = true,
    after_help = "\
Examples:
  bcvk doctor
  bcvk ephemeral run-ssh quay.io/fedora/fedora-bootc:42
  bcvk ephemeral run-ssh --help"
)]
pub(crate) struct Cli {
    /// Print nothing but results and errors
    #[arg(short, long, global = true, display_order = help::LAST)]
    pub(crate) quiet: bool,

    /// Say what is being done; twice for details
    #[arg(long, global = true, action = clap::ArgAction::Count, display_order = help::LAST)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Ephemeral(Ephemeral),
    Images(Images),
    Doctor(Doctor),
    Completions(Completions),
    /// What bcvk runs of itself: in containers and for ssh
    #[command(hide = true, subcommand)]
    Internal(Internal),
}

/// Manage ephemeral VMs for bootc containers
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral run-ssh localhost/mybootc
  bcvk ephemeral run -d --rm --name testvm localhost/mybootc")]
pub(crate) struct Ephemeral {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The verbs of `bcvk ephemeral`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Run(Run),
    RunSsh(RunSsh),
    Check(Box<Check>),
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Ssh(Ssh),
    Exec(Exec),
    Cp(Cp),
    #[command(aliases = ["ls", "list"])]
    Ps(Ps),
    Top(Top),
    Port(Port),
    Start(Start),
    Stop(Stop),
    Rm(Rm),
    RmAll(RmAll),
    SshConfig(SshConfig),
    Checkpoint(Checkpoint),
    Reset(Reset),
    Logs(Logs),
    Inspect(Inspect),
    BootChart(Box<BootChart>),
    Wait(Wait),
    Kube(Box<Kube>),
    Snapshots(Snapshots),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        described().debug_assert();
    }
}
