//! Sources of the options' defaults: `config.toml` and the environment.

use std::env;
use std::fs;
use std::path::PathBuf;

use bcvk_contract::missing::if_exists;
use bcvk_contract::status::printable;

use super::base_directory;
use crate::cli::{Cli, Defaults, SettingError, nearest, settings};
use crate::error::{CommandError, UsageError};
use crate::ui::{Notice, Ui};

/// Gives a command line that starts a VM the user's defaults. Others are left as they are: nobody
/// shall need a right configuration to stop a VM.
pub(crate) fn apply_defaults(mut cli: Cli, ui: &Ui) -> Result<Cli, CommandError> {
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
    let names = env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    for (variable, near) in unknown(names) {
        let (variable, near) = (&printable(&variable), near.as_deref());
        ui.notice(&Notice::UnknownVariable { variable, near });
    }
    Ok(defaults.parse(env::args_os()))
}

/// Beginning of the names of variables that stand for options.
const PREFIX: &str = "BCVK_";

/// Returns the variables that look as if they stood for an option but do not, each with the one that may
/// be meant.
fn unknown(names: impl Iterator<Item = String>) -> Vec<(String, Option<String>)> {
    let known: Vec<String> = settings().into_iter().map(|(name, _)| name).collect();
    let mut unknown: Vec<String> = names
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .collect();
    unknown.sort();
    let near = |name: &str| {
        let word = name.strip_prefix(PREFIX)?;
        let known = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
        nearest(word, known).map(|near| format!("{PREFIX}{near}"))
    };
    let with_near = unknown.into_iter().map(|name| {
        let near = near(&name);
        (name, near)
    });
    with_near.collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_no_option_are_named() {
        let names = [
            "BCVK_MEMROY",
            "BCVK_RM",
            "BCVK_MEMORY",
            "HOME",
            "XBCVK_MEMORY",
        ];
        let found = unknown(names.into_iter().map(str::to_owned));
        let expected = [
            ("BCVK_MEMROY".to_owned(), Some("BCVK_MEMORY".to_owned())),
            ("BCVK_RM".to_owned(), None),
        ];
        assert_eq!(found, expected);
    }
}
