//! An image's systemd units (systemd.unit(5)), as far as their files tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::path::Path;

use super::names;
use crate::rooted::{Rooted, if_exists};

/// Directories of units; those that override others come first. `/lib` is a symlink in merged images.
const DIRECTORIES: [&str; 4] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// A unit in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unit {
    /// There is no such unit.
    Absent,
    /// It cannot be started: a symlink to `/dev/null`, or an empty file.
    Masked,
    /// It can be started, under this name: its own, or that of the unit that it is an alias of.
    Present(String),
}

impl Unit {
    /// Returns the name to start the unit by, if it can be started.
    pub(super) fn name(self) -> Option<String> {
        match self {
            Self::Present(name) => Some(name),
            Self::Absent | Self::Masked => None,
        }
    }
}

/// Units that targets want: `systemctl enable` and packages make targets want them.
#[derive(Debug)]
pub(super) struct Units {
    wanted: BTreeSet<String>,
}

impl Units {
    pub(super) fn read(root: &Rooted) -> io::Result<Self> {
        let mut wanted = BTreeSet::new();
        for directory in DIRECTORIES {
            for name in names(root, directory)? {
                if name.ends_with(".target.wants") || name.ends_with(".target.requires") {
                    wanted.extend(names(root, &format!("{directory}/{name}"))?);
                }
            }
        }
        Ok(Self { wanted })
    }

    /// Returns the names of all units that targets want, whether they exist or not.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &str> {
        self.wanted.iter().map(String::as_str)
    }

    /// Returns true if a target wants the unit under that name and it can be started.
    pub(super) fn runs_at_boot(&self, root: &Rooted, unit: &str) -> io::Result<bool> {
        Ok(self.wanted.contains(unit) && find(root, unit)?.name().is_some())
    }
}

/// Finds the unit of that name, which its first file decides.
pub(super) fn find(root: &Rooted, unit: &str) -> io::Result<Unit> {
    for directory in DIRECTORIES {
        let path = Path::new(directory).join(unit);
        let Some(found) = if_exists(root.symlink_metadata(&path))? else {
            continue;
        };
        if masks(root, &path, &found)? {
            return Ok(Unit::Masked);
        }
        if !found.is_symlink() {
            return Ok(Unit::Present(unit.to_owned()));
        }
        let target = root.read_link(&path)?;
        if if_exists(root.metadata(&path))?.is_none() {
            // A package that was removed has left this symlink behind.
            continue;
        }
        let name = target.file_name().and_then(|n| n.to_str()).unwrap_or(unit);
        // The alias of a unit that is masked starts nothing either.
        return Ok(if name != unit && is_masked(root, name)? {
            Unit::Masked
        } else {
            Unit::Present(name.to_owned())
        });
    }
    Ok(Unit::Absent)
}

fn is_masked(root: &Rooted, unit: &str) -> io::Result<bool> {
    for directory in DIRECTORIES {
        let path = Path::new(directory).join(unit);
        if let Some(found) = if_exists(root.symlink_metadata(&path))? {
            return masks(root, &path, &found);
        }
    }
    Ok(false)
}

/// Returns true if what was `found` at the path of a unit's file masks it.
fn masks(root: &Rooted, path: &Path, found: &Metadata) -> io::Result<bool> {
    Ok(if found.is_symlink() {
        root.read_link(path)? == Path::new("/dev/null")
    } else {
        found.is_file() && found.len() == 0
    })
}

/// Returns the texts of the unit of that name, and then of its drop-ins, in their order.
pub(super) fn texts(root: &Rooted, unit: &str) -> io::Result<Vec<String>> {
    let mut texts: Vec<String> = text(root, unit)?.into_iter().collect();
    for path in drop_ins(root, unit)?.into_values() {
        texts.extend(if_exists(root.read_text(path))?);
    }
    Ok(texts)
}

/// Returns the paths of the drop-ins of the unit, by their names, whose order is that in which they count.
pub(super) fn drop_ins(root: &Rooted, unit: &str) -> io::Result<BTreeMap<String, String>> {
    let mut drop_ins = BTreeMap::new();
    // One that overrides others of its name comes last here.
    for directory in DIRECTORIES.iter().rev() {
        let directory = format!("{directory}/{unit}.d");
        for name in names(root, &directory)? {
            if name.strip_suffix(".conf").is_some() {
                drop_ins.insert(name.clone(), format!("{directory}/{name}"));
            }
        }
    }
    Ok(drop_ins)
}

/// Returns the text of the unit of that name, or of its template; `None` if it cannot be started.
pub(super) fn text(root: &Rooted, unit: &str) -> io::Result<Option<String>> {
    let mut names = vec![unit.to_owned()];
    if let Some((template, instance)) = unit.split_once('@') {
        let kind = instance.rsplit_once('.').map_or("", |(_, kind)| kind);
        names.push(format!("{template}@.{kind}"));
    }
    for name in names {
        match find(root, &name)? {
            Unit::Absent => {}
            Unit::Masked => return Ok(None),
            Unit::Present(name) => {
                for directory in DIRECTORIES {
                    let path = Path::new(directory).join(&name);
                    if if_exists(root.metadata(&path))?.is_some_and(|found| found.is_file()) {
                        return root.read_text(&path).map(Some);
                    }
                }
            }
        }
    }
    Ok(None)
}
