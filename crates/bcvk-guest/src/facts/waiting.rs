//! Units of an image whose start may wait for a device or a person.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::units::{self, Units};
use super::{any_exists, assigned, names, text};
use crate::rooted::{Rooted, if_exists};
use crate::unit_name::device_path;

/// A unit that a target wants, and that names devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedUnit {
    /// Name under which it is wanted.
    pub name: String,
    /// Name of the unit that names the devices: for an automount unit, that of its mount.
    pub file: String,
    /// Source of a file system or swap area.
    pub what: Option<String>,
    /// Type of that file system; empty if the unit names none.
    pub kind: String,
    /// Paths of device units on which it depends.
    pub devices: Vec<String>,
}

impl WantedUnit {
    /// Returns true for a mount unit.
    #[must_use]
    pub fn is_mount(&self) -> bool {
        self.file.strip_suffix(".mount").is_some()
    }
}

/// Keys of dependencies (systemd.unit(5)) for which a job waits.
const DEPENDENCIES: [&str; 4] = ["Requires=", "Wants=", "BindsTo=", "After="];

/// Services other than systemd-firstboot that ask at the console when a host boots first.
const ASKING: [&str; 5] = [
    "initial-setup.service",
    "initial-setup-text.service",
    "initial-setup-graphical.service",
    "jeos-firstboot.service",
    "systemd-homed-firstboot.service",
];

/// Finds the wanted units that name devices.
pub(super) fn wanted_units(root: &Rooted, units: &Units) -> io::Result<Vec<WantedUnit>> {
    let mut found = Vec::new();
    for name in units.wanted() {
        let automount = name.strip_suffix(".automount");
        let file = automount.map_or_else(|| name.to_owned(), |stem| format!("{stem}.mount"));
        if let Some(text) = units::text(root, &file)? {
            let unit = parse(name, file, &text);
            found.extend((unit.what.is_some() || !unit.devices.is_empty()).then_some(unit));
        }
    }
    Ok(found)
}

/// Parses the unit `file`, which is wanted as `name`.
pub(crate) fn parse(name: &str, file: String, text: &str) -> WantedUnit {
    let suffix = file.rsplit_once('.').map(|(_, suffix)| suffix);
    let what = match suffix {
        Some("mount" | "swap") => assigned(text, "What"),
        _ => None,
    };
    let kind = match suffix {
        Some("swap") => "swap",
        _ => assigned(text, "Type").unwrap_or_default(),
    };
    let lines = text.lines().map(str::trim);
    let values = lines.filter_map(|line| {
        let mut keys = DEPENDENCIES.iter();
        keys.find_map(|key| line.strip_prefix(key))
    });
    let devices = values.flat_map(str::split_ascii_whitespace);
    let mut devices: Vec<String> = devices.filter_map(device_path).collect();
    devices.sort();
    devices.dedup();
    WantedUnit {
        name: name.to_owned(),
        what: what.map(str::to_owned),
        kind: kind.to_owned(),
        file,
        devices,
    }
}

/// Finds the services that would ask at the console, each with the reason for leaving it out.
pub(super) fn asking(root: &Rooted, units: &Units) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for unit in ASKING {
        if units.runs_at_boot(root, unit)? {
            found.push(unit.to_owned());
        }
    }
    Ok(found)
}

/// Returns true if systemd-firstboot would ask: this is the first boot (machine-id(5)), and a setting
/// is missing (systemd-firstboot(1)).
pub(super) fn asks_for_settings(root: &Rooted, units: &Units) -> io::Result<bool> {
    if !units.runs_at_boot(root, "systemd-firstboot.service")? {
        return Ok(false);
    }
    let is_first = match if_exists(root.symlink_metadata("/etc/machine-id"))? {
        None => true,
        Some(_) => text(root, "/etc/machine-id")?.trim_end() == "uninitialized",
    };
    // The target of /etc/localtime need not be there.
    let time_zone = if_exists(root.symlink_metadata("/etc/localtime"))?.is_some();
    let locale = any_exists(root, &["/etc/locale.conf", "/etc/default/locale"])?;
    Ok(is_first && !(time_zone && locale))
}

/// Returns true if systemd-repart has definitions of partitions (repart.d(5)).
pub(super) fn repart(root: &Rooted) -> io::Result<bool> {
    for dir in ["/etc", "/usr/local/lib", "/usr/lib"] {
        let definitions = names(root, &format!("{dir}/repart.d"))?;
        if definitions
            .iter()
            .any(|name| Path::new(name).extension() == Some("conf".as_ref()))
        {
            return Ok(true);
        }
    }
    Ok(false)
}
