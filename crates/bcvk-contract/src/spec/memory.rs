//! Guest memory sizes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SpecError;

const MIB: u128 = 1 << 20;

/// An amount of guest memory, in whole mebibytes.
///
/// Written as podman's `--memory` is (<https://docs.podman.io/en/latest/markdown/podman-run.1.html>):
/// a number and a unit, where `K`, `M`, `G` and `T` are powers of 1024 with or without a following
/// `B` or `iB`, in either case. A plain number is MiB, as QEMU's `-m` has it. Fractions are
/// accepted if the amount comes to whole mebibytes (`1.5G`).
///
/// Serialised as the number of mebibytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "u32", into = "u32")]
pub struct MemorySize {
    mib: u32,
}

impl MemorySize {
    /// The least memory that is accepted: 256 MiB.
    ///
    /// A distribution kernel, its initramfs unpacked (100–200 MiB) and systemd do not come up in
    /// less, and what they do instead (an out-of-memory panic) explains nothing.
    pub const MIN: Self = Self { mib: 256 };

    /// The most memory that can be asked for: what 32 bits of mebibytes hold, about 4 PiB.
    pub const MAX: Self = Self { mib: u32::MAX };

    /// Makes an amount of `mib` mebibytes, for what is measured or known, not asked for: it may be
    /// under [`MemorySize::MIN`], and is [`MemorySize::MAX`] if it would be over that.
    #[must_use]
    pub const fn from_mib(mib: u64) -> Self {
        if mib > Self::MAX.mib as u64 {
            return Self::MAX;
        }
        #[allow(clippy::cast_possible_truncation, reason = "just compared")]
        let mib = mib as u32;
        Self { mib }
    }

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

impl FromStr for MemorySize {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        Self::parse_at_least(value, Self::MIN)
    }
}

impl MemorySize {
    /// Reads a size that is `least` or more.
    ///
    /// # Errors
    /// The `Memory…` variants of [`SpecError`].
    pub(super) fn parse_at_least(value: &str, least: Self) -> Result<Self, SpecError> {
        let given = || value.to_owned();
        let syntax = || SpecError::MemorySyntax { value: given() };

        let text = value.trim();
        let unit_at = text
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let unit = unit_bytes(unit).ok_or_else(syntax)?;
        let (whole, fraction) = number
            .trim_end()
            .split_once('.')
            .unwrap_or((number.trim_end(), "0"));
        if !is_digits(whole) || !is_digits(fraction) {
            return Err(syntax());
        }

        let too_large = || SpecError::MemoryTooLarge { value: given() };
        let uneven = || SpecError::MemoryNotWholeMib { value: given() };
        let whole: u128 = whole.parse().map_err(|_| too_large())?;
        let fraction = fraction.trim_end_matches('0');
        // Beyond twelve digits no fraction of a tebibyte comes to whole bytes that anyone meant.
        if fraction.len() > 12 {
            return Err(uneven());
        }
        let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| uneven())?);
        let fraction: u128 = if fraction.is_empty() {
            0
        } else {
            fraction.parse().map_err(|_| uneven())?
        };

        let scaled = whole
            .checked_mul(scale)
            .and_then(|n| n.checked_add(fraction))
            .and_then(|n| n.checked_mul(unit))
            .ok_or_else(too_large)?;
        if scaled < u128::from(least.bytes()) * scale {
            return Err(SpecError::MemoryTooSmall { value: given() });
        }
        if scaled % (MIB * scale) != 0 {
            return Err(uneven());
        }
        let mib = u32::try_from(scaled / (MIB * scale)).map_err(|_| too_large())?;
        Ok(Self { mib })
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Returns the bytes in the unit of that name; `None` if there is no such unit.
fn unit_bytes(unit: &str) -> Option<u128> {
    let power = match unit.to_ascii_lowercase().as_str() {
        "b" => 0,
        "k" | "kb" | "kib" => 1,
        "" | "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return None,
    };
    Some(1 << (10 * power))
}

impl fmt::Display for MemorySize {
    /// Writes whole gibibytes as `4 GiB`, everything else as `1536 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mib >= 1024 && self.mib.is_multiple_of(1024) {
            write!(f, "{} GiB", self.mib / 1024)
        } else {
            write!(f, "{} MiB", self.mib)
        }
    }
}

impl TryFrom<u32> for MemorySize {
    type Error = SpecError;

    fn try_from(mib: u32) -> Result<Self, SpecError> {
        let size = Self { mib };
        if size < Self::MIN {
            return Err(SpecError::MemoryTooSmall {
                value: size.to_string(),
            });
        }
        Ok(size)
    }
}

impl From<MemorySize> for u32 {
    fn from(size: MemorySize) -> Self {
        size.mib
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        for (value, mib) in [
            ("4G", 4096),
            ("4g", 4096),
            ("2048M", 2048),
            ("2048m", 2048),
            ("2GiB", 2048),
            ("2gib", 2048),
            ("2 GB", 2048),
            ("2048", 2048),
            (" 512 ", 512),
            ("256", 256),
            ("256.0", 256),
            ("1.5G", 1536),
            ("1.50G", 1536),
            ("0.25G", 256),
            ("0.5t", 524_288),
            ("1048576K", 1024),
            ("1073741824b", 1024),
            ("4294967295", u32::MAX),
        ] {
            assert_eq!(
                value.parse::<MemorySize>().map(MemorySize::mib),
                Ok(mib),
                "{value}"
            );
        }
    }

    #[test]
    fn refused() {
        let syntax = |v: &str| SpecError::MemorySyntax { value: v.into() };
        let uneven = |v: &str| SpecError::MemoryNotWholeMib { value: v.into() };
        let small = |v: &str| SpecError::MemoryTooSmall { value: v.into() };
        let large = |v: &str| SpecError::MemoryTooLarge { value: v.into() };
        for (value, expected) in [
            ("", syntax("")),
            ("banana", syntax("banana")),
            ("G", syntax("G")),
            ("4X", syntax("4X")),
            ("4GG", syntax("4GG")),
            ("-4G", syntax("-4G")),
            ("+4G", syntax("+4G")),
            ("4,5G", syntax("4,5G")),
            ("1.G", syntax("1.G")),
            (".5G", syntax(".5G")),
            ("1.2.3G", syntax("1.2.3G")),
            ("1e3", syntax("1e3")),
            ("٤G", syntax("٤G")),
            ("1.0001G", uneven("1.0001G")),
            ("1.12345678901234G", uneven("1.12345678901234G")),
            ("262145K", uneven("262145K")),
            ("0", small("0")),
            ("64M", small("64M")),
            ("255", small("255")),
            ("512K", small("512K")),
            ("0.1M", small("0.1M")),
            ("4294967296", large("4294967296")),
            ("99999999999T", large("99999999999T")),
            (
                "999999999999999999999999999999999999999999G",
                large("999999999999999999999999999999999999999999G"),
            ),
        ] {
            assert_eq!(value.parse::<MemorySize>(), Err(expected), "{value}");
        }
    }

    #[test]
    fn sentences() {
        let error = |v: &str| v.parse::<MemorySize>().map_err(|e| e.to_string());
        assert_eq!(
            error("64M"),
            Err("'64M' is too little memory for a guest: give at least 256 MiB".into())
        );
        assert_eq!(
            error("banana"),
            Err("'banana' is not a memory size: give a number with a unit, such as 4G or 2048M (a plain number is MiB)".into())
        );
    }

    #[test]
    fn shown_in_the_largest_whole_unit() {
        for (value, shown) in [("4G", "4 GiB"), ("1536", "1536 MiB"), ("512M", "512 MiB")] {
            assert_eq!(
                value.parse::<MemorySize>().map(|m| m.to_string()),
                Ok(shown.into())
            );
        }
    }

    #[test]
    fn bytes_do_not_overflow() {
        assert_eq!(MemorySize::MAX.bytes(), u64::from(u32::MAX) << 20);
        assert_eq!(MemorySize::MIN.bytes(), 268_435_456);
        assert_eq!(MemorySize::from_mib(u64::MAX), MemorySize::MAX);
        assert_eq!(MemorySize::from_mib(5).mib(), 5);
    }

    #[test]
    fn serialised_as_mebibytes() {
        let size: MemorySize = serde_json::from_str("4096").expect("a valid size");
        assert_eq!(size.to_string(), "4 GiB");
        assert_eq!(serde_json::to_string(&size).expect("serialises"), "4096");
        assert!(serde_json::from_str::<MemorySize>("64").is_err());
    }
}
