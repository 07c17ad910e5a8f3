//! Command lines that podman's users type out of habit: they lead to what is meant, or to a line that says
//! what to use.

mod near;
mod table;

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

pub(crate) use near::nearest;

/// Command that the verbs of podman's users belong to.
const EPHEMERAL: &str = "ephemeral";

/// Returns the command line with everything in it that was left out.
pub(super) fn whole(command: &Command, args: Vec<OsString>) -> Vec<OsString> {
    with_list(command, with_ephemeral(command, args))
}

/// Returns the command line with `list` behind `images` if nothing is there, as in podman.
fn with_list(command: &Command, mut args: Vec<OsString>) -> Vec<OsString> {
    let Some(at) = word_after(&args, 0).filter(|at| args[*at] == "images") else {
        return args;
    };
    let images = command.find_subcommand("images");
    // clap adds `help` later.
    let has_verb = |at: usize| {
        args[at] == "help" || images.is_some_and(|i| i.find_subcommand(&args[at]).is_some())
    };
    let asks_for_help = args.iter().any(|word| word == "-h" || word == "--help");
    if !asks_for_help && !word_after(&args, at).is_some_and(has_verb) {
        args.insert(at + 1, "list".into());
    }
    args
}

/// Returns the command line with `ephemeral` in it if it is left out: `bcvk run …` is `bcvk ephemeral
/// run …`. `bcvk help run` is understood too.
pub(crate) fn with_ephemeral(command: &Command, mut args: Vec<OsString>) -> Vec<OsString> {
    let Some(mut at) = word_after(&args, 0) else {
        return args;
    };
    if args[at] == "help" {
        at += 1;
    }
    let is_verb = |word: &OsString| {
        let ephemeral = command.find_subcommand(EPHEMERAL);
        command.find_subcommand(word).is_none()
            && ephemeral.is_some_and(|e| e.find_subcommand(word).is_some())
    };
    if args.get(at).is_some_and(is_verb) {
        args.insert(at, EPHEMERAL.into());
    }
    args
}

/// Returns the index of the first word behind `at` that is no option.
fn word_after(args: &[OsString], at: usize) -> Option<usize> {
    let is_word = |word: &OsString| !word.as_encoded_bytes().starts_with(b"-");
    let words = args.get(at + 1..)?;
    words.iter().position(is_word).map(|found| at + 1 + found)
}

/// Returns the command line without options before its command: each command has those that it has
/// itself.
pub(super) fn without_leading_options(args: &[OsString]) -> Vec<OsString> {
    let mut kept: Vec<OsString> = args.first().cloned().into_iter().collect();
    let Some(at) = word_after(args, 0) else {
        return kept;
    };
    kept.push(args[at].clone());
    let rest = if args[at] == EPHEMERAL {
        word_after(args, at).unwrap_or(args.len())
    } else {
        at + 1
    };
    kept.extend_from_slice(args.get(rest..).unwrap_or_default());
    kept
}

/// Says what to use in place of a word that clap does not know. Of clap's guesses, those stay that are near.
pub(super) fn explain(command: &Command, args: &[OsString], mut error: clap::Error) -> clap::Error {
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let Some(word) = context(&error, ContextKind::InvalidArg) else {
                return error;
            };
            let mut meant = meant(command, args);
            let verb = meant.get_name().to_owned();
            if let Some(advice) = table::for_option(&verb, &word) {
                return advise(
                    ErrorKind::UnknownArgument,
                    &format!("{verb} has no {word}"),
                    advice,
                );
            }
            if let Some(advice) = table::for_further_word(&verb).filter(|_| !word.starts_with('-'))
            {
                let problem = format!("{verb} does not take '{word}'");
                return advise(
                    ErrorKind::UnknownArgument,
                    &problem,
                    &advice.replace("WORD", &word),
                );
            }
            // clap's other tip is to put the word behind dashes, where it would be a VM or an image.
            let _ = error.remove(ContextKind::Suggested);
            let guess = context(&error, ContextKind::SuggestedArg);
            if guess.is_some_and(|guess| !near::is_near(&word, &guess)) {
                let _ = error.remove(ContextKind::SuggestedArg);
                // clap's line has the option that was guessed.
                let usage = ContextValue::StyledStr(meant.render_usage());
                let _ = error.insert(ContextKind::Usage, usage);
            }
        }
        ErrorKind::InvalidSubcommand => {
            let Some(word) = context(&error, ContextKind::InvalidSubcommand) else {
                return error;
            };
            if let Some(advice) = table::for_command(&word) {
                let problem = format!("bcvk has no command {word}");
                return advise(ErrorKind::InvalidSubcommand, &problem, advice);
            }
            if let Some(ContextValue::Strings(guesses)) =
                error.remove(ContextKind::SuggestedSubcommand)
            {
                let near = guesses
                    .into_iter()
                    .filter(|guess| near::is_near(&word, guess));
                let near = ContextValue::Strings(near.collect());
                let _ = error.insert(ContextKind::SuggestedSubcommand, near);
            }
        }
        _ => {}
    }
    error
}

fn advise(kind: ErrorKind, problem: &str, advice: &str) -> clap::Error {
    clap::Error::raw(kind, format!("{problem}\n  hint: {advice}\n"))
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    }
}

/// Returns the command that a command line is for.
fn meant(command: &Command, args: &[OsString]) -> Command {
    let mut meant = command.clone();
    meant.build();
    let mut at = 0;
    // A verb is two words deep.
    for _ in 0..2 {
        let next = word_after(args, at);
        let found = next.and_then(|next| Some((next, meant.find_subcommand(&args[next])?.clone())));
        let Some((next, found)) = found else { break };
        (at, meant) = (next, found);
    }
    meant
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn verbs_need_no_ephemeral() {
        for (line, whole) in [
            ("bcvk run -d x", "bcvk ephemeral run -d x"),
            ("bcvk -q ps", "bcvk -q ephemeral ps"),
            ("bcvk ls", "bcvk ephemeral ls"),
            ("bcvk help run", "bcvk help ephemeral run"),
            ("bcvk ephemeral ps", "bcvk ephemeral ps"),
            ("bcvk images ps", "bcvk images ps"),
            ("bcvk help", "bcvk help"),
            ("bcvk help images", "bcvk help images"),
            ("bcvk frobnicate", "bcvk frobnicate"),
            ("bcvk --help", "bcvk --help"),
            ("bcvk", "bcvk"),
        ] {
            assert_eq!(with_ephemeral(&cli::command(), words(line)), words(whole));
        }
    }

    #[test]
    fn images_are_listed_unless_something_else_is_said() {
        for (line, expected) in [
            ("bcvk images", "bcvk images list"),
            ("bcvk -q images --json", "bcvk -q images list --json"),
            ("bcvk images web", "bcvk images list web"),
            ("bcvk images ls -q", "bcvk images ls -q"),
            ("bcvk images --help", "bcvk images --help"),
            ("bcvk images help", "bcvk images help"),
            ("bcvk ps", "bcvk ephemeral ps"),
        ] {
            assert_eq!(whole(&cli::command(), words(line)), words(expected));
        }
    }

    #[test]
    fn options_before_the_command_are_told_from_its_own() {
        for (line, own) in [
            ("bcvk -q ephemeral --verbose ps -a", "bcvk ephemeral ps -a"),
            ("bcvk images -q", "bcvk images -q"),
            ("bcvk -q images list", "bcvk images list"),
            ("bcvk -q", "bcvk"),
        ] {
            assert_eq!(without_leading_options(&words(line)), words(own));
        }
    }

    fn said(line: &str) -> String {
        let args = words(line);
        let parsed = cli::command().try_get_matches_from(&args);
        explain(&cli::command(), &args, parsed.expect_err(line)).to_string()
    }

    #[test]
    fn guesses_stay_if_they_are_near() {
        for (line, guess) in [
            ("bcvk ephemeral run --memry 2G x", Some("--memory")),
            ("bcvk ephemeral run --publsh 1 x", Some("--publish")),
            ("bcvk ephemeral stpo x", Some("stop")),
            ("bcvk ephemeral run --frobnicate x", None),
            ("bcvk ephemeral run --rdonly x", None),
            ("bcvk ephemeral stop --frob x", None),
        ] {
            let said = said(line);
            match guess {
                Some(guess) => assert!(said.contains("tip: ") && said.contains(guess), "{said}"),
                None => assert!(!said.contains("tip: "), "{said}"),
            }
            let usage = said.split_once("Usage: bcvk ephemeral ").expect(&said).1;
            assert!(!usage.contains("bind"), "{said}");
        }
    }

    #[test]
    fn the_advice_is_for_the_command() {
        let said = said("bcvk -q ephemeral ls --last 3");
        assert!(
            said.starts_with("error: ps has no --last\n  hint: "),
            "{said}"
        );
    }
}
