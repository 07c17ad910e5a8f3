//! Where defaults of options come from: `config.toml` and the environment.

use std::env;
use std::fs;
use std::path::PathBuf;

use bcvk_vm::host::HostError;
use bcvk_vm::missing::if_exists;

use crate::cli::{Cli, Defaults, SettingError};

/// Gives a command line that starts a VM the user's defaults. Others are left as they are: nobody
/// shall need a right configuration to stop a VM.
pub(crate) fn apply_defaults(mut cli: Cli) -> Result<Cli, HostError> {
    if cli.vm_options().is_none() {
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

fn read(path: &PathBuf) -> Result<Defaults, HostError> {
    let text = if_exists(fs::read_to_string(path))
        .map_err(HostError::io(format!("read {}", path.display())))?;
    match text {
        Some(text) => Defaults::from_config(path, &text).map_err(wrong),
        None => Ok(Defaults::default()),
    }
}

/// As the XDG base directory specification has it: relative paths do not count.
fn config_file() -> Option<PathBuf> {
    let dir = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let base = dir("XDG_CONFIG_HOME").or_else(|| dir("HOME").map(|home| home.join(".config")))?;
    Some(base.join("bcvk/config.toml"))
}

fn wrong(error: SettingError) -> HostError {
    HostError::Setting {
        place: error.place,
        problem: error.problem,
    }
}
