//! Options that can be settings, and the check of a setting's values by the option's own parser.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Args, Command};
use toml::Spanned;
use toml::de::DeValue;

use crate::cli::{VmOptions, words};

/// Options that make no sense for more than one VM.
const NOT_SETTINGS: [&str; 1] = ["name"];

/// Returns every option that can be a setting, with its variable in the environment.
#[must_use]
pub fn settings() -> Vec<(String, Arg)> {
    let named = |option: Arg| Some((variable(option.get_long()?), option));
    settable().into_iter().filter_map(named).collect()
}

/// Names the variable of an option: that of `--ro-bind` is `BCVK_RO_BIND`.
pub(super) fn variable(name: &str) -> String {
    format!("BCVK_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// The options that can be settings. Switches cannot: the command line could not take one back.
pub(super) fn settable() -> Vec<Arg> {
    let named = |arg: &&Arg| {
        let name = arg.get_long();
        name.is_some_and(|name| !NOT_SETTINGS.contains(&name))
    };
    let all = options();
    let with_value = all
        .get_arguments()
        .filter(|arg| arg.get_action().takes_values());
    with_value.filter(named).cloned().collect()
}

/// Returns the options of a VM, as a command line with nothing else.
pub(super) fn options() -> Command {
    words::in_help(VmOptions::augment_args(Command::new("bcvk"))).no_binary_name(true)
}

/// Returns true if the option can be given more than once.
pub(super) fn takes_many(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::Append)
}

/// Returns the option that a setting is named after, or what is wrong with the name.
pub(super) fn find(name: &str) -> Result<Arg, String> {
    settable()
        .into_iter()
        .find(|option| option.get_long() == Some(name))
        .ok_or_else(|| {
            let known = settable();
            let known: Vec<&str> = known.iter().filter_map(Arg::get_long).collect();
            let known = known.join(", ");
            if options()
                .get_arguments()
                .any(|a| a.get_long() == Some(name))
            {
                format!("'{name}' can only be given on the command line; here can be {known}")
            } else {
                format!("there is no option '{name}'; known are {known}")
            }
        })
}

/// Splits a setting into values that each are one word for the command line.
pub(super) fn values<'v, 'i>(
    option: &Arg,
    value: &'v Spanned<DeValue<'i>>,
) -> impl Iterator<Item = &'v Spanned<DeValue<'i>>> {
    let items = value.get_ref().as_array().filter(|_| takes_many(option));
    let one = items.is_none().then_some(value);
    items.into_iter().flatten().chain(one)
}

/// Writes a value of `config.toml` as a word for the command line.
pub(super) fn word(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|e| e.to_string()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        other => Err(format!(
            "one text or number is wanted here, not a value of type {}",
            other.type_str()
        )),
    }
}

/// Checks every value of a setting.
pub(super) fn check_all(name: &str, values: Vec<String>) -> Result<Vec<String>, String> {
    for value in &values {
        check(name, value)?;
    }
    Ok(values)
}

/// Checks a value with the option's own parser.
pub(super) fn check(name: &str, value: &str) -> Result<(), String> {
    match options().try_get_matches_from([format!("--{name}={value}")]) {
        Err(e)
            if matches!(
                e.kind(),
                ErrorKind::ValueValidation | ErrorKind::InvalidValue
            ) =>
        {
            Err(reason(&e))
        }
        // The check that an option needs or excludes another is made with the whole command line.
        _ => Ok(()),
    }
}

/// Extracts a parser's message from clap's text around it.
fn reason(error: &clap::Error) -> String {
    if let Some(source) = std::error::Error::source(error) {
        return source.to_string();
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `run`, so that an option which is added there alone is missed.
    #[test]
    fn every_option_with_a_value_has_a_key_and_a_variable() {
        let all = crate::cli::described();
        let run = all.find_subcommand("ephemeral").expect("ephemeral");
        let run = run.find_subcommand("run").expect("run");
        let settings = settings();
        let mut seen = 0;
        for option in run.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let Some(name) = option.get_long() else {
                continue;
            };
            if option.get_action().takes_values() && name != "name" {
                let key = find(name).expect(name);
                assert_eq!(key.get_help(), option.get_help(), "{name}");
                let variable = variable(name);
                assert!(
                    settings.iter().any(|(known, _)| *known == variable),
                    "{variable}"
                );
                seen += 1;
            } else {
                assert!(find(name).is_err(), "{name}");
            }
        }
        assert_eq!(seen, settings.len());
        assert_eq!(variable("ro-bind"), "BCVK_RO_BIND");
    }
}
