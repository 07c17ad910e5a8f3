//! Environment variables.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::SpecError;

/// An environment variable with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EnvVar {
    /// Never empty, without `=`, spaces and control characters.
    pub name: String,
    /// Any line of text without NUL; may be empty.
    pub value: String,
}

impl EnvVar {
    /// Reads `NAME=VALUE`, or `NAME` alone, whose value `lookup` has: `None` if it has none, as
    /// `podman run --env NAME` leaves a variable out that is not set
    /// (<https://docs.podman.io/en/latest/markdown/podman-run.1.html>).
    ///
    /// # Errors
    /// [`SpecError::EnvSyntax`] without a proper name, [`SpecError::EnvPattern`] for podman's
    /// `PREFIX*`, [`SpecError::EnvLines`] for a value of several lines.
    pub fn parse(
        text: &str,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SpecError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let bad_character = |c: char| c.is_whitespace() || c.is_control();
        if name.is_empty() || name.contains(bad_character) || text.contains('\0') {
            return Err(SpecError::EnvSyntax {
                value: text.to_owned(),
            });
        }
        if value.is_none() && name.ends_with('*') {
            return Err(SpecError::EnvPattern {
                value: text.to_owned(),
            });
        }
        let Some(value) = value.map(str::to_owned).or_else(|| lookup(name)) else {
            return Ok(None);
        };
        if value.contains(['\n', '\r']) {
            return Err(SpecError::EnvLines {
                name: name.to_owned(),
            });
        }
        Ok(Some(Self {
            name: name.to_owned(),
            value,
        }))
    }
}

impl fmt::Display for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<String>, SpecError> {
        let caller = |name: &str| (name == "HOME").then(|| "/home/u".to_owned());
        EnvVar::parse(text, caller).map(|v| v.map(|v| v.to_string()))
    }

    #[test]
    fn accepted() {
        for (text, expected) in [
            ("A=b", Some("A=b")),
            ("A=", Some("A=")),
            ("A=b=c d", Some("A=b=c d")),
            ("A=*", Some("A=*")),
            ("a.b-c=1", Some("a.b-c=1")),
            ("HOME", Some("HOME=/home/u")),
            ("HOME=/root", Some("HOME=/root")),
            ("UNSET", None),
        ] {
            assert_eq!(parse(text), Ok(expected.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn refused() {
        for text in ["", "=b", "A B=c", "A\n=b", "A=b\0c"] {
            assert_eq!(
                parse(text),
                Err(SpecError::EnvSyntax { value: text.into() })
            );
        }
        for text in ["A=b\nC=d", "A=b\r"] {
            assert_eq!(parse(text), Err(SpecError::EnvLines { name: "A".into() }));
        }
        assert_eq!(
            parse("LC_*"),
            Err(SpecError::EnvPattern {
                value: "LC_*".into()
            })
        );
    }
}
