//! Configurations for Ignition.

#![allow(clippy::disallowed_methods, reason = "opens a file of the user's")]

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use crate::FileError;

/// Reads and checks a configuration: `ignition.version` is the one field that every version has
/// (Ignition, docs/configuration-v3_x.md).
///
/// # Errors
/// [`FileError::Ignition`] if the file cannot be read or is something else, such as the YAML that
/// butane makes a configuration of.
pub fn read_ignition(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Ignition {
        path: path.to_owned(),
        source,
    };
    let text = fs::read(path).map_err(|e| {
        failed(match e.kind() {
            io::ErrorKind::NotFound => io::Error::new(e.kind(), "the file was not found"),
            _ => e,
        })
    })?;
    let config: Value =
        serde_json::from_slice(&text).map_err(|e| failed(io::Error::other(format!("{e}"))))?;
    let version = config.pointer("/ignition/version");
    if version.and_then(Value::as_str).is_none() {
        return Err(failed(io::Error::other("it has no ignition.version")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_configuration_is_one() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("config.ign");
        let read = |text: &str| {
            fs::write(&file, text).expect("write");
            read_ignition(&file)
        };
        assert!(read(r#"{"ignition": {"version": "3.4.0"}}"#).is_ok());
        for text in [
            "",
            "{}",
            "variant: fcos\nversion: 1.5.0\n",
            r#"{"ignition": 3}"#,
        ] {
            assert!(
                matches!(read(text), Err(FileError::Ignition { .. })),
                "{text}"
            );
        }
    }
}
