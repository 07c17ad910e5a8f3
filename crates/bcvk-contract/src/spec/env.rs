//! Environment variables.

use std::fmt;
use std::str::FromStr;

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

impl fmt::Display for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// A variable as the user asks for it: `NAME=VALUE`, or `NAME` alone for the user's own value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvRequest {
    name: String,
    value: Option<String>,
}

impl EnvRequest {
    /// Returns the variable. One without a value has that of `lookup`: `None` if there is none, as
    /// `podman run --env NAME` leaves a variable out that is not set
    /// (<https://docs.podman.io/en/latest/markdown/podman-run.1.html>).
    ///
    /// # Errors
    /// [`SpecError::EnvLines`] for a value of several lines.
    pub fn resolve(
        &self,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<EnvVar>, SpecError> {
        let name = &self.name;
        match self.value.clone().or_else(|| lookup(name)) {
            Some(value) if value.contains(['\n', '\r']) => {
                Err(SpecError::EnvLines { name: name.clone() })
            }
            value => Ok(value.map(|value| EnvVar {
                name: name.clone(),
                value,
            })),
        }
    }
}

impl FromStr for EnvRequest {
    type Err = SpecError;

    /// Refuses a name that no variable has, podman's pattern `PREFIX*`, and a value of several lines.
    fn from_str(text: &str) -> Result<Self, SpecError> {
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
        let request = Self {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        };
        request.resolve(|_| None).map(|_| request)
    }
}

impl From<EnvVar> for EnvRequest {
    fn from(var: EnvVar) -> Self {
        Self {
            name: var.name,
            value: Some(var.value),
        }
    }
}

impl fmt::Display for EnvRequest {
    /// Writes the form that [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<String>, SpecError> {
        let caller = |name: &str| (name == "HOME").then(|| "/home/u".to_owned());
        let request: EnvRequest = text.parse()?;
        assert_eq!(request.to_string(), text);
        let var = request.resolve(caller)?;
        Ok(var.map(|var| var.to_string()))
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
        let own: EnvRequest = "CERT".parse().expect("a variable");
        let own = own.resolve(|_| Some("a\nb".to_owned()));
        assert!(matches!(own, Err(SpecError::EnvLines { .. })));
        assert_eq!(
            parse("LC_*"),
            Err(SpecError::EnvPattern {
                value: "LC_*".into()
            })
        );
    }
}
