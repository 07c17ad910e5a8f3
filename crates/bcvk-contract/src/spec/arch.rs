//! Processor architectures of guests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SpecError;

/// The processor architecture of an image and of the VM that boots it.
///
/// Serialised under Rust's and uname's name (`x86_64`, `aarch64`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit x86; podman's `amd64`.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM; podman's `arm64`.
    Aarch64,
}

impl Arch {
    /// Returns the architecture this program was built for, which is the host's; `None` on a host
    /// whose guests are not supported.
    #[must_use]
    pub fn host() -> Option<Self> {
        std::env::consts::ARCH.parse().ok()
    }

    /// The name that Rust, uname and bootc's `match-architectures` use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// The name that podman and OCI images use (GOARCH).
    #[must_use]
    pub const fn oci_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// The name of the QEMU program that emulates it.
    #[must_use]
    pub const fn qemu_binary(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86_64",
            Self::Aarch64 => "qemu-system-aarch64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Arch {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        [Self::X86_64, Self::Aarch64]
            .into_iter()
            .find(|arch| [arch.name(), arch.oci_name()].contains(&value))
            .ok_or_else(|| SpecError::UnknownArch {
                value: value.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_of_names() {
        for (value, arch) in [
            ("amd64", Arch::X86_64),
            ("x86_64", Arch::X86_64),
            ("arm64", Arch::Aarch64),
            ("aarch64", Arch::Aarch64),
        ] {
            assert_eq!(value.parse(), Ok(arch));
            assert_eq!(arch.name().parse(), Ok(arch));
            assert_eq!(arch.oci_name().parse(), Ok(arch));
        }
        for value in ["", "riscv64", "386", "AMD64"] {
            assert!(value.parse::<Arch>().is_err(), "{value}");
        }
    }

    #[test]
    fn serialised_by_name() {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let json = serde_json::to_string(&arch).expect("serialises");
            assert_eq!(json, format!("\"{arch}\""));
            assert_eq!(
                serde_json::from_str::<Arch>(&json).expect("deserialises"),
                arch
            );
        }
    }
}
