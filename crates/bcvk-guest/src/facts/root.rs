//! Roots that can be written to on a deployed host too.

use std::io;

use toml::Table;

use super::{key_file, text};
use crate::rooted::{Rooted, if_exists};

/// Configuration of ostree's program in the initramfs (ostree-prepare-root(1)). The first file that is
/// there counts, as a whole.
const OSTREE: [&str; 2] = [
    "/etc/ostree/prepare-root.conf",
    "/usr/lib/ostree/prepare-root.conf",
];

/// Configuration of composefs-setup-root, and of bootc's program in the initramfs.
const COMPOSEFS: &str = "/usr/lib/composefs/setup-root-conf.toml";

/// Returns true if the image's root is to be an overlay that forgets what is written to it.
pub(super) fn is_transient(root: &Rooted) -> io::Result<bool> {
    for path in OSTREE {
        if let Some(text) = if_exists(root.read_text(path))? {
            if in_key_file(&text) {
                return Ok(true);
            }
            break;
        }
    }
    Ok(in_toml(&text(root, COMPOSEFS)?))
}

/// Returns the setting of a key file, whose values of this type are `true`, `false`, `1` and `0` (GLib,
/// `g_key_file_get_boolean`).
pub(crate) fn in_key_file(text: &str) -> bool {
    matches!(
        key_file::value(text, "root", "transient"),
        Some("true" | "1")
    )
}

/// Returns the setting of a TOML file; false if it is not valid.
pub(crate) fn in_toml(text: &str) -> bool {
    let config = text.parse::<Table>().ok();
    let transient = config
        .as_ref()
        .and_then(|config| config.get("root")?.get("transient")?.as_bool());
    transient == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_has_one_setting_that_counts() {
        for (text, transient) in [
            ("[root]\ntransient=true\n", true),
            (
                "[composefs]\nenabled = yes\n [root] \n transient = 1 \r\n",
                true,
            ),
            ("[root]\ntransient=false\ntransient=true", true),
            ("[root]\ntransient=true\ntransient=false", false),
            ("[root]\n#transient=true", false),
            ("[root]\ntransient=yes", false),
            ("[root]\ntransient-ro=true", false),
            ("[etc]\ntransient=true", false),
            ("[root]\n[etc]\ntransient=true", false),
            ("transient=true\n[root", false),
            ("", false),
        ] {
            assert_eq!(in_key_file(text), transient, "{text:?}");
        }
    }

    #[test]
    fn a_toml_file_has_the_same_setting() {
        for (text, transient) in [
            ("[root]\ntransient = true\n", true),
            ("root.transient = true\netc.transient = false", true),
            ("[root]\ntransient = false", false),
            ("[root]\ntransient = \"true\"", false),
            ("[etc]\ntransient = true", false),
            ("root = true", false),
            ("[root]\ntransient = true\n[", false),
            ("", false),
        ] {
            assert_eq!(in_toml(text), transient, "{text:?}");
        }
    }
}
