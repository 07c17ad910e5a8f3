//! bash's part of completion.
//!
//! clap's own script goes wrong with `localhost/os:1` and `--itype=u1.small`: bash hands it pieces
//! of such words, and expects pieces back. Here bash hands over the line.

use std::env;
use std::ffi::OsString;
use std::io;

use clap_complete::engine::complete;

use super::line::{quoted, split};
use super::{whole, with_values};

/// Name of the shell for `bcvk completions`.
pub(super) const NAME: &str = "bash";

/// Value that `COMP_WORDBREAKS` has unless the user has changed it.
const BREAKS: &str = " \t\n\"'><=;|&(:";

/// Script for bash. A word that ends in one of the characters of its `case` is not complete.
const SCRIPT: &str = r#"_bcvk() {
    mapfile -t COMPREPLY < <(
        ASKED=bash bcvk -- "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null
    )
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/:] ]]; then
        compopt -o nospace
    fi
}
complete -o nosort -F _bcvk bcvk 2>/dev/null || complete -F _bcvk bcvk
"#;

/// Returns the script, which asks by the variable `asked`.
pub(super) fn script(asked: &str) -> String {
    SCRIPT.replace("ASKED", asked)
}

/// Returns a line for each word that would do, as readline is to insert it.
pub(super) fn answer(said: &[OsString]) -> io::Result<Vec<u8>> {
    let said: Vec<_> = said.iter().map(|word| word.to_string_lossy()).collect();
    let text = said.first().map_or("", |line| line.as_ref());
    let breaks = said.get(1).map_or(BREAKS, |breaks| breaks.as_ref());
    let line = split(text, breaks);
    let words: Vec<OsString> = line.words.iter().map(OsString::from).collect();
    let (words, index) = whole(words, line.words.len() - 1);
    let mut command = with_values(&words, index);
    let directory = env::current_dir()?;
    let found = complete(&mut command, words, index, Some(&directory))?;
    let mut answer = String::new();
    for candidate in found {
        let value = candidate.get_value().to_string_lossy();
        if let Some(rest) = value.get(line.kept..) {
            answer.push_str(&quoted(rest, line.quote));
            answer.push('\n');
        }
    }
    Ok(answer.into_bytes())
}
