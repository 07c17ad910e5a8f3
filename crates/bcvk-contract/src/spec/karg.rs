//! Kernel arguments.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SpecError;

/// One kernel argument, as it stands on the kernel's command line.
///
/// `NAME` or `NAME=VALUE`; spaces only between double quotes, as in `dyndbg="file a.c +p"`
/// (Linux `Documentation/admin-guide/kernel-parameters.rst`; `next_arg` in `lib/cmdline.c`).
///
/// Serialised as the argument.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Karg(String);

impl Karg {
    /// Splits a whole command line into arguments, as the kernel does: at spaces outside double
    /// quotes. An empty line has none.
    ///
    /// # Errors
    /// [`SpecError::KargControl`] and [`SpecError::KargQuote`], naming the line.
    pub fn split(line: &str) -> Result<Vec<Self>, SpecError> {
        if line.contains(['\n', '\r', '\0']) {
            return Err(SpecError::KargControl {
                value: line.to_owned(),
            });
        }
        let mut quoted = false;
        let arguments = line
            .split(|c: char| {
                quoted ^= c == '"';
                !quoted && c.is_ascii_whitespace()
            })
            .filter(|argument| !argument.is_empty())
            .map(|argument| Self(argument.to_owned()))
            .collect();
        if quoted {
            return Err(SpecError::KargQuote {
                value: line.to_owned(),
            });
        }
        Ok(arguments)
    }

    /// The argument as it stands on the command line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part before the first `=`, or all of it. The kernel takes `-` and `_` in names
    /// for the same; this does not change them.
    #[must_use]
    pub fn name(&self) -> &str {
        let text = self.0.strip_prefix('"').unwrap_or(&self.0);
        text.split('=').next().unwrap_or(text)
    }
}

impl FromStr for Karg {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        let mut arguments = Self::split(value)?.into_iter();
        match (arguments.next(), arguments.next()) {
            (Some(argument), None) => Ok(argument),
            (None, _) => Err(SpecError::KargEmpty),
            (Some(_), Some(_)) => Err(SpecError::KargSeveral {
                value: value.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Karg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Karg {
    type Error = SpecError;

    fn try_from(value: String) -> Result<Self, SpecError> {
        value.parse()
    }
}

impl From<Karg> for String {
    fn from(karg: Karg) -> Self {
        karg.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        for (value, stands, name) in [
            ("quiet", "quiet", "quiet"),
            (
                "console=ttyS0,115200n8",
                "console=ttyS0,115200n8",
                "console",
            ),
            (" quiet ", "quiet", "quiet"),
            ("a=", "a=", "a"),
            ("root=UUID=1-2", "root=UUID=1-2", "root"),
            (
                r#"dyndbg="file a.c +p""#,
                r#"dyndbg="file a.c +p""#,
                "dyndbg",
            ),
            (
                r#""dyndbg=file a.c +p""#,
                r#""dyndbg=file a.c +p""#,
                "dyndbg",
            ),
        ] {
            let karg: Karg = value.parse().expect("a kernel argument");
            assert_eq!((karg.as_str(), karg.name()), (stands, name));
        }
    }

    #[test]
    fn refused() {
        let v = str::to_owned;
        for (value, expected) in [
            ("", SpecError::KargEmpty),
            ("  ", SpecError::KargEmpty),
            ("a\nb", SpecError::KargControl { value: v("a\nb") }),
            ("a\0", SpecError::KargControl { value: v("a\0") }),
            (
                "quiet splash",
                SpecError::KargSeveral {
                    value: v("quiet splash"),
                },
            ),
            (
                r#"a="b c"#,
                SpecError::KargQuote {
                    value: v(r#"a="b c"#),
                },
            ),
        ] {
            assert_eq!(value.parse::<Karg>(), Err(expected), "{value:?}");
        }
    }

    #[test]
    fn lines_are_split_as_the_kernel_does() {
        for (line, expected) in [
            ("", vec![]),
            ("quiet  rw\tro", vec!["quiet", "rw", "ro"]),
            (r#"a="b c" d"#, vec![r#"a="b c""#, "d"]),
            (r#"x "a=b c"d e"#, vec!["x", r#""a=b c"d"#, "e"]),
        ] {
            let kargs = Karg::split(line).expect("a command line");
            assert_eq!(kargs.iter().map(Karg::as_str).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn serialised_as_text() {
        let karg: Karg = serde_json::from_str("\"quiet\"").expect("deserialises");
        assert_eq!(
            serde_json::to_string(&karg).expect("serialises"),
            "\"quiet\""
        );
        assert!(serde_json::from_str::<Karg>("\"a b\"").is_err());
    }
}
