//! Fuzzing of the configuration. See [`crate::fuzzing`].

#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;

use super::Defaults;

/// Parses `config.toml`, and then a command line over it: what the file says was checked already.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let defaults = match Defaults::from_config(Path::new("config.toml"), &text) {
        Ok(defaults) => defaults,
        Err(error) => {
            let line = error.place.strip_prefix("config.toml, line ");
            let line: usize = line.and_then(|line| line.parse().ok()).expect("a line");
            assert!((1..=text.lines().count().max(1) + 1).contains(&line));
            assert!(!error.problem.is_empty());
            return;
        }
    };
    let words = ["bcvk", "ephemeral", "run", "image"].map(OsString::from);
    // Two options may exclude each other, but each by itself is right.
    if let Err(error) = defaults.try_parse(words) {
        let checked = [
            ErrorKind::ValueValidation,
            ErrorKind::InvalidValue,
            ErrorKind::UnknownArgument,
        ];
        assert!(!checked.contains(&error.kind()), "{error}");
    }
}
