//! `cp`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueHint};

/// Copy files into an ephemeral VM, or out of it
#[derive(Debug, Args)]
#[command(
    override_usage = "\
bcvk ephemeral cp [OPTIONS] PATH NAME:PATH
       bcvk ephemeral cp [OPTIONS] NAME:PATH PATH",
    after_help = "\
Examples:
  bcvk ephemeral cp notes.txt testvm:/root/
  bcvk ephemeral cp testvm:/var/log/journal ."
)]
pub(crate) struct Cp {
    /// File or directory; NAME:PATH is one in the VM
    ///
    /// A directory is copied with all that is in it. NAME is a VM's name, or the first four digits or
    /// more of its container's ID. A path of the host with a colon begins with `/` or `./`.
    #[arg(value_name = "FROM", value_hint = ValueHint::AnyPath)]
    pub(crate) from: Place,

    /// Where it goes; one of both is in a VM
    #[arg(value_name = "TO", value_hint = ValueHint::AnyPath)]
    pub(crate) to: Place,
}

/// A file or directory, here or in a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Here(PathBuf),
    InVm { name: String, path: String },
}

/// A place that cannot be copied from or to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error(
        "'-' would be an archive: pipe it through tar in the VM, as in `bcvk ephemeral ssh NAME tar -x -C /srv <files.tar`"
    )]
    Stream,
    #[error("'{0}' is no place: give PATH, or NAME:PATH for one in a VM")]
    Empty(String),
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(word: &str) -> Result<Self, PlaceError> {
        match word.split_once(':') {
            _ if word == "-" => Err(PlaceError::Stream),
            _ if word.is_empty() => Err(PlaceError::Empty(word.to_owned())),
            Some((name, path)) if !name.contains('/') && !name.starts_with('.') => {
                if name.is_empty() || path.is_empty() {
                    return Err(PlaceError::Empty(word.to_owned()));
                }
                let (name, path) = (name.to_owned(), path.to_owned());
                Ok(Self::InVm { name, path })
            }
            _ => Ok(Self::Here(word.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_here_or_in_a_vm() {
        let here = |path: &str| Ok(Place::Here(path.into()));
        let there = |name: &str, path: &str| {
            let (name, path) = (name.to_owned(), path.to_owned());
            Ok(Place::InVm { name, path })
        };
        for (word, expected) in [
            ("a", here("a")),
            ("/a:b", here("/a:b")),
            ("./a:b", here("./a:b")),
            ("vm:/a", there("vm", "/a")),
            ("vm:a:b", there("vm", "a:b")),
            ("-", Err(PlaceError::Stream)),
            ("", Err(PlaceError::Empty(String::new()))),
            ("vm:", Err(PlaceError::Empty("vm:".into()))),
            (":/a", Err(PlaceError::Empty(":/a".into()))),
        ] {
            assert_eq!(word.parse::<Place>(), expected, "{word}");
        }
    }
}
