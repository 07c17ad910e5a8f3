//! Labels of containers.

use std::fmt;
use std::str::FromStr;

use super::SpecError;

/// Label that marks containers as bcvk's VMs; the key is the one that the existing bcvk uses.
pub const LABEL: &str = "bcvk.ephemeral";
/// Label that carries the id of the VM directory.
pub const LABEL_VM: &str = "bcvk.vm";
/// Label of images that are runners: the version of the bcvk in it.
pub const LABEL_RUNNER: &str = "bcvk.runner";

/// A label of the user's, `KEY=VALUE` or `KEY`, as `podman run --label` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    /// The label as the user gave it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        let key = value.split('=').next().unwrap_or_default();
        if key.is_empty() {
            Err(SpecError::LabelSyntax {
                value: value.to_owned(),
            })
        } else if [LABEL, LABEL_VM].contains(&key) {
            Err(SpecError::LabelTaken {
                key: key.to_owned(),
            })
        } else {
            Ok(Self(value.to_owned()))
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_but_those_that_make_a_vm() {
        for value in [
            "a=b",
            "a",
            "a=",
            "a=b=c",
            "bcvk.vms=x",
            "-x=$(y)",
            "a=b\n\"c\",d",
        ] {
            let label: Label = value.parse().expect(value);
            assert_eq!(label.as_str(), value);
        }
        for (value, said) in [
            ("", "is not a label"),
            ("=b", "is not a label"),
            ("bcvk.vm=0", "'bcvk.vm' is bcvk's own"),
            ("bcvk.ephemeral", "'bcvk.ephemeral' is bcvk's own"),
        ] {
            let error = value.parse::<Label>().expect_err(value).to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
