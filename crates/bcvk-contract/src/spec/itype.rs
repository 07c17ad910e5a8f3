//! Instance types: a name for a number of vCPUs and an amount of memory.

use std::cmp::Reverse;
use std::str::FromStr;

use super::{Choice, MemorySize, SpecError};

/// A size of VM out of KubeVirt's "universal" family, `u1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceType {
    name: &'static str,
    vcpus: u32,
    memory: MemorySize,
}

/// Every instance type, smallest first: name, virtual processors, MiB of memory.
///
/// Names and sizes are those of `instancetypes/u/1/sizes.yaml` in
/// <https://github.com/kubevirt/common-instancetypes>.
const TABLE: [InstanceType; 10] = [
    of("u1.nano", 1, 512),
    of("u1.micro", 1, 1 << 10),
    of("u1.small", 1, 2 << 10),
    of("u1.medium", 1, 4 << 10),
    of("u1.2xmedium", 2, 4 << 10),
    of("u1.large", 2, 8 << 10),
    of("u1.xlarge", 4, 16 << 10),
    of("u1.2xlarge", 8, 32 << 10),
    of("u1.4xlarge", 16, 64 << 10),
    of("u1.8xlarge", 32, 128 << 10),
];

const fn of(name: &'static str, vcpus: u32, mib: u64) -> InstanceType {
    let memory = MemorySize::from_mib(mib);
    InstanceType {
        name,
        vcpus,
        memory,
    }
}

impl InstanceType {
    /// Returns the number of virtual processors.
    #[must_use]
    pub const fn vcpus(self) -> u32 {
        self.vcpus
    }

    /// Returns the amount of memory.
    #[must_use]
    pub const fn memory(self) -> MemorySize {
        self.memory
    }
}

impl Choice for InstanceType {
    const NOUN: &'static str = "an instance type";
    const ALL: &'static [Self] = &TABLE;

    fn name(self) -> &'static str {
        self.name
    }

    fn about(self) -> Option<String> {
        Some(format!("{} vCPU, {}", self.vcpus, self.memory))
    }
}

impl FromStr for InstanceType {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        let found = TABLE.iter().find(|known| known.name == value);
        found
            .copied()
            .ok_or_else(|| SpecError::UnknownInstanceType {
                value: value.to_owned(),
                nearest: nearest(value),
                known: TABLE.map(|known| known.name).join(", "),
            })
    }
}

/// Finds the type whose name takes the fewest edits from what was typed, with or without the
/// family; of several, the one that begins most like it.
fn nearest(value: &str) -> &'static str {
    let typed = value.to_ascii_lowercase();
    let distance = |name: &&str| {
        let size = name.split_once('.').map_or(*name, |(_, size)| size);
        let alike = |name: &str| {
            let both = typed.bytes().zip(name.bytes());
            both.take_while(|(a, b)| a == b).count()
        };
        (
            edits(&typed, name).min(edits(&typed, size)),
            Reverse(alike(name).max(alike(size))),
        )
    };
    let names = TABLE.iter().map(|known| known.name);
    names.min_by_key(distance).unwrap_or_default()
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
    fn every_name_is_its_own() {
        for known in TABLE {
            assert_eq!(known.name.parse(), Ok(known));
        }
        let large: InstanceType = "u1.large".parse().expect("an instance type");
        assert_eq!((large.vcpus(), large.memory().mib()), (2, 8192));
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
