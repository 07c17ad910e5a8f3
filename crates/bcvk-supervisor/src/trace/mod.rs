//! The trace of a boot: everything that a guest has looked at of its image, and what it found.
//!
//! A boot is the same for two images if all that it looks at is the same in both. So a VM can be
//! resumed from a snapshot that was taken of another image, if nothing of the trace differs. The
//! image's file server hears every question ([`Asked`]), so that the trace is complete; it looks for
//! the answers itself, in the image that does not change, once the guest has been saved.

mod asked;
mod check;
mod found;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use asked::Asked;
use bcvk_contract::spec::Sha256Digest;
pub(crate) use check::Checked;
use found::Found;
use serde::{Deserialize, Serialize};

/// Greatest number of names in a trace. A boot of a full desktop looks for some 10,000.
const MAX_NAMES: usize = 100_000;

/// Everything that a boot has looked at of its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trace {
    /// Digest of all that was made of the image for the guest.
    pub(crate) given: Sha256Digest,
    /// The first is the image's root. Every other comes after its directory.
    looks: Vec<Look>,
}

/// A name that was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// Number of its directory; the root is in itself.
    dir: u32,
    name: String,
    /// `None` if there is nothing of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found: Option<Found>,
}

impl Trace {
    /// Parses a trace. It may come from a file server that its guest has taken over.
    ///
    /// # Errors
    /// If it is not one, or names something that is not below its root.
    pub(crate) fn parse(text: &[u8]) -> io::Result<Self> {
        let trace: Self = serde_json::from_slice(text)?;
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        if trace.looks.len() > MAX_NAMES {
            return Err(invalid());
        }
        let mut looks = trace.looks.iter().enumerate();
        match looks.next() {
            Some((_, root)) if root.dir == 0 && root.name.is_empty() && root.is_dir() => {}
            _ => return Err(invalid()),
        }
        for (number, look) in looks {
            let dir = look.dir as usize;
            if dir >= number || !trace.looks[dir].is_dir() || !is_name(&look.name) {
                return Err(invalid());
            }
        }
        Ok(trace)
    }

    /// Returns the trace as it is written.
    pub(crate) fn to_json(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Returns the path of a name, relative to the image's root.
    fn path(&self, number: usize) -> PathBuf {
        let mut names: Vec<&OsStr> = Vec::new();
        let mut at = number;
        while at > 0 {
            let look = &self.looks[at];
            names.push(look.name.as_ref());
            at = look.dir as usize;
        }
        names.iter().rev().collect()
    }
}

impl Look {
    fn is_dir(&self) -> bool {
        self.found.as_ref().is_some_and(Found::is_dir)
    }
}

/// Returns true for a name of a file in a directory.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// Returns the path as a user knows it.
fn shown(path: &Path) -> String {
    format!("/{}", path.display())
}
