//! File system of a guest's `/var`.

use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{MemorySize, Share, SpecError, SwapSize};

/// Name of the disk that has a guest's `/var`.
pub const VAR_NAME: &str = "bcvk-var";

/// Memory that the guest's system keeps for itself: a quarter of all, and this much at least where
/// that is not more than half. A tmpfs whose limit left less could be filled until the kernel kills
/// processes, or panics.
const KEPT: u64 = 320 << 20;

/// Least limit of the file system of `/etc`, `/root` and `/tmp`.
const REST: u64 = 64 << 20;

/// Place of a guest's `/var`, whose content is the image's in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Var {
    /// The file system in memory that `/etc`, `/root` and `/tmp` are on too.
    #[default]
    Shared,
    /// A file system of its own in memory, with this size.
    Memory(VarSize),
    /// A disk of this size, which is made for the VM and goes away with it.
    Disk(VarSize),
}

/// Size of a `/var`, in whole mebibytes; written as [`MemorySize`] is.
///
/// Serialised as the number of mebibytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "u32", into = "u32")]
pub struct VarSize {
    mib: u32,
}

impl VarSize {
    /// Least size: an image's own `/var` fits, and a disk has room for its tables.
    const MIN_MIB: u32 = 64;

    /// Greatest size: an ext4 whose block numbers have 32 bits ends at 16 TiB.
    const MAX_MIB: u32 = 15 << 20;

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

impl TryFrom<u32> for VarSize {
    type Error = SpecError;

    fn try_from(mib: u32) -> Result<Self, SpecError> {
        if (Self::MIN_MIB..=Self::MAX_MIB).contains(&mib) {
            Ok(Self { mib })
        } else {
            Err(SpecError::VarSize {
                value: format!("{mib}M"),
            })
        }
    }
}

impl From<VarSize> for u32 {
    fn from(size: VarSize) -> Self {
        size.mib
    }
}

impl FromStr for VarSize {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        MemorySize::parse_at_least(value, MemorySize::from_mib(Self::MIN_MIB.into()))
            .and_then(|size| Self::try_from(size.mib()))
            .map_err(|_| SpecError::VarSize {
                value: value.to_owned(),
            })
    }
}

impl Var {
    /// The size of the disk that has it, if one has.
    #[must_use]
    pub const fn disk(self) -> Option<VarSize> {
        match self {
            Self::Shared | Self::Memory(_) => None,
            Self::Disk(size) => Some(size),
        }
    }

    /// Checks that a guest with this much memory and swap space has room for it.
    ///
    /// # Errors
    /// [`SpecError::VarTooLarge`].
    pub fn check_fits(self, memory: MemorySize, swap: Option<SwapSize>) -> Result<(), SpecError> {
        let bytes = memory.bytes();
        let swap = swap.map_or(0, SwapSize::bytes);
        let most = (bytes - KEPT.min(bytes / 2) + swap).saturating_sub(REST);
        match self {
            Self::Memory(size) if size.bytes() > most => Err(SpecError::VarTooLarge {
                size: size.mib(),
                most: most >> 20,
            }),
            Self::Shared | Self::Memory(_) | Self::Disk(_) => Ok(()),
        }
    }

    /// Checks that no share is mounted over it.
    ///
    /// # Errors
    /// [`SpecError::VarCovered`].
    pub fn check_shares(self, shares: &[Share]) -> Result<(), SpecError> {
        let covers = |share: &&Share| share.guest_path == Path::new("/var");
        match (self, shares.iter().find(covers)) {
            (Self::Memory(_) | Self::Disk(_), Some(share)) => Err(SpecError::VarCovered {
                host: share.host.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// Returns the limit of the file system for everything volatile, without a `/var` that has its own, in
/// a guest with so many bytes of memory and swap space.
#[must_use]
pub fn volatile_limit(memory: u64, swap: u64, var: Var) -> u64 {
    let kept = KEPT.max(memory / 4).min(memory / 2);
    let all = memory - kept + swap;
    match var {
        Var::Memory(size) => all.saturating_sub(size.bytes()).max(REST),
        Var::Shared | Var::Disk(_) => all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::example;

    const MIB: u64 = 1 << 20;

    fn memory(size: &str) -> Var {
        Var::Memory(size.parse().expect(size))
    }

    #[test]
    fn a_size_has_bounds() {
        let size: VarSize = "20G".parse().expect("a size");
        assert_eq!(size.bytes(), 20 << 30);
        let crossed = serde_json::to_string(&Var::Disk(size)).expect("serialise");
        assert_eq!(crossed, "{\"disk\":20480}");
        assert_eq!(
            serde_json::from_str::<Var>(&crossed).ok(),
            Some(Var::Disk(size))
        );
        assert!(serde_json::from_str::<Var>("{\"disk\":1}").is_err());
        for value in ["", "0", "63M", "much", "16T"] {
            assert!(value.parse::<VarSize>().is_err(), "{value}");
        }
    }

    #[test]
    fn a_full_file_system_leaves_memory_to_the_system() {
        for (memory_mib, swap, var, limit) in [
            (480, 0, Var::Shared, 240),
            (960, 0, Var::Shared, 640),
            (2000, 0, Var::Shared, 1500),
            (2000, 4000, Var::Shared, 5500),
            (2000, 0, memory("500M"), 1000),
            (2000, 0, memory("1600M"), 64),
            (2000, 0, Var::Disk("20G".parse().expect("a size")), 1500),
        ] {
            assert_eq!(
                volatile_limit(memory_mib * MIB, swap * MIB, var),
                limit * MIB,
                "{memory_mib} {swap} {var:?}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let swap = |size: &str| Some(size.parse().expect(size));
        for (guest, swap, var, fits) in [
            (2048, None, memory("1664M"), true),
            (2048, None, memory("1665M"), false),
            (2048, swap("1G"), memory("2688M"), true),
            (256, None, memory("64M"), true),
            (256, None, memory("65M"), false),
            (256, None, Var::Disk("1T".parse().expect("a size")), true),
            (256, None, Var::Shared, true),
        ] {
            let checked = var.check_fits(MemorySize::from_mib(guest), swap);
            assert_eq!(checked.is_ok(), fits, "{guest} {swap:?} {var:?}");
        }
    }

    #[test]
    fn a_share_does_not_cover_what_was_asked_for() {
        let mut share = example().shares[0].clone();
        share.guest_path = "/var/lib".into();
        assert_eq!(memory("64M").check_shares(&[share.clone()]), Ok(()));
        share.guest_path = "/var".into();
        let covered = memory("64M").check_shares(&[share.clone()]);
        assert!(matches!(covered, Err(SpecError::VarCovered { .. })));
        assert_eq!(Var::Shared.check_shares(&[share]), Ok(()));
    }
}
