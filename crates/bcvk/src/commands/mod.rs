//! One file per verb: arguments → spec → call → print.

mod boot_chart;
mod check;
mod checkpoint;
mod complete;
mod completions;
mod config;
mod copy;
mod doctor;
mod find;
mod guest;
mod images;
mod inspect;
mod internal;
mod kube;
mod listing;
mod logs;
mod manage;
mod own_session;
mod plan;
mod pod;
mod port;
mod ps;
mod ready;
mod refused;
mod result_file;
mod run;
mod run_ssh;
#[cfg(test)]
mod schemas;
mod snapshots;
mod ssh;
mod start;
mod vm;
mod wait;
mod warm;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bcvk_host::podman::Podman;
use bcvk_host::{Tool, VmDirs, find_tool, sweep};

pub(crate) use complete::answered;
pub(crate) use config::apply_defaults;

use crate::cli::{Command, Verb};
use crate::error::CommandError;
use crate::ui::Ui;

/// Runs what the user asked for.
pub(crate) fn run(command: Command, ui: &Ui) -> Result<ExitCode, CommandError> {
    let verb = match command {
        Command::Internal(internal) => return internal::run(internal, ui),
        Command::Images(args) => return images::images(&args, ui),
        Command::Doctor(args) => return doctor::doctor(&args, ui),
        Command::Completions(args) => return Ok(completions::completions(&args)),
        Command::Ephemeral(ephemeral) => ephemeral.verb,
    };
    match verb {
        Verb::Run(args) => run::run(&args, ui),
        Verb::RunSsh(args) => run_ssh::run_ssh(&args, ui),
        Verb::Check(args) => check::check(*args, ui),
        Verb::Ssh(args) => ssh::ssh(&args, ui),
        Verb::Exec(args) => ssh::ssh(&args.session(), ui),
        Verb::Cp(args) => copy::cp(&args, ui),
        Verb::Top(args) => ssh::ssh(&args.session(), ui),
        Verb::Port(args) => port::port(&args),
        Verb::Start(args) => manage::start(&args),
        Verb::Ps(args) => ps::ps(&args, ui),
        Verb::Stop(args) => manage::stop(&args, ui),
        Verb::Rm(args) => manage::rm(&args),
        Verb::RmAll(args) => manage::rm_all(&args, ui),
        Verb::SshConfig(args) => ssh::ssh_config(&args),
        Verb::Checkpoint(args) => checkpoint::checkpoint(&args),
        Verb::Reset(args) => checkpoint::reset(&args),
        Verb::Logs(args) => logs::logs(&args, ui),
        Verb::Inspect(args) => inspect::inspect(&args, ui),
        Verb::BootChart(args) => boot_chart::boot_chart(&args, ui),
        Verb::Wait(args) => wait::wait(&args, ui),
        Verb::Kube(args) => kube::kube(*args, ui),
        Verb::Snapshots(args) => snapshots::snapshots(&args, ui),
    }
}

/// podman and the VM directories, which every verb needs.
struct Context {
    podman: Podman,
    dirs: VmDirs,
}

impl Context {
    /// Finds podman and the directories, and removes what VMs of the past have left.
    fn open() -> Result<Self, CommandError> {
        let podman = Podman::new(find_tool(Tool::Podman)?);
        let dirs = vm_dirs()?;
        if let Err(error) = sweep(&podman, &dirs) {
            tracing::info!(%error, "could not remove leftovers");
        }
        Ok(Self { podman, dirs })
    }
}

fn vm_dirs() -> Result<VmDirs, CommandError> {
    let runtime_dir = env::var_os("XDG_RUNTIME_DIR");
    VmDirs::open(runtime_dir.as_deref().map(Path::new))
        .map_err(CommandError::io("open the directory of VMs"))
}

/// Returns the user's directory that the environment variable `name` has, or `in_home` in their
/// home, which is that of their account if `HOME` does not say. Relative paths do not count, as the
/// XDG base directory specification has it.
fn base_directory(name: &str, in_home: &str) -> Option<PathBuf> {
    let dir = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let home = || dir("HOME").or_else(bcvk_host::home);
    dir(name).or_else(|| home().map(|home| home.join(in_home)))
}
