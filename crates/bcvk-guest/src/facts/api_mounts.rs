//! File systems of the kernel that systemd mounts in every system, each by a program of its own
//! (<https://systemd.io/API_FILE_SYSTEMS>).

use std::io;

use super::assigned;
use super::units::{self, Units};
use crate::early::ApiMount;
use crate::rooted::Rooted;

/// Units of systemd, and of Debian, with where and what they mount.
const API: [(&str, &str, &str); 7] = [
    ("dev-hugepages.mount", "/dev/hugepages", "hugetlbfs"),
    ("dev-mqueue.mount", "/dev/mqueue", "mqueue"),
    ("run-lock.mount", "/run/lock", "tmpfs"),
    (
        "sys-fs-fuse-connections.mount",
        "/sys/fs/fuse/connections",
        "fusectl",
    ),
    ("sys-kernel-config.mount", "/sys/kernel/config", "configfs"),
    ("sys-kernel-debug.mount", "/sys/kernel/debug", "debugfs"),
    ("sys-kernel-tracing.mount", "/sys/kernel/tracing", "tracefs"),
];

/// Conditions that hold in every guest in which the file system can be mounted (systemd.unit(5)).
const MET: [&str; 4] = [
    "ConditionPathExists=/",
    "ConditionCapability=",
    "ConditionVirtualization=!private-users",
    "ConditionVirtualization=!lxc",
];

const RESTRICTIONS: [&str; 3] = ["nosuid", "nodev", "noexec"];

/// Finds the units that start at boot as their package made them.
pub(super) fn read(root: &Rooted, units: &Units) -> io::Result<Vec<ApiMount>> {
    let mut found = Vec::new();
    for (unit, on, kind) in API {
        if units.runs_at_boot(root, unit)?
            && units::drop_ins(root, unit)?.is_empty()
            && let Some(text) = units::text(root, unit)?
        {
            found.extend(parse(unit, on, kind, &text));
        }
    }
    Ok(found)
}

/// Parses a unit (systemd.mount(5)); `None` if it says more than what can be done without systemd.
fn parse(unit: &str, on: &str, kind: &str, text: &str) -> Option<ApiMount> {
    let checks = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("Condition") || line.starts_with("Assert"));
    let plain = checks
        .into_iter()
        .all(|line| MET.iter().any(|known| line.starts_with(known)));
    if !plain || assigned(text, "Where") != Some(on) || assigned(text, "Type") != Some(kind) {
        return None;
    }
    let options = assigned(text, "Options").unwrap_or_default().split(',');
    let options = options.map(str::trim).filter(|option| !option.is_empty());
    let (restrictions, data): (Vec<_>, Vec<_>) =
        options.partition(|option| RESTRICTIONS.contains(option));
    // Any other word may be one of mount(8), and a percent sign is systemd's.
    let known = data.iter().all(|option| {
        option.contains('=')
            && option
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'%')
    });
    known.then(|| ApiMount {
        unit: unit.to_owned(),
        on: on.to_owned(),
        kind: kind.to_owned(),
        restrictions: restrictions.into_iter().map(str::to_owned).collect(),
        data: data.join(","),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const LOCK: &str = "[Unit]\nConditionPathExists=/run\n[Mount]\nType=tmpfs\nWhat=tmpfs\n\
        Where=/run/lock\nOptions=mode=1777,nosuid,nodev,size=5242880\n";

    fn found(change: impl FnOnce(&std::path::Path)) -> Vec<ApiMount> {
        let image = tempfile::tempdir().expect("a directory");
        let system = image.path().join("usr/lib/systemd/system");
        let wants = system.join("local-fs.target.wants");
        fs::create_dir_all(&wants).expect("made");
        fs::create_dir_all(image.path().join("etc/systemd/system")).expect("made");
        fs::write(system.join("run-lock.mount"), LOCK).expect("written");
        symlink("../run-lock.mount", wants.join("run-lock.mount")).expect("made");
        change(image.path());
        let root = Rooted::new(image.path()).expect("root");
        let units = Units::read(&root).expect("units");
        read(&root, &units).expect("read")
    }

    #[test]
    fn a_unit_as_its_package_made_it_is_mounted() {
        let lock = ApiMount {
            unit: "run-lock.mount".to_owned(),
            on: "/run/lock".to_owned(),
            kind: "tmpfs".to_owned(),
            restrictions: vec!["nosuid".to_owned(), "nodev".to_owned()],
            data: "mode=1777,size=5242880".to_owned(),
        };
        assert_eq!(found(|_| {}), [lock]);
    }

    #[test]
    fn a_unit_that_somebody_has_changed_is_systemds() {
        let etc = "etc/systemd/system/run-lock.mount";
        let file = "usr/lib/systemd/system/run-lock.mount";
        let replaced = |line: &'static str, by: &'static str| {
            found(|image| {
                let text = LOCK.replace(line, by);
                fs::write(image.join(file), text).expect("written");
            })
        };
        for (what, mounts) in [
            (
                "a mask",
                found(|image| symlink("/dev/null", image.join(etc)).expect("made")),
            ),
            (
                "a drop-in",
                found(|image| {
                    let dir = image.join(format!("{etc}.d"));
                    fs::create_dir_all(&dir).expect("made");
                    fs::write(dir.join("50-x.conf"), "[Mount]\nOptions=ro\n").expect("written");
                }),
            ),
            (
                "nobody wants it",
                found(|image| {
                    let wants = "usr/lib/systemd/system/local-fs.target.wants";
                    fs::remove_dir_all(image.join(wants)).expect("removed");
                }),
            ),
            (
                "a condition",
                replaced("PathExists=/run", "Virtualization=no"),
            ),
            ("an option of mount(8)", replaced("nosuid", "noatime")),
            ("a specifier", replaced("5242880", "%b")),
            ("no option at all", replaced("5242880", "\0")),
            ("another place", replaced("/run/lock", "/run/locks")),
            ("another type", replaced("Type=tmpfs", "Type=ramfs")),
        ] {
            assert_eq!(mounts, [], "{what}");
        }
    }
}
