//! Names of units for paths.

use std::fmt::Write as _;
use std::path::Path;

/// Returns the name of the unit for a path (`systemd.unit(5)`, STRING ESCAPING FOR INCLUSION IN
/// UNIT NAMES).
pub(crate) fn unit_name(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = text.trim_matches('/');
    let mut name = String::new();
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if i > 0 => name.push('.'),
            b if b.is_ascii_alphanumeric() || b == b'_' || b == b':' => name.push(b.into()),
            b => {
                let _ = write!(name, "\\x{b:02x}");
            }
        }
    }
    name
}

/// Returns the name of the unit of a device.
pub(crate) fn device_unit(path: &Path) -> String {
    format!("{}.device", unit_name(path))
}

/// Returns the path of a device unit (systemd.unit(5), STRING ESCAPING FOR INCLUSION IN UNIT NAMES);
/// `None` if the unit is no device in `/dev`, or has a specifier in its name.
pub(crate) fn device_path(unit: &str) -> Option<String> {
    let name = unit.strip_suffix(".device")?;
    if !name.starts_with("dev-") || name.contains('%') {
        return None;
    }
    let mut path = String::from("/");
    let mut parts = name.split("\\x");
    path.push_str(&parts.next()?.replace('-', "/"));
    for part in parts {
        let code = u8::from_str_radix(part.get(..2)?, 16).ok()?;
        path.push(char::from(code));
        path.push_str(&part[2..].replace('-', "/"));
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_names_are_escaped_as_systemd_escape_does() {
        for (path, name) in [
            (
                "/run/virtiofs-mnt-project",
                r"run-virtiofs\x2dmnt\x2dproject",
            ),
            ("/srv/my data/.x", r"srv-my\x20data-.x"),
            ("/.hidden", r"\x2ehidden"),
        ] {
            assert_eq!(unit_name(Path::new(path)), name);
        }
    }

    #[test]
    fn devices_of_unit_names() {
        for (unit, path) in [
            ("dev-sda1.device", Some("/dev/sda1")),
            (
                r"dev-disk-by\x2duuid-1\x2d2.device",
                Some("/dev/disk/by-uuid/1-2"),
            ),
            ("dev-%i.device", None),
            ("sys-module-fuse.device", None),
            ("dev-sda1.swap", None),
            (r"dev-\xzz.device", None),
        ] {
            assert_eq!(device_path(unit).as_deref(), path, "{unit}");
        }
    }
}
