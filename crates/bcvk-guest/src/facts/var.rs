//! Layout of a guest's `/var`: what of the image's is copied, and what is too much for that.

use std::io;
use std::path::{Path, PathBuf};

use crate::early::VarLayout;
use crate::rooted::{EntryKind, Rooted, if_exists};

/// Size of a part of `/var`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Size {
    /// Size of all regular files, in bytes.
    bytes: u64,
    /// Number of files, directories and everything else.
    entries: usize,
}

/// Limits for copying all of `/var` into a guest's memory: virtiofs delivers 64 MiB within a second,
/// and each entry costs several requests to the file server, which together take seconds under
/// emulation.
const WHOLE: Size = Size {
    bytes: 64 << 20,
    entries: 1500,
};

/// Limits for what is copied of a larger one.
const PART: Size = Size {
    bytes: 8 << 20,
    entries: 256,
};

/// Depth below `/var` of directories that belong to one program, such as `/var/lib/dpkg`: within an
/// overlay, it can rename as it likes.
const PROGRAM: usize = 2;

/// Programs that mount overlays in their directories in `/var/lib`.
const ENGINES: [&str; 8] = [
    "buildkit",
    "containerd",
    "containers",
    "docker",
    "k0s",
    "kubelet",
    "nerdctl",
    "rancher",
];

/// Names of the directories that have a layer's files (containers/storage, Docker; containerd).
const LAYERS: [&str; 2] = ["diff", "fs"];

/// Depth to which layers are looked for below a directory, and most directories that are looked at.
const LAYER_DEPTH: usize = 8;
const LAYER_SEARCH: usize = 2000;

/// Most overlays: each is a mount, and a unit of systemd's.
const MAX_OVERLAID: usize = 256;

impl Size {
    const fn fits(self, limit: Self) -> bool {
        self.bytes <= limit.bytes && self.entries <= limit.entries
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            entries: self.entries.saturating_sub(other.entries),
        }
    }
}

impl VarLayout {
    /// Decides on the layout for the image's `/var`.
    pub(super) fn read(root: &Rooted) -> io::Result<Self> {
        if measure(root, Path::new(""), WHOLE)?.fits(WHOLE) {
            return Ok(Self {
                copied_whole: true,
                ..Self::default()
            });
        }
        let mut planner = Planner {
            root,
            layout: Self::default(),
            budget: PART,
        };
        planner.open(Path::new(""), 0)?;
        Ok(planner.layout)
    }
}

/// A layout in the making.
struct Planner<'r> {
    root: &'r Rooted,
    layout: VarLayout,
    /// Rest of what may be copied.
    budget: Size,
}

impl Planner<'_> {
    /// Makes a directory anew and decides on each of its entries.
    fn open(&mut self, dir: &Path, depth: usize) -> io::Result<()> {
        self.layout.directories.push(dir.to_owned());
        let mut entries = Vec::new();
        for entry in if_exists(self.root.read_dir(in_var(dir)))?.unwrap_or_default() {
            let path = dir.join(entry.name);
            let size = match entry.kind {
                EntryKind::Directory => measure(self.root, &path, self.budget)?,
                EntryKind::File => Size {
                    bytes: self.root.symlink_metadata(in_var(&path))?.len(),
                    entries: 1,
                },
                EntryKind::Symlink | EntryKind::Other => Size {
                    bytes: 0,
                    entries: 1,
                },
            };
            entries.push((size, path, entry.kind));
        }
        // The small ones are copied before the large ones use up what may be copied.
        entries.sort_by_key(|(size, ..)| (size.entries, size.bytes));
        for (size, path, kind) in entries {
            if size.fits(self.budget) {
                self.budget = self.budget.minus(size);
                self.layout.copied.push(path);
            } else if kind == EntryKind::Directory && self.opens(&path, depth + 1)? {
                self.open(&path, depth + 1)?;
            } else {
                self.layout.overlaid.push(path);
            }
        }
        Ok(())
    }

    /// Returns true if a directory is made anew, because overlays may be mounted in it.
    fn opens(&self, dir: &Path, depth: usize) -> io::Result<bool> {
        let entries = if_exists(self.root.read_dir(in_var(dir)))?.unwrap_or_default();
        // Each entry may become an overlay or a copy.
        if entries.len() + self.layout.overlaid.len() > MAX_OVERLAID {
            return Ok(false);
        }
        let is_engine = depth == PROGRAM
            && dir.starts_with("lib")
            && ENGINES.iter().any(|engine| dir.ends_with(engine));
        Ok(depth < PROGRAM || is_engine || self.has_layers(dir)?)
    }

    /// Returns true if a directory below `dir` has the layers of a container engine: a directory
    /// `ID/diff` or `ID/fs`.
    fn has_layers(&self, dir: &Path) -> io::Result<bool> {
        let mut seen = 0;
        let mut level = vec![dir.to_owned()];
        for depth in 0..LAYER_DEPTH {
            let mut next = Vec::new();
            for dir in level {
                for entry in if_exists(self.root.read_dir(in_var(&dir)))?.unwrap_or_default() {
                    if entry.kind != EntryKind::Directory {
                        continue;
                    }
                    if depth > 0 && LAYERS.iter().any(|name| entry.name == *name) {
                        return Ok(true);
                    }
                    next.push(dir.join(entry.name));
                }
                seen += 1;
                if seen > LAYER_SEARCH {
                    return Ok(false);
                }
            }
            level = next;
        }
        Ok(false)
    }
}

/// Measures a directory and what is below it, and stops once that is more than `limit`.
fn measure(root: &Rooted, dir: &Path, limit: Size) -> io::Result<Size> {
    let mut size = Size::default();
    let mut directories = vec![dir.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in if_exists(root.read_dir(in_var(&directory)))?.unwrap_or_default() {
            let path = directory.join(entry.name);
            size.entries += 1;
            match entry.kind {
                EntryKind::Directory => directories.push(path),
                EntryKind::File => size.bytes += root.symlink_metadata(in_var(&path))?.len(),
                EntryKind::Symlink | EntryKind::Other => {}
            }
            if !size.fits(limit) {
                return Ok(size);
            }
        }
    }
    Ok(size)
}

fn in_var(path: &Path) -> PathBuf {
    Path::new("/var").join(path)
}
