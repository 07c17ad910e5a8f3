//! Sources of the options' defaults: `config.toml` and the environment.

use std::env;
use std::fs;
use std::path::PathBuf;

use bcvk_contract::missing::if_exists;

use super::base_directory;
use crate::cli::{Cli, Defaults, SettingError};
use crate::error::{CommandError, UsageError};

/// Gives a command line that starts a VM the user's defaults. Others are left as they are: nobody
/// shall need a right configuration to stop a VM.
pub(crate) fn apply_defaults(mut cli: Cli) -> Result<Cli, CommandError> {
    if cli.guest_options().is_none() {
        return Ok(cli);
    }
    let mut defaults = match config_file() {
        Some(path) => read(&path)?,
        None => Defaults::default(),
    };
    defaults
        .add_environment(|name| env::var(name).ok())
        .map_err(wrong)?;
    Ok(defaults.parse(env::args_os()))
}

fn read(path: &PathBuf) -> Result<Defaults, CommandError> {
    let text = if_exists(fs::read_to_string(path))
        .map_err(CommandError::io(format!("read {}", path.display())))?;
    match text {
        Some(text) => Ok(Defaults::from_config(path, &text).map_err(wrong)?),
        None => Ok(Defaults::default()),
    }
}

fn config_file() -> Option<PathBuf> {
    Some(base_directory("XDG_CONFIG_HOME", ".config")?.join("bcvk/config.toml"))
}

fn wrong(error: SettingError) -> UsageError {
    UsageError::Setting {
        place: error.place,
        problem: error.problem,
    }
}
