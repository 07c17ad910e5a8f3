//! List of the images here that can be booted.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::image::inspect::says_bootable;
use crate::podman::{Podman, stderr_of};
use crate::{HostError, Operation};

/// Arguments of the podman command that lists images.
const LIST: [&str; 3] = ["images", "--no-trunc", "--format=json"];

/// An image that says it is a bootc image, with podman's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
pub struct BootableImage {
    /// Full image ID.
    pub id: String,
    /// Its names with their tags; none if all have gone to newer images.
    #[serde(default, deserialize_with = "null_as_default")]
    pub names: Vec<String>,
    /// Bytes of all its layers.
    #[serde(default)]
    pub size: u64,
    /// Unix time at which it was built.
    #[serde(default)]
    pub created: i64,
    /// The same in RFC 3339's form.
    #[serde(default)]
    pub created_at: String,
    /// Its labels.
    #[serde(default, deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
}

impl BootableImage {
    /// Returns every such image in podman's store, newest first.
    ///
    /// The labels are checked here and not by `podman images --filter`: versions of podman differ
    /// in whether two label filters mean either or both.
    pub fn list(podman: &Podman) -> Result<Vec<Self>, HostError> {
        let failed = |stderr| HostError::Podman {
            action: Operation::ListImages,
            stderr,
        };
        let output = podman.output(LIST).map_err(HostError::io("run podman"))?;
        if !output.status.success() {
            return Err(failed(stderr_of(&output)));
        }
        bootable(&output.stdout).map_err(|e| failed(format!("unexpected answer: {e}")))
    }

    /// Returns the same list, or an empty one if podman does not answer in time.
    #[must_use]
    pub fn list_within(podman: &Podman, limit: Duration) -> Vec<Self> {
        let said = podman.output_within(LIST, limit);
        said.and_then(|json| bootable(&json).ok())
            .unwrap_or_default()
    }
}

pub(crate) fn bootable(json: &[u8]) -> serde_json::Result<Vec<BootableImage>> {
    let all: Vec<BootableImage> = serde_json::from_slice(json)?;
    let mut images: Vec<BootableImage> = Vec::new();
    for image in all.into_iter().filter(|image| says_bootable(&image.labels)) {
        // Versions of podman differ in whether they list an image once, or once for each name.
        match images.iter_mut().find(|known| known.id == image.id) {
            Some(known) => {
                known.names.extend(image.names);
                known.names.sort();
                known.names.dedup();
            }
            None => images.push(image),
        }
    }
    images.sort_by(|a, b| {
        b.created
            .cmp(&a.created)
            .then_with(|| a.names.cmp(&b.names))
    });
    Ok(images)
}

/// Reads `null`, which podman writes for an empty list, as the default.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootable_images_come_once_and_newest_first() {
        let json = br#"[
            {"Id":"a","Names":["localhost/old:1"],"Size":5,"Created":1,"Labels":{"containers.bootc":"1"}},
            {"Id":"b","Names":["localhost/app:1"],"Created":9,"Labels":{"maintainer":"me"}},
            {"Id":"c","Names":null,"Created":3,"Labels":{"ostree.bootable":"1"}},
            {"Id":"d","Names":["localhost/plain"],"Created":4,"Labels":null},
            {"Id":"a","Names":["localhost/also:1","localhost/old:1"],"Created":1,"Labels":{"containers.bootc":"1"}}
        ]"#;
        let images = bootable(json).expect("parse");
        let seen: Vec<_> = images
            .iter()
            .map(|i| (i.id.as_str(), i.names.join(" ")))
            .collect();
        assert_eq!(
            seen,
            [
                ("c", String::new()),
                ("a", "localhost/also:1 localhost/old:1".to_owned())
            ]
        );
        assert_eq!(images[1].size, 5);
    }
}
