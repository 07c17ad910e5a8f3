//! Host directories that the guest is to see.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SpecError;
use super::name::is_name_byte;

/// Longest virtiofs tag: the `tag` field of virtio-fs' device configuration
/// (virtio 1.2, 5.11.4: `u8 tag[36]`).
const MAX_TAG_BYTES: usize = 36;

/// Endings that `podman run --volume` takes after a container path and a colon.
const VOLUME_OPTIONS: [&str; 8] = ["ro", "rw", "z", "Z", "U", "O", "rslave", "rshared"];

/// A host directory to share with the guest, and its place there.
///
/// Written `HOST`, `HOST:NAME` or `HOST:/absolute/guest/path`. HOST may contain anything, colons
/// included: only the last colon can separate, and only if what follows it looks like a NAME
/// (`[A-Za-z0-9_.-]+`) or an absolute path. A HOST that ends so itself is given its name by hand:
/// `/srv/a:b:b`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRequest {
    /// The directory on the host. Relative if it was given so to [`FromStr`], absolute from
    /// [`ShareRequest::parse_in`].
    pub host: PathBuf,
    /// Place of the share in the guest.
    pub target: ShareTarget,
}

/// Place where the guest sees a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShareTarget {
    /// At `/run/virtiofs-mnt-NAME`. NAME matches `[A-Za-z0-9_.-]+`.
    Named(String),
    /// At this absolute path.
    Path(PathBuf),
}

impl ShareRequest {
    /// Reads a share whose relative HOST is meant from the directory `cwd` (absolute), so that
    /// `.` and `..` have names too.
    ///
    /// # Errors
    /// Any `Share…` variant of [`SpecError`].
    pub fn parse_in(value: &str, cwd: &Path) -> Result<Self, SpecError> {
        let (host, target) = split(value)?;
        let host = if host.is_absolute() {
            host.to_owned()
        } else {
            cwd.join(host)
        };
        Self::new(value, host, target)
    }

    fn new(value: &str, host: PathBuf, target: Option<ShareTarget>) -> Result<Self, SpecError> {
        let target = match target {
            Some(target) => target,
            None => ShareTarget::Named(name_of(&host).ok_or_else(|| SpecError::ShareUnnamed {
                value: value.to_owned(),
            })?),
        };
        Ok(Self { host, target })
    }

    /// Returns where the guest mounts the share.
    #[must_use]
    pub fn guest_path(&self) -> PathBuf {
        match &self.target {
            ShareTarget::Named(name) => PathBuf::from(format!("/run/virtiofs-mnt-{name}")),
            ShareTarget::Path(path) => path.clone(),
        }
    }

    /// The virtiofs tag, by which the guest mounts it; `index` is its place among the VM's shares
    /// and keeps the tags of different shares apart where the name cannot.
    ///
    /// Named shares have the tag `mount_NAME` as bcvk always had it. Names too long for a tag
    /// (over 30 bytes) are cut and end in `~INDEX`; shares at a path have `path~INDEX`. At most
    /// 36 bytes, without commas or spaces.
    #[must_use]
    pub fn tag(&self, index: usize) -> String {
        match &self.target {
            ShareTarget::Named(name) => {
                let tag = format!("mount_{name}");
                if tag.len() <= MAX_TAG_BYTES {
                    return tag;
                }
                let suffix = format!("~{index}");
                // Names are ASCII: every byte is a character boundary.
                format!("{}{suffix}", &tag[..MAX_TAG_BYTES - suffix.len()])
            }
            ShareTarget::Path(_) => format!("path~{index}"),
        }
    }
}

impl FromStr for ShareRequest {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        let (host, target) = split(value)?;
        Self::new(value, host.to_owned(), target)
    }
}

/// Splits a value into HOST and its place in the guest, if one is given.
fn split(value: &str) -> Result<(&Path, Option<ShareTarget>), SpecError> {
    let (host, target) = match value.rsplit_once(':') {
        Some((_, "")) => {
            return Err(SpecError::ShareTargetEmpty {
                value: value.to_owned(),
            });
        }
        Some((host, options)) if VOLUME_OPTIONS.contains(&options) && host.contains(":/") => {
            return Err(SpecError::ShareOptions {
                value: value.to_owned(),
                options: options.to_owned(),
            });
        }
        Some((host, path)) if path.starts_with('/') => {
            (host, Some(ShareTarget::Path(guest_path(path)?)))
        }
        Some((host, name)) if is_share_name(name) => {
            (host, Some(ShareTarget::Named(name.to_owned())))
        }
        _ => (value, None),
    };
    if host.is_empty() || host.contains('\0') {
        return Err(SpecError::ShareHostEmpty {
            value: value.to_owned(),
        });
    }
    Ok((Path::new(host), target))
}

/// Returns an absolute guest path without `.`, `..` and doubled slashes.
fn guest_path(path: &str) -> Result<PathBuf, SpecError> {
    let mut clean = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                clean = PathBuf::from("/");
                break;
            }
        }
    }
    if clean != Path::new("/") && fits_unit(&clean) {
        Ok(clean)
    } else {
        Err(SpecError::ShareGuestPath {
            target: path.to_owned(),
        })
    }
}

/// Returns true if a mount unit can have the path as its `Where=`: systemd takes lines of UTF-8,
/// drops blanks at a line's end, and joins it with the next one after a backslash
/// (systemd.syntax(7)).
#[must_use]
pub fn fits_unit(path: &Path) -> bool {
    path.to_str()
        .is_some_and(|text| !text.ends_with([' ', '\\']) && !text.contains(char::is_control))
}

fn is_share_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_name_byte)
}

/// Returns the last component of the host path, with `_` for what a name cannot hold.
fn name_of(host: &Path) -> Option<String> {
    let mut named: Vec<&OsStr> = Vec::new();
    for component in host.components() {
        match component {
            Component::Normal(name) => named.push(name),
            // This looks at the text alone, so it is a guess if the parent is a symlink: it only
            // chooses a name.
            Component::ParentDir => {
                named.pop()?;
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let name = named.pop()?.to_string_lossy();
    Some(
        name.chars()
            .map(|c| match u8::try_from(c) {
                Ok(byte) if is_name_byte(byte) => c,
                _ => '_',
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        for (value, host, guest) in [
            (
                "/home/u/project",
                "/home/u/project",
                "/run/virtiofs-mnt-project",
            ),
            (
                "/home/u/project/",
                "/home/u/project/",
                "/run/virtiofs-mnt-project",
            ),
            (
                "/home/u/project:code",
                "/home/u/project",
                "/run/virtiofs-mnt-code",
            ),
            (
                "/home/u/my project",
                "/home/u/my project",
                "/run/virtiofs-mnt-my_project",
            ),
            ("/home/u/été", "/home/u/été", "/run/virtiofs-mnt-_t_"),
            ("src", "src", "/run/virtiofs-mnt-src"),
            ("./src", "./src", "/run/virtiofs-mnt-src"),
            (".", ".", ""),
            ("/srv:/mnt/data", "/srv", "/mnt/data"),
            ("/srv:/mnt//data/./", "/srv", "/mnt/data"),
            ("/:root", "/", "/run/virtiofs-mnt-root"),
            // These colons are HOST's own.
            ("/srv/a:b c", "/srv/a:b c", "/run/virtiofs-mnt-a_b_c"),
            ("/srv/a:b:b", "/srv/a:b", "/run/virtiofs-mnt-b"),
            ("/srv/10:30:/mnt", "/srv/10:30", "/mnt"),
            ("/srv:ro", "/srv", "/run/virtiofs-mnt-ro"),
        ] {
            match value.parse::<ShareRequest>() {
                Ok(share) => {
                    assert_eq!(share.host, Path::new(host), "{value}");
                    assert_eq!(share.guest_path(), Path::new(guest), "{value}");
                }
                Err(e) => assert_eq!(
                    (guest, e),
                    (
                        "",
                        SpecError::ShareUnnamed {
                            value: value.into()
                        }
                    ),
                    "{value}"
                ),
            }
        }
    }

    #[test]
    fn refused() {
        let unnamed = |v: &str| SpecError::ShareUnnamed { value: v.into() };
        let host = |v: &str| SpecError::ShareHostEmpty { value: v.into() };
        let guest = |t: &str| SpecError::ShareGuestPath { target: t.into() };
        for (value, expected) in [
            ("", host("")),
            (":name", host(":name")),
            (":/mnt", host(":/mnt")),
            (
                "/srv:",
                SpecError::ShareTargetEmpty {
                    value: "/srv:".into(),
                },
            ),
            ("/", unnamed("/")),
            ("..", unnamed("..")),
            ("/srv/..", unnamed("/srv/..")),
            ("/srv:/", guest("/")),
            ("/srv:/..", guest("/..")),
            ("/srv:/mnt/../etc", guest("/mnt/../etc")),
            ("/srv:/a\nb", guest("/a\nb")),
            (
                "/srv:/mnt:ro",
                SpecError::ShareOptions {
                    value: "/srv:/mnt:ro".into(),
                    options: "ro".into(),
                },
            ),
        ] {
            assert_eq!(value.parse::<ShareRequest>(), Err(expected), "{value}");
        }
    }

    #[test]
    fn relative_to_a_directory() {
        for (value, host, guest) in [
            (".", "/home/u/project/.", "/run/virtiofs-mnt-project"),
            ("..", "/home/u/project/..", "/run/virtiofs-mnt-u"),
            ("src:code", "/home/u/project/src", "/run/virtiofs-mnt-code"),
            ("/srv", "/srv", "/run/virtiofs-mnt-srv"),
        ] {
            let share = ShareRequest::parse_in(value, Path::new("/home/u/project"));
            let share = share.expect("a share");
            assert_eq!(
                (share.host.as_path(), share.guest_path()),
                (Path::new(host), guest.into())
            );
        }
    }

    #[test]
    fn tags_fit_their_field() {
        let tag = |v: &str, i| v.parse::<ShareRequest>().map(|s| s.tag(i));
        assert_eq!(tag("/srv:project", 3), Ok("mount_project".into()));
        assert_eq!(tag("/srv:/mnt", 3), Ok("path~3".into()));
        assert_eq!(
            tag(&format!("/srv:{}", "n".repeat(30)), 1),
            Ok(format!("mount_{}", "n".repeat(30)))
        );
        let long = format!("/srv:{}", "n".repeat(200));
        assert_eq!(tag(&long, 12), Ok(format!("mount_{}~12", "n".repeat(27))));
        assert_ne!(tag(&long, 1), tag(&long, 2));
    }

    #[test]
    fn serialised_plainly() {
        let share: ShareRequest = "/srv:project".parse().expect("a share");
        let json = r#"{"host":"/srv","target":{"named":"project"}}"#;
        assert_eq!(serde_json::to_string(&share).expect("serialises"), json);
        assert_eq!(
            serde_json::from_str::<ShareRequest>(json).expect("deserialises"),
            share
        );
    }
}
