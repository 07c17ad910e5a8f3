//! Names of VMs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SpecError;

/// The name of a VM, which is the name of its container.
///
/// podman's rule: `[a-zA-Z0-9][a-zA-Z0-9_.-]*` (podman's `define.NameRegex`).
///
/// Serialised as the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct VmName(String);

impl VmName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VmName {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        let mut bytes = value.bytes();
        let starts_well = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        if starts_well && bytes.all(is_name_byte) {
            Ok(Self(value.to_owned()))
        } else {
            Err(SpecError::VmName {
                value: value.to_owned(),
            })
        }
    }
}

/// Returns true if names may contain that byte after their first: VMs' and shares' alike.
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

impl fmt::Display for VmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for VmName {
    type Error = SpecError;

    fn try_from(value: String) -> Result<Self, SpecError> {
        value.parse()
    }
}

impl From<VmName> for String {
    fn from(name: VmName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podmans_rule() {
        for value in ["a", "7", "devvm", "Dev_vm.2-x", "a."] {
            assert_eq!(
                value.parse::<VmName>().map(String::from),
                Ok(value.to_owned())
            );
        }
        for value in ["", "-a", ".a", "_a", "a b", "a/b", "é", "aé", "a\n", "a:b"] {
            assert_eq!(
                value.parse::<VmName>(),
                Err(SpecError::VmName {
                    value: value.into()
                }),
                "{value:?}"
            );
        }
    }

    #[test]
    fn checked_when_read_back() {
        assert!(serde_json::from_str::<VmName>("\"devvm\"").is_ok());
        assert!(serde_json::from_str::<VmName>("\"../x\"").is_err());
    }
}
