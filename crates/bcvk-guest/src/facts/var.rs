//! Size of an image's `/var`.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::rooted::{EntryKind, Rooted, if_exists};

/// Content of an image's `/var`, counted no further than it takes to know whether to copy it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VarContent {
    /// Size of all regular files, in bytes.
    pub bytes: u64,
    /// Number of files, directories and everything else.
    pub entries: u32,
}

impl VarContent {
    /// Most bytes that are copied into a guest's memory at boot: 64 MiB, which virtiofs delivers
    /// within a second.
    pub const MAX_BYTES: u64 = 64 << 20;

    /// Most entries that are copied: each costs several requests to the file server, which together
    /// take seconds under emulation.
    pub const MAX_ENTRIES: u32 = 1500;

    /// Returns true if the content is little enough to be copied into a tmpfs at boot.
    #[must_use]
    pub const fn copyable(&self) -> bool {
        self.bytes <= Self::MAX_BYTES && self.entries <= Self::MAX_ENTRIES
    }

    /// Counts what is under `/var`, and stops once it is too much to be copied.
    pub(super) fn read(root: &Rooted) -> io::Result<Self> {
        let mut content = Self::default();
        let mut directories = vec![PathBuf::from("/var")];
        while let Some(directory) = directories.pop() {
            for entry in if_exists(root.read_dir(&directory))?.unwrap_or_default() {
                let path = directory.join(entry.name);
                content.entries += 1;
                match entry.kind {
                    EntryKind::Directory => directories.push(path),
                    EntryKind::File => content.bytes += root.symlink_metadata(&path)?.len(),
                    EntryKind::Symlink | EntryKind::Other => {}
                }
                if !content.copyable() {
                    return Ok(content);
                }
            }
        }
        Ok(content)
    }
}
