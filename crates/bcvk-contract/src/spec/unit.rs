//! systemd units that the user adds to a guest.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Targets that come last in a boot, and that every boot with a login reaches.
const LATE_TARGETS: [&str; 6] = [
    "default.target",
    "multi-user.target",
    "paths.target",
    "remote-fs.target",
    "sockets.target",
    "timers.target",
];

/// A file of the user's that is put among the guest's units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UnitFile {
    /// Path under `/run/systemd/system`, such as `a.service` or `default.target.wants/a.service`.
    pub path: String,
    /// Content at that path.
    pub content: UnitContent,
}

/// Content of a [`UnitFile`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UnitContent {
    /// A file with this text.
    File(String),
    /// A symbolic link to this path.
    Link(String),
}

impl UnitFile {
    /// Returns the unit's name, if this is a unit and not part of another one's directory.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        (!self.path.contains('/')).then_some(&*self.path)
    }

    /// Returns the unit that a late target wants because of this file.
    #[must_use]
    pub fn wanted_by_late_target(&self) -> Option<&str> {
        let (dir, unit) = self.path.split_once('/')?;
        let target = dir.strip_suffix(".wants")?;
        LATE_TARGETS.contains(&target).then_some(unit)
    }
}

/// Returns true if a system that has booted can be given `units` with the same result: they come
/// late in the boot, and change no other unit. Image units of the same name are not looked for.
pub(super) fn start_after_boot(units: &[UnitFile]) -> bool {
    let own: BTreeSet<&str> = units.iter().filter_map(UnitFile::name).collect();
    units.iter().all(|unit| is_late(unit, &own))
}

fn is_late(unit: &UnitFile, own: &BTreeSet<&str>) -> bool {
    let Some((dir, _)) = unit.path.split_once('/') else {
        return match &unit.content {
            UnitContent::File(text) => is_late_text(text, own),
            UnitContent::Link(target) => {
                own.contains(target.rsplit('/').next().unwrap_or_default())
            }
        };
    };
    if let Some(changed) = dir.strip_suffix(".d") {
        let late = |text: &String| is_late_text(text, own);
        return own.contains(changed)
            && matches!(&unit.content, UnitContent::File(text) if late(text));
    }
    let of_own = dir
        .rsplit_once('.')
        .is_some_and(|(unit, _)| own.contains(unit));
    of_own || unit.wanted_by_late_target().is_some()
}

/// Returns true unless the text of a unit has it started before others, or without waiting for the
/// early boot (systemd.unit(5), `Before=`; `DefaultDependencies=`).
fn is_late_text(text: &str, own: &BTreeSet<&str>) -> bool {
    // A line that ends with a backslash goes on in the next.
    let text = text.replace("\\\n", " ");
    text.lines().all(|line| {
        let Some((key, value)) = line.split_once('=') else {
            return true;
        };
        match key.trim() {
            "DefaultDependencies" => ["1", "yes", "y", "true", "t", "on"]
                .contains(&value.trim().to_ascii_lowercase().as_str()),
            "Before" => value
                .split_whitespace()
                .all(|unit| unit == "shutdown.target" || own.contains(unit)),
            _ => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> UnitFile {
        UnitFile {
            path: path.to_owned(),
            content: UnitContent::File(text.to_owned()),
        }
    }

    fn link(path: &str, target: &str) -> UnitFile {
        UnitFile {
            path: path.to_owned(),
            content: UnitContent::Link(target.to_owned()),
        }
    }

    #[test]
    fn units_that_may_start_late() {
        let a = file("a.service", "[Service]\nExecStart=true\n");
        for (unit, late) in [
            (
                file("b.service", "[Unit]\nBefore=a.service shutdown.target\n"),
                true,
            ),
            (file("b.service", "[Unit]\nBefore=ssh.service\n"), false),
            (
                file("b.service", "[Unit]\nBefore=a.service \\\n ssh.service\n"),
                false,
            ),
            (file("b.service", "[Unit]\nDefaultDependencies=no\n"), false),
            (
                file("b.service", "[Unit]\nDefaultDependencies = yes\n"),
                true,
            ),
            (file("a.service.d/x.conf", "[Service]\nUser=root\n"), true),
            (
                file("a.service.d/x.conf", "[Unit]\nBefore=ssh.service\n"),
                false,
            ),
            (file("ssh.service.d/x.conf", ""), false),
            (file("service.d/x.conf", ""), false),
            (link("alias.service", "a.service"), true),
            (link("ssh.service", "/dev/null"), false),
            (
                link("multi-user.target.wants/a.service", "../a.service"),
                true,
            ),
            (
                link(
                    "default.target.wants/x.service",
                    "/usr/lib/systemd/system/x.service",
                ),
                true,
            ),
            (link("a.service.wants/b.service", "../b.service"), true),
            (
                link("sysinit.target.wants/a.service", "../a.service"),
                false,
            ),
            (
                link("multi-user.target.requires/a.service", "../a.service"),
                false,
            ),
        ] {
            let units = [a.clone(), unit];
            assert_eq!(start_after_boot(&units), late, "{:?}", units[1]);
        }
        assert!(start_after_boot(&[]));
    }
}
