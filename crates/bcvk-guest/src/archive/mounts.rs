//! Units for what the guest mounts and swaps on.

use std::fmt::Write as _;
use std::path::Path;

use bcvk_contract::spec::{SWAP_NAME, Share};

use super::tree::Tree;

/// Adds a mount unit for each share.
pub(super) fn add_shares(tree: &mut Tree, shares: &[Share]) {
    for share in shares {
        let unit = format!("{}.mount", unit_name(&share.guest_path));
        tree.run_unit(&unit, &share_mount(share));
        tree.run_wants("local-fs.target", &unit);
    }
}

/// Adds a swap unit. systemd finds the device by its serial number, and swaps on it once udev has
/// seen it.
pub(super) fn add_swap(tree: &mut Tree) {
    let device = format!("/dev/disk/by-id/virtio-{SWAP_NAME}");
    let unit = format!("{}.swap", unit_name(Path::new(&device)));
    tree.run_unit(
        &unit,
        &include_str!("../units/bcvk.swap").replace("@WHAT@", &device),
    );
    tree.run_wants("swap.target", &unit);
}

/// Returns the mount unit of a share.
pub(crate) fn share_mount(share: &Share) -> String {
    let template = include_str!("../units/share.mount");
    // All names are replaced in one pass: a path may look like one of these names.
    let parts = template.split('@').map(|part| match part {
        "HOST" => specifiers(&share.host),
        "TAG" => share.tag.replace('%', "%%"),
        "WHERE" => specifiers(&share.guest_path),
        "OPTIONS" => if share.read_only { "ro" } else { "rw" }.to_owned(),
        text => text.to_owned(),
    });
    parts.collect()
}

/// Writes a path in a unit file, where `%` starts a specifier and a line break ends the value.
fn specifiers(path: &Path) -> String {
    path.to_string_lossy()
        .replace('%', "%%")
        .replace(['\n', '\r'], "?")
}

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
}
