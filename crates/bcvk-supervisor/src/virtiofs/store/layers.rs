//! The layers of a store's images, as containers-storage records them.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bcvk_contract::bounded;
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::Deserialize;

/// Limit for the size of a file: 64 MiB are some 50000 images, or 150000 layers.
const MAX_FILE: u64 = 64 << 20;

/// An entry of `images.json` (containers-storage, `images.go`: `Image`).
#[derive(Debug, Deserialize)]
struct Image {
    /// ID of the uppermost layer; empty in an image that is only a list of others.
    #[serde(default, rename = "layer")]
    top: String,
    /// IDs of copies of that layer with other owners of its files, for containers with user namespaces.
    #[serde(default, rename = "mapped-layers")]
    mapped: Vec<String>,
}

/// An entry of `layers.json` (containers-storage, `layers.go`: `Layer`).
#[derive(Debug, Deserialize)]
struct Layer {
    id: String,
    #[serde(default)]
    parent: String,
}

/// Finds the layers that images consist of. Layers of containers are on top of these, and no image
/// names them.
pub(crate) fn image_layers(images: &[u8], layers: &[u8]) -> serde_json::Result<HashSet<String>> {
    let images: Vec<Image> = serde_json::from_slice(images)?;
    let layers: Vec<Layer> = serde_json::from_slice(layers)?;
    let mut parents: HashMap<String, String> = layers
        .into_iter()
        .filter(|layer| is_id(&layer.id))
        .map(|layer| (layer.id, layer.parent))
        .collect();
    let mut found = HashSet::new();
    let tops = images
        .into_iter()
        .flat_map(|image| image.mapped.into_iter().chain([image.top]));
    for top in tops {
        let mut next = top;
        // Each layer is taken out once, so that a circle ends.
        while let Some(parent) = parents.remove(&next) {
            found.insert(std::mem::replace(&mut next, parent));
        }
    }
    Ok(found)
}

/// Returns true for a layer's ID, which is the name of its directory.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The layers of the images of one store, which may change.
#[derive(Debug)]
pub(super) struct ImageLayers {
    files: [PathBuf; 2],
    /// State of both files when they were read.
    read: [Option<Stamp>; 2],
    found: HashSet<String>,
}

/// State of a file: podman replaces the whole file to change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl ImageLayers {
    /// Returns the layers in the store `root` of the storage driver `driver`.
    pub(super) fn new(root: &Path, driver: &str) -> Self {
        let file = |kind: &str| root.join(format!("{driver}-{kind}/{kind}.json"));
        Self {
            files: [file("images"), file("layers")],
            read: [None; 2],
            found: HashSet::new(),
        }
    }

    /// Returns true if `id` is a layer of an image now. If podman's files cannot be read, no layer
    /// is.
    pub(super) fn contains(&mut self, id: &str) -> bool {
        let now = self.files.each_ref().map(|file| Stamp::of(file));
        if now != self.read {
            self.found = self.read_files().unwrap_or_default();
            self.read = now;
        }
        self.found.contains(id)
    }

    fn read_files(&self) -> Option<HashSet<String>> {
        let [images, layers] = self.files.each_ref();
        image_layers(&read(images)?, &read(layers)?).ok()
    }
}

/// Reads a regular file. `untrusted` cannot do that here: it opens files through `/proc`, which a
/// file server does not have.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, path, flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    bounded::read(file, MAX_FILE).ok()?
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let found = file.symlink_metadata().ok()?;
        Some(Self {
            inode: found.ino(),
            size: found.size(),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_below_an_image_are_its_own() {
        let id = |c: char| c.to_string().repeat(64);
        let [base, top, mapped, container] = ['a', 'b', 'c', 'd'].map(id);
        let images =
            format!(r#"[{{"id":"1","layer":"{top}","mapped-layers":["{mapped}"]}},{{"id":"2"}}]"#);
        let layers = format!(
            r#"[{{"id":"{base}"}},{{"id":"{top}","parent":"{base}"}},{{"id":"{mapped}","parent":"{base}"}},
                {{"id":"{container}","parent":"{top}"}},{{"id":"l"}}]"#
        );
        let found = image_layers(images.as_bytes(), layers.as_bytes()).expect("JSON");
        assert_eq!(found, HashSet::from([base, top, mapped]));
    }

    #[test]
    fn a_circle_of_layers_ends() {
        let id = |c: char| c.to_string().repeat(64);
        let [a, b] = ['a', 'b'].map(id);
        let images = format!(r#"[{{"layer":"{a}"}}]"#);
        let layers = format!(r#"[{{"id":"{a}","parent":"{b}"}},{{"id":"{b}","parent":"{a}"}}]"#);
        let found = image_layers(images.as_bytes(), layers.as_bytes()).expect("JSON");
        assert_eq!(found, HashSet::from([a, b]));
    }
}
