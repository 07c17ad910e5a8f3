//! Size of a guest's swap device.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{MemorySize, SpecError};

/// How much a guest can swap out, in whole mebibytes; written as [`MemorySize`] is, without its
/// minimum.
///
/// Serialised as the number of mebibytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct SwapSize {
    mib: u32,
}

impl SwapSize {
    /// The size in mebibytes.
    #[must_use]
    pub const fn mib(self) -> u32 {
        self.mib
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        (self.mib as u64) << 20
    }
}

impl FromStr for SwapSize {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        match MemorySize::parse_at_least(value, MemorySize::from_mib(1)) {
            Ok(size) => Ok(Self { mib: size.mib() }),
            Err(_) => Err(SpecError::SwapSize {
                value: value.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_a_guests_memory_is_enough() {
        let size: SwapSize = "64M".parse().expect("a size");
        assert_eq!(size.bytes(), 64 << 20);
        let crossed = serde_json::to_string(&size).expect("serialise");
        assert_eq!(serde_json::from_str::<SwapSize>(&crossed).ok(), Some(size));
        for value in ["", "0", "1K", "much"] {
            assert!(value.parse::<SwapSize>().is_err(), "{value}");
        }
    }
}
