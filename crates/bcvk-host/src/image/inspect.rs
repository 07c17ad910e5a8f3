//! Properties of an image that podman knows before anything is started.

use std::collections::BTreeMap;

use bcvk_contract::choice;
use bcvk_contract::spec::{Arch, ImageIdentity, LABEL_RUNNER};
use serde::Deserialize;

use crate::podman::{ImageClaims, Podman, stderr_of};
use crate::{HostError, ImageError, Operation};

/// Time at which an image is pulled, with podman's meanings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// Never; a missing image is an error.
    Never,
    /// If the image is not here.
    #[default]
    Missing,
    /// Before every start.
    Always,
    /// Before every start, but the image that is here will do where that fails.
    Newer,
}

choice!(PullPolicy, "a pull policy", {
    Never: "never", Missing: "missing", Always: "always", Newer: "newer"
});

/// An image that is in podman's storage here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// The user's name for the image, and the image's ID.
    pub identity: ImageIdentity,
    /// Architecture of the processor that the image is for.
    pub arch: Arch,
    /// True if the image is labelled as a bootc image.
    pub bootable: bool,
    /// Size of the image in bytes, all layers together.
    pub bytes: u64,
    /// Digests of the image's layers, the lowest first.
    pub layers: Vec<String>,
    /// Version of the bcvk in the image, if the image is a runner.
    pub runner: Option<String>,
    /// The image's wishes for the containers that are made of it.
    pub claims: ImageClaims,
}

/// podman's words for an image that is not in its storage. The last are about images that are elsewhere:
/// in an archive, a directory or a registry that the reference names (containers-transports(5)).
const NOT_HERE: [&str; 4] = [
    "image not known",
    "no such image",
    "failed to find image",
    "for looking up local images",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    architecture: String,
    #[serde(default)]
    size: u64,
    #[serde(default, rename = "RootFS")]
    root_fs: RootFs,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl ImageInfo {
    /// Finds `reference`, pulling it as `pull` says; podman's progress is shown unless `quiet`.
    pub fn resolve(
        podman: &Podman,
        reference: &str,
        pull: PullPolicy,
        quiet: bool,
    ) -> Result<Self, HostError> {
        let here = || Self::inspect(podman, reference, reference);
        let pulled = || {
            let id = Self::pull(podman, reference, quiet)?;
            Self::inspect(podman, &id, reference)
        };
        let found = match pull {
            PullPolicy::Never => here()?,
            PullPolicy::Always => pulled()?,
            PullPolicy::Missing => match here()? {
                None => pulled()?,
                found => found,
            },
            // podman has this policy only where it makes containers; it asks the registry as a pull does.
            PullPolicy::Newer => match pulled() {
                Ok(found) => found,
                Err(error) => {
                    let found = here()?.ok_or(error)?;
                    tracing::warn!(
                        "{reference} could not be pulled; the image that is here is used"
                    );
                    Some(found)
                }
            },
        };
        found.ok_or_else(|| missing(reference))
    }

    /// Pulls `reference`. Returns the image's ID: an image from an archive need not have a name.
    fn pull(podman: &Podman, reference: &str, quiet: bool) -> Result<String, HostError> {
        let output = podman
            .pull(reference, quiet)
            .map_err(HostError::io("run podman pull"))?;
        if !output.status.success() {
            return Err(ImageError::PullFailed {
                reference: reference.to_owned(),
            }
            .into());
        }
        let said = String::from_utf8_lossy(&output.stdout);
        Ok(said.lines().last().unwrap_or(reference).to_owned())
    }

    /// Looks at the image that podman knows by `name` and the user by `reference`.
    fn inspect(podman: &Podman, name: &str, reference: &str) -> Result<Option<Self>, HostError> {
        let output = podman
            .output(["image", "inspect", "--format=json", "--", name])
            .map_err(HostError::io("run podman"))?;
        let failed = |stderr| HostError::Podman {
            action: Operation::InspectImage,
            stderr,
        };
        if !output.status.success() {
            let stderr = stderr_of(&output);
            // podman has one exit code for every failure here, so its words have to tell them apart.
            let no_name = ["invalid reference format", "repository name must"];
            return if no_name.iter().any(|words| stderr.contains(words)) {
                Err(ImageError::Name {
                    reference: reference.to_owned(),
                }
                .into())
            } else if NOT_HERE.iter().any(|words| stderr.contains(words)) {
                Ok(None)
            } else {
                Err(failed(stderr))
            };
        }
        Self::parse(&output.stdout, reference).map(Some)
    }

    /// Parses the output of `podman image inspect` about `reference`.
    pub(crate) fn parse(json: &[u8], reference: &str) -> Result<Self, HostError> {
        let [found]: [Inspected; 1] =
            serde_json::from_slice(json).map_err(|e| HostError::Podman {
                action: Operation::InspectImage,
                stderr: format!("unexpected answer: {e}"),
            })?;
        let arch = found.architecture.parse().map_err(|_| ImageError::Arch {
            reference: reference.to_owned(),
            found: found.architecture.clone(),
        })?;
        let labels = found.labels.unwrap_or_default();
        Ok(Self {
            identity: ImageIdentity {
                reference: reference.to_owned(),
                id: found.id,
            },
            arch,
            bootable: says_bootable(&labels),
            bytes: found.size,
            layers: found.root_fs.layers.unwrap_or_default(),
            runner: labels.get(LABEL_RUNNER).cloned(),
            claims: ImageClaims::of(&labels, found.annotations.unwrap_or_default()),
        })
    }
}

/// Returns true if an image's labels say that it is a bootc image.
pub(crate) fn says_bootable(labels: &BTreeMap<String, String>) -> bool {
    ["containers.bootc", "ostree.bootable"]
        .iter()
        .any(|key| labels.contains_key(*key))
}

fn missing(reference: &str) -> HostError {
    ImageError::Missing {
        reference: reference.to_owned(),
    }
    .into()
}
