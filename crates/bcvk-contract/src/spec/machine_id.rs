//! The ID by which a guest's system knows itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SpecError;

/// A machine ID (machine-id(5)): 32 lower-case hexadecimal digits, not all of them zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct MachineId(String);

impl MachineId {
    /// Makes an ID of these random `bytes`, marked as a UUID of version 4, as systemd marks its own
    /// (sd-id128(3)).
    #[must_use]
    pub fn random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The ID as `/etc/machine-id` has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The machine ID that a VM is asked to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineIdRequest {
    /// An ID that no other machine has.
    New,
    /// This ID.
    Given(MachineId),
}

impl MachineIdRequest {
    /// The word for it on the command line.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::New => "new",
            Self::Given(id) => id.as_str(),
        }
    }
}

impl FromStr for MachineIdRequest {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        if value == "new" {
            return Ok(Self::New);
        }
        let is_id = value.len() == 32
            && value.bytes().all(|byte| byte.is_ascii_hexdigit())
            && value.bytes().any(|byte| byte != b'0');
        if is_id {
            Ok(Self::Given(MachineId(value.to_ascii_lowercase())))
        } else {
            Err(SpecError::MachineId(value.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_32_digits() {
        for (text, is_good) in [
            ("new", true),
            ("0123456789abcdef0123456789ABCDEF", true),
            ("00000000000000000000000000000000", false),
            ("0123456789abcdef0123456789abcde", false),
            ("0123456789abcdef0123456789abcdeg", false),
            ("01234567-89ab-cdef-0123-456789abcdef", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<MachineIdRequest>().is_ok(), is_good, "{text}");
        }
        let upper: MachineIdRequest = "0123456789ABCDEF0123456789abcdef".parse().expect("an ID");
        assert_eq!(upper.name(), "0123456789abcdef0123456789abcdef");
    }

    #[test]
    fn a_random_one_is_a_uuid() {
        let id = MachineId::random([0xff; 16]);
        assert_eq!(id.as_str(), "ffffffffffff4fffbfffffffffffffff");
        assert_eq!(
            MachineId::random([0; 16]).as_str(),
            "00000000000040008000000000000000"
        );
    }
}
