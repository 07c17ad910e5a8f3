//! Values that are one of a few words, as clap reads and lists them.

use std::error::Error;
use std::ffi::OsStr;
use std::marker::PhantomData;
use std::str::FromStr;

use bcvk_contract::spec::{Choice, list};
use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};

/// A value that is one of a few words.
pub(super) trait Words: FromStr {
    /// The words. Behind a `=` at the end follows a value of the user's.
    fn words() -> Vec<PossibleValue>;
}

impl<T: Choice + FromStr> Words for T {
    fn words() -> Vec<PossibleValue> {
        let words = T::ALL.iter().map(|value| {
            let word = PossibleValue::new(value.name());
            match value.about() {
                Some(about) => word.help(about),
                None => word,
            }
        });
        words.collect()
    }
}

/// Makes the parser of such a value. It has the words of clap's parser for a `ValueEnum`, but the
/// errors of the type's own.
pub(super) fn parser<T>() -> WordParser<T> {
    WordParser(PhantomData)
}

#[derive(Debug, Clone)]
pub(super) struct WordParser<T>(PhantomData<T>);

impl<T> TypedValueParser for WordParser<T>
where
    T: Words + Clone + Send + Sync + 'static,
    T::Err: Error + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        T::from_str.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(T::words().into_iter()))
    }
}

/// Lists words as a sentence has them.
pub(super) fn listed(words: &[PossibleValue]) -> String {
    let shown = words.iter().filter(|word| !word.is_hide_set());
    let shown = shown.map(|word| match word.get_name().strip_suffix('=') {
        Some(name) => format!("{name}={}", name.to_uppercase()),
        None => word.get_name().to_owned(),
    });
    let shown: Vec<String> = shown.collect();
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    list(&shown, "or")
}

/// Adds to the help of every option the words that its value may be, in place of clap's own list.
/// Words with descriptions are too many for a line, and on the manual's pages.
pub(super) fn in_help(command: Command) -> Command {
    command.mut_args(in_help_of).mut_subcommands(in_help)
}

fn in_help_of(arg: Arg) -> Arg {
    let words = arg.get_possible_values();
    let described = words.iter().any(|word| word.get_help().is_some());
    let is_told = arg.is_hide_possible_values_set() || !arg.get_action().takes_values();
    if words.is_empty() || is_told {
        return arg;
    }
    let arg = arg.hide_possible_values(true);
    let text = |help: Option<&clap::builder::StyledStr>| help.map(ToString::to_string);
    match text(arg.get_help()) {
        Some(help) if !described => {
            let whole = format!("{help}: {}", listed(&words));
            let long = text(arg.get_long_help()).unwrap_or_default();
            let more = long.strip_prefix(&help).unwrap_or_default();
            arg.long_help(format!("{whole}{more}")).help(whole)
        }
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use bcvk_contract::spec::{InstanceType, Warm};

    use super::*;

    #[test]
    fn words_are_in_help_unless_they_have_descriptions() {
        let arg = |parser: clap::builder::ValueParser| {
            let arg = Arg::new("x").long("x").value_parser(parser);
            in_help_of(
                arg.help("How")
                    .long_help("How\n\nMore.")
                    .action(clap::ArgAction::Set),
            )
        };
        let warm = arg(parser::<Warm>().into());
        let help = |arg: &Arg| arg.get_help().map(ToString::to_string);
        assert_eq!(help(&warm).as_deref(), Some("How: auto, off or require"));
        let long = warm.get_long_help().map(ToString::to_string);
        assert_eq!(long.as_deref(), Some("How: auto, off or require\n\nMore."));
        let itype = arg(parser::<InstanceType>().into());
        assert_eq!(help(&itype).as_deref(), Some("How"));
        assert!(itype.is_hide_possible_values_set());
    }
}
