//! Quoting of words for a POSIX shell.

use std::borrow::Cow;

/// Returns `word` quoted as one word of a command line.
#[must_use]
pub fn quote(word: &str) -> String {
    // Only a NUL byte cannot be quoted, and no argument of a process has one.
    shlex::try_quote(word).map_or_else(|_| String::new(), Cow::into_owned)
}
