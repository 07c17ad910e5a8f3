//! The values of `--volume` and `--hostname`, in podman's words.

use std::fmt;
use std::str::FromStr;

use bcvk_contract::spec::{Karg, ShareRequest, SpecError};

/// A directory of the host at a path in the VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) share: ShareRequest,
    pub(crate) read_only: bool,
}

/// A value of `--volume` that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error(
        "'{0}' is no volume: give HOST:/PATH or HOST:/PATH:ro; a disk that goes away with the VM is --var-disk, one that stays --mount-disk-file"
    )]
    Syntax(String),
    #[error(
        "'{name}' would be a volume of podman's, which a VM cannot have: give a directory, such as ./{name}, or a disk with --mount-disk-file"
    )]
    Named { name: String },
    #[error(
        "'{0}' is no option of a volume here: ro and rw are, and z and Z, of which a VM needs neither"
    )]
    Option(String),
    #[error(transparent)]
    Share(#[from] SpecError),
}

impl FromStr for Volume {
    type Err = VolumeError;

    fn from_str(value: &str) -> Result<Self, VolumeError> {
        // HOST may have colons; the path in the VM begins with a slash, and no option does.
        let at = value.rfind(":/").filter(|at| *at > 0);
        let at = at.ok_or_else(|| VolumeError::Syntax(value.to_owned()))?;
        let (host, rest) = value.split_at(at);
        let (path, options) = match rest[1..].split_once(':') {
            Some((path, options)) => (path, Some(options)),
            None => (&rest[1..], None),
        };
        if !host.starts_with(['/', '.', '~']) {
            let name = host.to_owned();
            return Err(VolumeError::Named { name });
        }
        let mut read_only = false;
        for option in options.into_iter().flat_map(|options| options.split(',')) {
            match option {
                "ro" => read_only = true,
                "rw" => read_only = false,
                // SELinux does not separate a VM's container from the host's files.
                "z" | "Z" => {}
                other => return Err(VolumeError::Option(other.to_owned())),
            }
        }
        let share = format!("{host}:{path}").parse()?;
        Ok(Self { share, read_only })
    }
}

/// Name of a host (hostname(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostName(String);

/// A value of `--hostname` that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no host name: it has at most 64 letters, digits, '-' and '.', and begins and ends with a letter or digit"
)]
pub(crate) struct HostNameError(String);

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(value: &str) -> Result<Self, HostNameError> {
        let is_label = |label: &str| {
            let within = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(within)
        };
        if value.len() <= 64 && value.split('.').all(is_label) {
            Ok(Self(value.to_owned()))
        } else {
            Err(HostNameError(value.to_owned()))
        }
    }
}

impl HostName {
    /// Returns the kernel argument by which systemd takes the name, whatever `/etc/hostname` says
    /// (kernel-command-line(7)).
    pub(crate) fn karg(&self) -> Result<Karg, SpecError> {
        format!("systemd.hostname={}", self.0).parse()
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn volumes_are_shares_at_a_path() {
        for (value, host, guest, read_only) in [
            ("/a:/b", "/a", "/b", false),
            (".:/src:ro", ".", "/src", true),
            ("./a:b:/src:Z", "./a:b", "/src", false),
            ("/a:/b:ro,z", "/a", "/b", true),
            ("/a:/b:rw", "/a", "/b", false),
        ] {
            let volume: Volume = value.parse().expect(value);
            let target = volume.share.target_in(Path::new("/")).expect("a target");
            let found = (&*volume.share.host, target.guest_path(), volume.read_only);
            assert_eq!(found, (Path::new(host), guest.into(), read_only), "{value}");
        }
    }

    #[test]
    fn what_is_no_volume_says_what_is() {
        for (value, words) in [
            ("/data", "give HOST:/PATH"),
            ("/a:b", "give HOST:/PATH"),
            ("data:/b", "such as ./data"),
            ("/a:/b:O", "'O' is no option"),
            ("/a:/b:ro,U", "'U' is no option"),
            ("/a:/", "'/'"),
        ] {
            let error = value.parse::<Volume>().expect_err(value).to_string();
            assert!(error.contains(words), "{value}: {error}");
        }
    }

    #[test]
    fn host_names() {
        for value in ["web", "web-1.example.org", "7"] {
            let name: HostName = value.parse().expect(value);
            let karg = name.karg().expect("an argument");
            assert_eq!(karg.as_str(), format!("systemd.hostname={value}"));
        }
        for value in ["", "a b", "-a", "a-", "a..b", "a_b", "é", &"a".repeat(65)] {
            assert_eq!(
                value.parse::<HostName>(),
                Err(HostNameError(value.to_owned()))
            );
        }
    }
}
