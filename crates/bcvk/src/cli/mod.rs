//! The command line: clap structures and their help. Pure: parsing validates values and touches
//! nothing.

mod completions;
mod defaults;
mod doctor;
mod guest;
mod images;
mod inspect;
mod internal;
mod kube;
mod logs;
mod manage;
mod run;
mod snapshots;
mod ssh;
mod wait;

use clap::{Args, Parser, Subcommand};

pub(crate) use completions::{Completions, visible};
pub(crate) use defaults::{Defaults, SettingError};
pub(crate) use doctor::Doctor;
pub(crate) use guest::GuestOptions;
pub(crate) use images::{Images, ImagesList, ImagesVerb};
pub(crate) use inspect::Inspect;
pub(crate) use internal::{Internal, Pod};
pub(crate) use kube::Kube;
pub(crate) use logs::Logs;
pub(crate) use manage::{Ps, Rm, RmAll, SshConfig, Stop};
pub(crate) use run::{Run, RunSsh, VmOptions};
pub(crate) use snapshots::{Snapshots, SnapshotsLs, SnapshotsPrune, SnapshotsRm, SnapshotsVerb};
pub(crate) use ssh::Ssh;
pub(crate) use wait::{Until, Wait};

/// Boot bootc container images as ephemeral VMs
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Cli {
    /// Print nothing but results and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Say what is being done; twice for details
    #[arg(long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Manage ephemeral VMs for bootc container images
    Ephemeral(Ephemeral),
    /// Images that can boot
    Images(Images),
    Doctor(Doctor),
    Completions(Completions),
    /// What bcvk runs of itself: in containers and for ssh
    #[command(hide = true, subcommand)]
    Internal(Internal),
}

/// Arguments of `bcvk ephemeral`.
#[derive(Debug, Args)]
pub(crate) struct Ephemeral {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The verbs of `bcvk ephemeral`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Run(Run),
    RunSsh(RunSsh),
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Ssh(Ssh),
    Ps(Ps),
    Stop(Stop),
    Rm(Rm),
    RmAll(RmAll),
    SshConfig(SshConfig),
    Logs(Logs),
    Inspect(Inspect),
    Wait(Wait),
    Kube(Box<Kube>),
    Snapshots(Snapshots),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn manual_pages_have_every_option() {
        let command = Cli::command();
        let ephemeral = command.find_subcommand("ephemeral").expect("a verb");
        for (verb, page) in [
            (
                "run",
                include_str!("../../../../docs/man/bcvk-ephemeral-run.8.md"),
            ),
            (
                "run-ssh",
                include_str!("../../../../docs/man/bcvk-ephemeral-run-ssh.8.md"),
            ),
        ] {
            let verb = ephemeral.find_subcommand(verb).expect("a verb");
            let options = verb.get_arguments().filter(|arg| !arg.is_hide_set());
            for name in options.filter_map(clap::Arg::get_long) {
                assert!(
                    page.contains(&format!("**--{name}**")),
                    "--{name} of {verb}"
                );
            }
        }
    }
}
