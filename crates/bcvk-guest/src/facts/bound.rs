//! Logically bound images: those of containers that belong to a host (bootc's documentation, "Logically
//! bound images").

use std::collections::BTreeSet;
use std::io;

use super::{key_file, names};
use crate::rooted::{Rooted, if_exists};

/// Directory of links to units that name images.
const DIRECTORY: &str = "/usr/lib/bootc/bound-images.d";

/// Most links that are read.
const MAX_LINKS: usize = 256;

/// Returns the names of the images that are bound to this one.
pub(super) fn read(root: &Rooted) -> io::Result<Vec<String>> {
    let mut found = BTreeSet::new();
    for name in names(root, DIRECTORY)?.iter().take(MAX_LINKS) {
        let path = format!("{DIRECTORY}/{name}");
        // A link that leads nowhere is bootc's to complain about.
        let Some(unit) = if_exists(root.metadata(&path))? else {
            continue;
        };
        if unit.is_file() {
            found.extend(image_of(name, &root.read_text(&path)?).map(str::to_owned));
        }
    }
    Ok(found.into_iter().collect())
}

/// Returns the image that the unit `file` names (podman-systemd.unit(5)); `None` if that is no name, or
/// depends on a specifier, which bootc refuses.
pub(crate) fn image_of<'t>(file: &str, text: &'t str) -> Option<&'t str> {
    let group = match file.rsplit_once('.')? {
        (_, "image") => "Image",
        (_, "container") => "Container",
        _ => return None,
    };
    let image = key_file::value(text, group, "Image")?;
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let is_name =
        image.starts_with(|c: char| c.is_ascii_alphanumeric()) && image.chars().all(is_part);
    is_name.then_some(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_names_its_image() {
        for (file, text, image) in [
            (
                "a.image",
                "[Image]\nImage=quay.io/a/b:1\n",
                Some("quay.io/a/b:1"),
            ),
            (
                "a.container",
                "[Unit]\nImage=no\n[Container]\n# Image=no\nExec=x\nImage = b \n",
                Some("b"),
            ),
            ("a.container", "[Image]\nImage=b\n", None),
            ("a.image", "[Image]\nImage=quay.io/%i\n", None),
            ("a.image", "[Image]\nImage=\n", None),
            ("a.image", "[Image]\nImage=a b\n", None),
            ("a.image", "[Image]\nImage=a;b\n", None),
            ("a.image", "[Image]\nImage=--all\n", None),
            ("a.volume", "[Volume]\nImage=b\n", None),
            ("image", "[Image]\nImage=b\n", None),
        ] {
            assert_eq!(image_of(file, text), image, "{file} {text:?}");
        }
    }
}
