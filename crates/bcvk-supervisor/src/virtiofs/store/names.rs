//! The images of a store, by the names that units give them.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::DRIVERS;
use super::layers::read;

/// An entry of `images.json` (containers-storage, `images.go`: `Image`).
#[derive(Debug, Deserialize)]
struct Image {
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    digest: Option<String>,
    /// Digests of the image's parts. Those of its manifests are digests of the image.
    #[serde(default, rename = "big-data-digests")]
    parts: Option<HashMap<String, String>>,
}

impl Image {
    /// Returns true if `podman run` takes this image for `name`. A name without a registry stands for
    /// an image of any.
    fn is_called(&self, name: &str) -> bool {
        if let Some((_, digest)) = name.split_once('@') {
            let mut parts = self.parts.iter().flatten();
            return self.digest.as_deref() == Some(digest)
                || parts.any(|(part, of)| part.starts_with("manifest") && of == digest);
        }
        let is_tagged = name.rsplit('/').next().is_some_and(|end| end.contains(':'));
        let tag = if is_tagged { "" } else { ":latest" };
        self.names.iter().flatten().any(|known| {
            known
                .strip_suffix(tag)
                .and_then(|known| known.strip_suffix(name))
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        })
    }
}

/// Returns those of `wanted` that are not in the store `root`.
pub(crate) fn missing<'w>(root: &Path, wanted: &'w [String]) -> Vec<&'w str> {
    let files = DRIVERS.iter().map(|driver| {
        let file = format!("{0}-images/images.json", driver.name);
        read(&root.join(file)).unwrap_or_default()
    });
    let stores: Vec<Vec<u8>> = files.collect();
    missing_in(&stores, wanted)
}

/// Returns those of `wanted` that no `images.json` lists.
pub(crate) fn missing_in<'w>(stores: &[Vec<u8>], wanted: &'w [String]) -> Vec<&'w str> {
    let images = stores
        .iter()
        .flat_map(|store| serde_json::from_slice::<Vec<Image>>(store).unwrap_or_default());
    let images: Vec<Image> = images.collect();
    let wanted = wanted.iter().map(String::as_str);
    wanted
        .filter(|name| !images.iter().any(|image| image.is_called(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_the_names_that_podman_finds_it_by() {
        let store = br#"[
            {"id": "1", "names": ["quay.io/a/web:latest", "localhost/db:2"], "digest": "sha256:1",
             "big-data-digests": {"manifest": "sha256:2", "sha256:3": "sha256:3"}},
            {"id": "2", "names": null}, {"id": "3"}]"#;
        let stores = [store.to_vec(), Vec::new()];
        for (name, there) in [
            ("quay.io/a/web", true),
            ("quay.io/a/web:latest", true),
            ("a/web", true),
            ("web", true),
            ("localhost/db:2", true),
            ("db:2", true),
            ("db", false),
            ("quay.io/a/web:2", false),
            ("eb", false),
            ("io/a/web", false),
            ("localhost:5000/web", false),
            ("quay.io/a/web@sha256:1", true),
            ("quay.io/a/web@sha256:2", true),
            ("quay.io/a/web@sha256:3", false),
        ] {
            let wanted = [name.to_owned()];
            let missing = missing_in(&stores, &wanted);
            assert_eq!(missing.is_empty(), there, "{name}");
        }
        let wanted = ["a".to_owned()];
        assert_eq!(missing_in(&[b"no JSON".to_vec()], &wanted), ["a"]);
    }
}
