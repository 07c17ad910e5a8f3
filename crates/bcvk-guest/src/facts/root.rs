//! Roots that can be written to on a deployed host too.

use std::io;

use toml::Table;

use super::{key_file, text};
use crate::early::RootKind;
use crate::rooted::{Rooted, if_exists};

/// Configuration of ostree's program in the initramfs (ostree-prepare-root(1)). The first file that is
/// there counts, as a whole.
const OSTREE: [&str; 2] = [
    "/etc/ostree/prepare-root.conf",
    "/usr/lib/ostree/prepare-root.conf",
];

/// Configuration of composefs-setup-root, and of bootc's program in the initramfs.
const COMPOSEFS: &str = "/usr/lib/composefs/setup-root-conf.toml";

/// Returns what the image wants of its root.
pub(super) fn read(root: &Rooted) -> io::Result<RootKind> {
    for path in OSTREE {
        if let Some(text) = if_exists(root.read_text(path))? {
            match in_key_file(&text) {
                RootKind::Image => break,
                kind => return Ok(kind),
            }
        }
    }
    Ok(if in_toml(&text(root, COMPOSEFS)?) {
        RootKind::Transient
    } else {
        RootKind::Image
    })
}

/// Returns the setting of a key file, whose values of this type are `true`, `false`, `1` and `0` (GLib,
/// `g_key_file_get_boolean`). A root that is transient and read-only need not be said to be transient.
pub(crate) fn in_key_file(text: &str) -> RootKind {
    let is_set = |key| matches!(key_file::value(text, "root", key), Some("true" | "1"));
    if is_set("transient-ro") {
        RootKind::TransientReadOnly
    } else if is_set("transient") {
        RootKind::Transient
    } else {
        RootKind::Image
    }
}

/// Returns true if a TOML file says that the root is transient; false if it is not valid.
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
        use RootKind::{Image, Transient, TransientReadOnly};
        for (text, kind) in [
            ("[root]\ntransient=true\n", Transient),
            (
                "[composefs]\nenabled = yes\n [root] \n transient = 1 \r\n",
                Transient,
            ),
            ("[root]\ntransient=false\ntransient=true", Transient),
            ("[root]\ntransient=true\ntransient=false", Image),
            ("[root]\n#transient=true", Image),
            ("[root]\ntransient=yes", Image),
            ("[root]\ntransient-ro=true", TransientReadOnly),
            ("[root]\ntransient=true\ntransient-ro=1", TransientReadOnly),
            ("[root]\ntransient=true\ntransient-ro=false", Transient),
            ("[etc]\ntransient=true", Image),
            ("[root]\n[etc]\ntransient=true", Image),
            ("transient=true\n[root", Image),
            ("", Image),
        ] {
            assert_eq!(in_key_file(text), kind, "{text:?}");
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
