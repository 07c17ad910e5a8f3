//! systemd units of the user's, read into memory.

#![allow(clippy::disallowed_methods, reason = "opens files of the user's")]

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use bcvk_contract::spec::{UnitContent, UnitFile};

use crate::FileError;

/// Most bytes that units may take up, all together: they travel in the guest's initramfs.
const MAX_BYTES: usize = 1 << 20;

/// Types of units (systemd.unit(5)); a unit's name ends in its type.
const TYPES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

/// Suffixes of the directories of symlinks and drop-ins that stand beside units (systemd.unit(5)).
const DIRECTORIES: [&str; 4] = [".wants", ".requires", ".upholds", ".d"];

/// Reads the units in `dir`, or in its subdirectory `system` if there is one, as the existing bcvk
/// does. Directories beside the units (`a.target.wants`, `a.service.d`) are read too. A unit's
/// `[Install]` section has no effect: a unit is started by a link in a `.wants` directory. Mount
/// units without such a link get one in `remote-fs.target.wants`.
///
/// # Errors
/// [`FileError`] if the directory or a file cannot be read, or a file is none of these.
pub fn read_units(dir: &Path) -> Result<Vec<UnitFile>, FileError> {
    let failed = |source| FileError::Units {
        dir: dir.to_owned(),
        source,
    };
    let system = dir.join("system");
    let top = if system.is_dir() { &system } else { dir };
    let mut units = Vec::new();
    for name in names(top).map_err(failed)? {
        let path = top.join(&name);
        if !path.is_dir() && type_of(&name).is_none() {
            continue;
        }
        let kind = fs::symlink_metadata(&path).map_err(failed)?.file_type();
        if kind.is_dir() {
            if !DIRECTORIES.iter().any(|end| name.ends_with(end)) {
                continue;
            }
            for inner in names(&path).map_err(failed)? {
                let content = read(&path.join(&inner)).map_err(failed)?;
                units.push(UnitFile {
                    path: format!("{name}/{inner}"),
                    content,
                });
            }
        } else {
            let content = read(&path).map_err(failed)?;
            units.push(UnitFile {
                path: name,
                content,
            });
        }
    }
    let mounts: Vec<String> = units
        .iter()
        .filter(|unit| type_of(&unit.path) == Some("mount") && !unit.path.contains('/'))
        .map(|unit| unit.path.clone())
        .collect();
    for mount in mounts {
        let path = format!("remote-fs.target.wants/{mount}");
        if !units.iter().any(|unit| unit.path == path) {
            units.push(UnitFile {
                path,
                content: UnitContent::Link(format!("../{mount}")),
            });
        }
    }
    check(dir, units)
}

fn check(dir: &Path, units: Vec<UnitFile>) -> Result<Vec<UnitFile>, FileError> {
    let bytes: usize = units
        .iter()
        .map(|unit| match &unit.content {
            UnitContent::File(text) | UnitContent::Link(text) => text.len(),
        })
        .sum();
    if units.is_empty() {
        Err(FileError::NoUnits(dir.to_owned()))
    } else if bytes > MAX_BYTES {
        Err(FileError::Units {
            dir: dir.to_owned(),
            source: io::Error::other("its units are more than 1 MiB"),
        })
    } else {
        Ok(units)
    }
}

/// Returns the names in a directory, sorted, so that the same directory makes the same VM.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        // Editors leave such files behind.
        if !name.to_string_lossy().starts_with('.') {
            names.push(name.into_string().map_err(|name| not_text(&name))?);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn type_of(name: &str) -> Option<&'static str> {
    let end = Path::new(name).extension()?;
    TYPES.into_iter().find(|known| end == *known)
}

fn not_text(name: &OsStr) -> io::Error {
    io::Error::other(format!("the name {} is not text", name.display()))
}

fn read(path: &Path) -> io::Result<UnitContent> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        let target = fs::read_link(path)?.into_os_string();
        return Ok(UnitContent::Link(
            target.into_string().map_err(|name| not_text(&name))?,
        ));
    }
    if !metadata.is_file() {
        let text = format!("{} is not a file", path.display());
        return Err(io::Error::other(text));
    }
    fs::read_to_string(path)
        .map(UnitContent::File)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn units_links_and_drop_ins_are_read() {
        let tmp = tempfile::tempdir().expect("temporary directory");
        let system = tmp.path().join("system");
        for dir in ["default.target.wants", "a.service.d", "other"] {
            fs::create_dir_all(system.join(dir)).expect("directory");
        }
        for (name, text) in [
            ("a.service", "A"),
            ("data.mount", "M"),
            ("a.service.d/50.conf", "D"),
            ("other/file", "no unit"),
            (".a.service.swp", "no unit"),
            ("README.md", "no unit"),
        ] {
            fs::write(system.join(name), text).expect("file");
        }
        symlink(
            "../a.service",
            system.join("default.target.wants/a.service"),
        )
        .expect("link");
        let units = read_units(tmp.path()).expect("units");
        let shown: Vec<String> = units
            .iter()
            .map(|unit| match &unit.content {
                UnitContent::File(text) => format!("{}: {text}", unit.path),
                UnitContent::Link(target) => format!("{} -> {target}", unit.path),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "a.service: A",
                "a.service.d/50.conf: D",
                "data.mount: M",
                "default.target.wants/a.service -> ../a.service",
                "remote-fs.target.wants/data.mount -> ../data.mount",
            ]
        );
    }

    #[test]
    fn a_directory_without_units_is_a_mistake() {
        let tmp = tempfile::tempdir().expect("temporary directory");
        let read = read_units(tmp.path());
        assert!(matches!(read, Err(FileError::NoUnits(_))));
        let read = read_units(&tmp.path().join("none"));
        assert!(matches!(read, Err(FileError::Units { .. })));
        fs::write(tmp.path().join("a.service"), [0xff, 0xfe]).expect("file");
        let read = read_units(tmp.path());
        assert!(matches!(read, Err(FileError::Units { .. })));
    }
}
