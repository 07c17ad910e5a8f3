//! Instance types: a name for a number of vCPUs and an amount of memory.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{MemorySize, SpecError};

/// A size of VM out of KubeVirt's "universal" family, `u1`.
///
/// Names and sizes are those of `instancetypes/u/1/sizes.yaml` in
/// <https://github.com/kubevirt/common-instancetypes>.
///
/// Serialised as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InstanceType {
    /// 1 vCPU, 512 MiB.
    #[serde(rename = "u1.nano")]
    Nano,
    /// 1 vCPU, 1 GiB.
    #[serde(rename = "u1.micro")]
    Micro,
    /// 1 vCPU, 2 GiB.
    #[serde(rename = "u1.small")]
    Small,
    /// 1 vCPU, 4 GiB.
    #[serde(rename = "u1.medium")]
    Medium,
    /// 2 vCPUs, 4 GiB.
    #[serde(rename = "u1.2xmedium")]
    TwoXMedium,
    /// 2 vCPUs, 8 GiB.
    #[serde(rename = "u1.large")]
    Large,
    /// 4 vCPUs, 16 GiB.
    #[serde(rename = "u1.xlarge")]
    XLarge,
    /// 8 vCPUs, 32 GiB.
    #[serde(rename = "u1.2xlarge")]
    TwoXLarge,
    /// 16 vCPUs, 64 GiB.
    #[serde(rename = "u1.4xlarge")]
    FourXLarge,
    /// 32 vCPUs, 128 GiB.
    #[serde(rename = "u1.8xlarge")]
    EightXLarge,
}

impl InstanceType {
    /// Every instance type, smallest first.
    #[must_use]
    pub const fn all() -> &'static [Self] {
        &[
            Self::Nano,
            Self::Micro,
            Self::Small,
            Self::Medium,
            Self::TwoXMedium,
            Self::Large,
            Self::XLarge,
            Self::TwoXLarge,
            Self::FourXLarge,
            Self::EightXLarge,
        ]
    }

    /// The name it is asked for by, such as `u1.small`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nano => "u1.nano",
            Self::Micro => "u1.micro",
            Self::Small => "u1.small",
            Self::Medium => "u1.medium",
            Self::TwoXMedium => "u1.2xmedium",
            Self::Large => "u1.large",
            Self::XLarge => "u1.xlarge",
            Self::TwoXLarge => "u1.2xlarge",
            Self::FourXLarge => "u1.4xlarge",
            Self::EightXLarge => "u1.8xlarge",
        }
    }

    /// Returns the number of virtual processors.
    #[must_use]
    pub const fn vcpus(self) -> u32 {
        match self {
            Self::Nano | Self::Micro | Self::Small | Self::Medium => 1,
            Self::TwoXMedium | Self::Large => 2,
            Self::XLarge => 4,
            Self::TwoXLarge => 8,
            Self::FourXLarge => 16,
            Self::EightXLarge => 32,
        }
    }

    /// Returns the amount of memory.
    #[must_use]
    pub const fn memory(self) -> MemorySize {
        let mib = match self {
            Self::Nano => 512,
            Self::Micro => 1024,
            Self::Small => 2 * 1024,
            Self::Medium | Self::TwoXMedium => 4 * 1024,
            Self::Large => 8 * 1024,
            Self::XLarge => 16 * 1024,
            Self::TwoXLarge => 32 * 1024,
            Self::FourXLarge => 64 * 1024,
            Self::EightXLarge => 128 * 1024,
        };
        MemorySize::from_mib(mib)
    }
}

impl fmt::Display for InstanceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for InstanceType {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        let all = Self::all().iter().copied();
        all.clone()
            .find(|t| t.name() == value)
            .ok_or_else(|| SpecError::UnknownInstanceType {
                value: value.to_owned(),
                nearest: nearest(value).name(),
                known: all.map(Self::name).collect::<Vec<_>>().join(", "),
            })
    }
}

/// Finds the type whose name takes the fewest edits from what was typed, with or without the
/// family; of several, the one that begins most like it.
fn nearest(value: &str) -> InstanceType {
    let typed = value.to_ascii_lowercase();
    let distance = |t: &InstanceType| {
        let (_, size) = t.name().split_once('.').unwrap_or(("", t.name()));
        let alike = |name: &str| {
            typed
                .bytes()
                .zip(name.bytes())
                .take_while(|(a, b)| a == b)
                .count()
        };
        (
            edits(&typed, t.name()).min(edits(&typed, size)),
            Reverse(alike(t.name()).max(alike(size))),
        )
    };
    InstanceType::all()
        .iter()
        .copied()
        .min_by_key(distance)
        .unwrap_or(InstanceType::Medium)
}

/// Computes the Levenshtein distance: insertions, deletions and replacements of one character.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_kubevirts() {
        let table: Vec<String> = InstanceType::all()
            .iter()
            .map(|t| format!("{t} {} {}", t.vcpus(), t.memory()))
            .collect();
        assert_eq!(
            table,
            [
                "u1.nano 1 512 MiB",
                "u1.micro 1 1 GiB",
                "u1.small 1 2 GiB",
                "u1.medium 1 4 GiB",
                "u1.2xmedium 2 4 GiB",
                "u1.large 2 8 GiB",
                "u1.xlarge 4 16 GiB",
                "u1.2xlarge 8 32 GiB",
                "u1.4xlarge 16 64 GiB",
                "u1.8xlarge 32 128 GiB",
            ]
        );
    }

    #[test]
    fn every_name_is_its_own() {
        for t in InstanceType::all() {
            assert_eq!(t.name().parse(), Ok(*t));
            let json = serde_json::to_string(t).expect("serialises");
            assert_eq!(json, format!("\"{}\"", t.name()));
            assert_eq!(
                serde_json::from_str::<InstanceType>(&json).expect("deserialises"),
                *t
            );
        }
    }

    #[test]
    fn the_nearest_is_suggested() {
        for (value, expected) in [
            ("u1.smal", "u1.small"),
            ("small", "u1.small"),
            ("U1.Large", "u1.large"),
            ("u1.2xl", "u1.2xlarge"),
            ("u1.16xlarge", "u1.xlarge"),
            ("medum", "u1.medium"),
        ] {
            match value.parse::<InstanceType>() {
                Err(SpecError::UnknownInstanceType { nearest, .. }) => {
                    assert_eq!(nearest, expected, "{value}");
                }
                other => panic!("{value}: {other:?}"),
            }
        }
    }

    #[test]
    fn sentence() {
        assert_eq!(
            "u1.tiny".parse::<InstanceType>().map_err(|e| e.to_string()),
            Err(
                "'u1.tiny' is not an instance type: did you mean u1.nano? Known are u1.nano, u1.micro, \
                 u1.small, u1.medium, u1.2xmedium, u1.large, u1.xlarge, u1.2xlarge, u1.4xlarge, u1.8xlarge"
                    .into()
            )
        );
    }
}
