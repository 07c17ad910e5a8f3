//! Limits for waiting.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SpecError;

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// A time to wait: at least a millisecond, at most 365 days.
///
/// Written as seconds (`300`) or as whole numbers with the units `h`, `m`, `s` and `ms`, each at
/// most once and in that order (`1h30m`, `90s`, `500ms`).
///
/// Serialised as the number of milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Timeout {
    millis: u64,
}

impl Timeout {
    /// Makes a timeout of that many seconds, for constants.
    ///
    /// # Panics
    /// On 0 and over 365 days; in a constant that is an error of the compiler.
    #[must_use]
    pub const fn from_secs(secs: u32) -> Self {
        let millis = secs as u64 * 1000;
        assert!(millis > 0 && millis <= YEAR_MS);
        Self { millis }
    }

    /// The timeout as a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.millis)
    }

    fn from_millis(millis: u64, given: &str) -> Result<Self, SpecError> {
        let value = || given.to_owned();
        match millis {
            0 => Err(SpecError::TimeoutZero { value: value() }),
            1..=YEAR_MS => Ok(Self { millis }),
            _ => Err(SpecError::TimeoutTooLong { value: value() }),
        }
    }
}

impl FromStr for Timeout {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        let syntax = || SpecError::TimeoutSyntax {
            value: value.to_owned(),
        };
        let too_long = || SpecError::TimeoutTooLong {
            value: value.to_owned(),
        };

        let mut rest = value.trim();
        let mut millis: u64 = 0;
        let mut smaller_than = u64::MAX;
        loop {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, tail) = tail.split_at(letters);
            let unit_ms = match unit {
                "h" => 3_600_000,
                "m" => 60_000,
                "s" => 1000,
                "ms" => 1,
                "" if smaller_than == u64::MAX && tail.is_empty() => 1000,
                _ => return Err(syntax()),
            };
            if number.is_empty() || unit_ms >= smaller_than {
                return Err(syntax());
            }
            smaller_than = unit_ms;
            // The text has digits only, so a number that does not fit is too long.
            let number: u64 = number.parse().map_err(|_| too_long())?;
            millis = number
                .checked_mul(unit_ms)
                .and_then(|ms| ms.checked_add(millis))
                .ok_or_else(too_long)?;
            if tail.is_empty() {
                return Self::from_millis(millis, value);
            }
            rest = tail;
        }
    }
}

impl fmt::Display for Timeout {
    /// Writes the form that [`FromStr`] reads, such as `1h30m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.millis;
        for (unit_ms, unit) in [(3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")] {
            if rest >= unit_ms {
                write!(f, "{}{unit}", rest / unit_ms)?;
                rest %= unit_ms;
            }
        }
        Ok(())
    }
}

impl TryFrom<u64> for Timeout {
    type Error = SpecError;

    fn try_from(millis: u64) -> Result<Self, SpecError> {
        Self::from_millis(millis, &format!("{millis}ms"))
    }
}

impl From<Timeout> for u64 {
    fn from(timeout: Timeout) -> Self {
        timeout.millis
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        for (value, millis, shown) in [
            ("300", 300_000, "5m"),
            ("5m", 300_000, "5m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90s", 90_000, "1m30s"),
            ("500ms", 500, "500ms"),
            ("1h2m3s4ms", 3_723_004, "1h2m3s4ms"),
            ("1s500ms", 1500, "1s500ms"),
            ("90m", 5_400_000, "1h30m"),
            (" 7 ", 7000, "7s"),
            ("8760h", YEAR_MS, "8760h"),
        ] {
            let parsed = value.parse::<Timeout>();
            assert_eq!(parsed.clone().map(u64::from), Ok(millis), "{value}");
            assert_eq!(
                parsed.clone().map(|t| t.to_string()),
                Ok(shown.into()),
                "{value}"
            );
            assert_eq!(shown.parse(), parsed, "{value}");
        }
        assert_eq!(Timeout::from_secs(300).duration(), Duration::from_secs(300));
    }

    #[test]
    fn refused() {
        let syntax = |v: &str| SpecError::TimeoutSyntax { value: v.into() };
        let long = |v: &str| SpecError::TimeoutTooLong { value: v.into() };
        let zero = |v: &str| SpecError::TimeoutZero { value: v.into() };
        for (value, expected) in [
            ("", syntax("")),
            ("m", syntax("m")),
            ("5x", syntax("5x")),
            ("-5s", syntax("-5s")),
            ("1.5m", syntax("1.5m")),
            ("5m30", syntax("5m30")),
            ("30m1h", syntax("30m1h")),
            ("1m1m", syntax("1m1m")),
            ("5 m", syntax("5 m")),
            ("never", syntax("never")),
            ("0", zero("0")),
            ("0h0s", zero("0h0s")),
            ("8761h", long("8761h")),
            ("99999999999999999999", long("99999999999999999999")),
            ("18446744073709551615h", long("18446744073709551615h")),
        ] {
            assert_eq!(value.parse::<Timeout>(), Err(expected), "{value}");
        }
    }

    #[test]
    fn serialised_as_milliseconds() {
        let timeout: Timeout = serde_json::from_str("90000").expect("deserialises");
        assert_eq!(timeout.to_string(), "1m30s");
        assert_eq!(
            serde_json::to_string(&timeout).expect("serialises"),
            "90000"
        );
        assert!(serde_json::from_str::<Timeout>("0").is_err());
    }
}
