//! Wishes of an image for its containers, which are overruled.

use std::collections::BTreeMap;

/// Label in which an image names the capabilities that its container needs, instead of all of them
/// (podman-run(1), `--cap-add`). The container's own label of that name takes precedence.
pub(crate) const LABEL_CAPABILITIES: &str = "io.containers.capabilities";

/// An image's wishes for its containers that podman or the OCI runtime would obey, and that no option of
/// `podman run` turns off as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageClaims {
    /// Names of its annotations.
    pub annotations: Vec<String>,
    /// True if it names the capabilities of a container (`io.containers.capabilities`).
    pub capabilities: bool,
}

/// Annotations by which crun, runc and podman are told what to do (crun(1), "EXTENSIONS TO OCI"; runc,
/// docs/systemd.md). Given another value, they still do something.
const STEERING: [&str; 3] = [
    "run.oci.",
    "org.systemd.property.",
    "io.podman.annotations.",
];

impl ImageClaims {
    pub(crate) fn of(
        labels: &BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
    ) -> Self {
        Self {
            annotations: annotations.into_keys().collect(),
            capabilities: labels.contains_key(LABEL_CAPABILITIES),
        }
    }

    /// The annotation that nothing takes the effect of, if there is one.
    #[must_use]
    pub fn steering(&self) -> Option<&str> {
        let steers = |name: &&String| {
            STEERING.iter().any(|prefix| name.starts_with(prefix)) || name.contains('=')
        };
        self.annotations.iter().find(steers).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(labels: &[&str], annotations: &[&str]) -> ImageClaims {
        let map = |names: &[&str]| {
            let names = names
                .iter()
                .map(|name| ((*name).to_owned(), "x".to_owned()));
            names.collect::<BTreeMap<_, _>>()
        };
        ImageClaims::of(&map(labels), map(annotations))
    }

    #[test]
    fn annotations_that_steer_a_runtime_are_found() {
        for (annotations, steering) in [
            (&[][..], None),
            (&["org.opencontainers.image.title"], None),
            (&["run.ocix", "x.run.oci.handler"], None),
            (&["run.oci.handler"], Some("run.oci.handler")),
            (
                &["a", "org.systemd.property.X"],
                Some("org.systemd.property.X"),
            ),
            (
                &["io.podman.annotations.init"],
                Some("io.podman.annotations.init"),
            ),
            (&["a=run.oci.handler"], Some("a=run.oci.handler")),
        ] {
            let claims = claims(&[], annotations);
            assert_eq!(claims.annotations, annotations);
            assert_eq!(claims.steering(), steering, "{annotations:?}");
        }
    }

    #[test]
    fn a_label_for_capabilities_is_a_claim() {
        assert!(claims(&["a", LABEL_CAPABILITIES], &[]).capabilities);
        assert!(!claims(&["io.containers.capabilitiesx"], &[LABEL_CAPABILITIES]).capabilities);
    }
}
