//! Answers to what shells ask while a command line is being typed. The script of `bcvk completions`
//! runs bcvk with [`ASKED`] in its environment.
//!
//! A user who presses TAB has started nothing yet: everything here only looks, says nothing on
//! standard error, and does not take long.

mod bash;
mod line;
mod values;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};

use clap::Command;
use clap_complete::env::Shells;

use crate::cli::{visible, with_ephemeral};

/// Variable that says which shell asks. It is not one that a shell's user may have set for another
/// program, such as `COMPLETE`.
const ASKED: &str = "_BCVK_COMPLETE";

/// Variable in which clap's scripts say which word is being typed, if it is not the last.
const INDEX: &str = "_CLAP_COMPLETE_INDEX";

/// Answers a shell, if one asks.
pub(crate) fn answered() -> bool {
    let Some(shell) = env::var(ASKED).ok().filter(|shell| !shell.is_empty()) else {
        return false;
    };
    let after_dashes = env::args_os().skip_while(|word| word != "--").skip(1);
    // A shell that gets half an answer, or none, completes nothing. Nothing more can be done.
    let _ =
        answer(&shell, after_dashes.collect()).and_then(|answer| io::stdout().write_all(&answer));
    true
}

fn answer(shell: &str, words: Vec<OsString>) -> io::Result<Vec<u8>> {
    if shell == bash::NAME {
        return bash::answer(&words);
    }
    let mut answer = Vec::new();
    let index = env::var(INDEX).ok().and_then(|index| index.parse().ok());
    let index: usize = index.unwrap_or(words.len().saturating_sub(1));
    let (words, index) = whole(words, index);
    let mut command = with_values(&words, index);
    if let Some(shell) = Shells::builtins().completer(shell) {
        let directory = env::current_dir()?;
        shell.write_complete(&mut command, words, Some(&directory), &mut answer)?;
    }
    Ok(answer)
}

/// Returns the script for a shell.
pub(super) fn script(shell: &str) -> String {
    if shell == bash::NAME {
        return bash::script(ASKED);
    }
    let mut script = Vec::new();
    if let Some(shell) = Shells::builtins().completer(shell) {
        // Writing to memory does not fail.
        let _ = shell.write_registration(ASKED, "bcvk", "bcvk", "bcvk", &mut script);
    }
    String::from_utf8_lossy(&script).into_owned()
}

/// Returns the words with `ephemeral` among them if it was left out, and the index of the one that is typed.
fn whole(words: Vec<OsString>, index: usize) -> (Vec<OsString>, usize) {
    let before = words.len();
    let words = with_ephemeral(&visible(), words);
    let index = index + (words.len() - before);
    (words, index)
}

/// Builds the command line with the values that options may have where the word at `index` is typed.
fn with_values(words: &[OsString], index: usize) -> Command {
    let before = words.get(..index).unwrap_or(words);
    let mut command = values::add(visible(), before);
    if words.get(index).is_none_or(|word| word.is_empty()) {
        // clap adds `--help` here.
        command.build();
        return without_options(command);
    }
    command
}

/// Hides the options of a command, so that names are offered alone where a name is wanted. clap's
/// engine offers hidden options only where it has nothing else.
fn without_options(command: Command) -> Command {
    command
        .mut_args(|arg| {
            let positional = arg.is_positional();
            arg.hide(!positional)
        })
        .mut_subcommands(without_options)
}
