//! The value of `ps --filter`, in podman's words.

use std::str::FromStr;

/// Condition for a VM to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    /// A part of its name, which may be said to be the beginning, the end, or both.
    Name {
        part: String,
        begins: bool,
        ends: bool,
    },
    /// The beginning of its container's ID.
    Id(String),
    /// State of its container, or the VM's own.
    Status(String),
    /// A label of its container, with this value if there is one.
    Label(String, Option<String>),
    /// Its image, by a name or the beginning of an ID.
    Ancestor(String),
    /// Exit code of its container.
    Exited(i32),
}

/// A value of `--filter` that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilterError {
    #[error(
        "'{0}' is no filter: give KEY=VALUE, where KEY is name, id, status, label, ancestor or exited"
    )]
    Unknown(String),
    #[error(
        "'{0}' is no part of a name: it has letters, digits, '_', '.' and '-', after a '^' if it begins the name, before a '$' if it ends it"
    )]
    Name(String),
    #[error("'{value}' is no state: give one of {}", STATES.join(", "))]
    Status { value: String },
    #[error("'{0}' is no exit code")]
    Exited(String),
}

/// States of podman's containers, and of VMs that run.
const STATES: [&str; 8] = [
    "created", "running", "paused", "exited", "booting", "ready", "stopping", "unknown",
];

/// Properties of a VM that filters ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filtered<'a> {
    pub(crate) names: &'a [String],
    pub(crate) id: &'a str,
    /// State of the container, and the VM's own.
    pub(crate) states: [&'a str; 2],
    pub(crate) labels: &'a [(String, String)],
    /// Names of its image, as podman and as its user have it.
    pub(crate) images: [&'a str; 2],
    pub(crate) image_id: &'a str,
    /// Exit code of a container that has ended.
    pub(crate) exit_code: Option<i32>,
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let unknown = || FilterError::Unknown(text.to_owned());
        let (key, value) = text.split_once('=').ok_or_else(unknown)?;
        if value.is_empty() {
            return Err(unknown());
        }
        match key {
            "name" => name(value),
            "id" => Ok(Self::Id(value.to_owned())),
            "status" if STATES.contains(&value) => Ok(Self::Status(value.to_owned())),
            // Docker's word, which podman takes too.
            "status" if value == "stopped" => Ok(Self::Status("exited".to_owned())),
            "status" => Err(FilterError::Status {
                value: value.to_owned(),
            }),
            "label" => Ok(match value.split_once('=') {
                Some((key, value)) => Self::Label(key.to_owned(), Some(value.to_owned())),
                None => Self::Label(value.to_owned(), None),
            }),
            "ancestor" => Ok(Self::Ancestor(value.to_owned())),
            "exited" => value
                .parse()
                .map(Self::Exited)
                .map_err(|_| FilterError::Exited(value.to_owned())),
            _ => Err(unknown()),
        }
    }
}

/// Parses a part of a name. podman takes a regular expression, of which a name leaves little use.
fn name(value: &str) -> Result<Filter, FilterError> {
    let part = value.strip_prefix('^').unwrap_or(value);
    let begins = part.len() < value.len();
    let (part, ends) = match part.strip_suffix('$') {
        Some(part) => (part, true),
        None => (part, false),
    };
    let is_of_names = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if part.bytes().all(is_of_names) {
        let part = part.to_owned();
        Ok(Filter::Name { part, begins, ends })
    } else {
        Err(FilterError::Name(value.to_owned()))
    }
}

impl Filter {
    /// Returns true if the filter asks for a state, which VMs that have ended have too.
    pub(crate) fn is_of_state(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Exited(_))
    }

    /// Returns true if this filter and `other` are about the same property, of which either will do. All
    /// labels have to be there, as podman has it.
    fn is_alternative_to(&self, other: &Self) -> bool {
        let label = matches!(self, Self::Label(..));
        !label && std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    fn fits(&self, vm: Filtered<'_>) -> bool {
        match self {
            Self::Name { part, begins, ends } => vm.names.iter().any(|name| match (begins, ends) {
                (true, true) => name == part,
                (true, false) => name.starts_with(part),
                (false, true) => name.ends_with(part),
                (false, false) => name.contains(part),
            }),
            Self::Id(start) => vm.id.starts_with(start),
            Self::Status(state) => vm.states.contains(&state.as_str()),
            Self::Label(key, value) => vm
                .labels
                .iter()
                .any(|(known, of)| known == key && value.as_ref().is_none_or(|value| value == of)),
            Self::Ancestor(image) => {
                let is_named = vm.images.iter().any(|name| is_image(image, name));
                is_named || is_id(image, vm.image_id)
            }
            Self::Exited(code) => vm.exit_code == Some(*code),
        }
    }
}

/// Returns true if podman takes `asked` for the image `name`: without `localhost/` or a tag `latest`.
fn is_image(asked: &str, name: &str) -> bool {
    let short = name.strip_prefix("localhost/").unwrap_or(name);
    let untagged = |name: &str| name.strip_suffix(":latest").map(str::to_owned);
    [name, short]
        .into_iter()
        .any(|name| name == asked || untagged(name).is_some_and(|name| name == asked))
}

fn is_id(asked: &str, id: &str) -> bool {
    asked.len() >= 4 && id.starts_with(asked.strip_prefix("sha256:").unwrap_or(asked))
}

/// Returns true if a VM is to be listed by these filters.
pub(crate) fn all_fit(filters: &[Filter], vm: Filtered<'_>) -> bool {
    filters.iter().all(|filter| {
        filter.fits(vm)
            || filters
                .iter()
                .any(|other| filter.is_alternative_to(other) && other.fits(vm))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(filters: &[&str]) -> bool {
        let parsed = filters.iter().map(|text| text.parse().expect(text));
        let filters: Vec<Filter> = parsed.collect();
        let vm = Filtered {
            names: &["web-1".to_owned()],
            id: "c0ffee",
            states: ["running", "ready"],
            labels: &[
                ("a".to_owned(), "b=c".to_owned()),
                ("d".to_owned(), String::new()),
            ],
            images: ["localhost/os:latest", "other:1"],
            image_id: "0123abcd",
            exit_code: None,
        };
        all_fit(&filters, vm)
    }

    #[test]
    fn a_vm_fits_its_filters() {
        for (filters, expected) in [
            (&[][..], true),
            (&["name=eb"], true),
            (&["name=^web"], true),
            (&["name=^eb"], false),
            (&["name=1$"], true),
            (&["name=^web$"], false),
            (&["name=^web-1$"], true),
            (&["id=c0"], true),
            (&["id=ff"], false),
            (&["status=running"], true),
            (&["status=ready"], true),
            (&["status=exited"], false),
            (&["label=d"], true),
            (&["label=a=b=c"], true),
            (&["label=a=b"], false),
            (&["ancestor=os"], true),
            (&["ancestor=os:latest"], true),
            (&["ancestor=localhost/os"], true),
            (&["ancestor=localhost/os:1"], false),
            (&["ancestor=other:1"], true),
            (&["ancestor=0123"], true),
            (&["ancestor=s"], false),
            (&["exited=0"], false),
            // Either of one key, all of several.
            (&["name=db", "name=web"], true),
            (&["status=stopped", "status=running"], true),
            (&["name=web", "status=exited"], false),
            (&["label=d", "label=e"], false),
        ] {
            assert_eq!(fits(filters), expected, "{filters:?}");
        }
    }

    #[test]
    fn what_is_no_filter_says_what_is() {
        for (text, words) in [
            ("web", "'web' is no filter: give KEY=VALUE"),
            ("name=", "'name=' is no filter"),
            ("until=1h", "'until=1h' is no filter"),
            ("name=a*", "'a*' is no part of a name"),
            (
                "status=up",
                "'up' is no state: give one of created, running",
            ),
            ("exited=x", "'x' is no exit code"),
        ] {
            let error = text.parse::<Filter>().expect_err(text).to_string();
            assert!(error.starts_with(words), "{error}");
        }
        assert!(
            "exited=1"
                .parse::<Filter>()
                .expect("a filter")
                .is_of_state()
        );
    }
}
