//! Host directories that the guest is to see.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use super::SpecError;
use super::name::is_name_byte;

/// Longest virtiofs tag: the `tag` field of virtio-fs' device configuration
/// (virtio 1.2, 5.11.4: `u8 tag[36]`).
const MAX_TAG_BYTES: usize = 36;

/// Endings that `podman run --volume` takes after a container path and a colon.
const VOLUME_OPTIONS: [&str; 8] = ["ro", "rw", "z", "Z", "U", "O", "rslave", "rshared"];

/// A directory to share as the user asks for it: `HOST`, `HOST:NAME` or `HOST:/absolute/guest/path`.
///
/// HOST may contain anything, colons included: only the last colon can separate, and only if what
/// follows it looks like a NAME (`[A-Za-z0-9_.-]+`) or an absolute path. A HOST that ends so itself
/// is given its name by hand: `/srv/a:b:b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareRequest {
    /// The directory on the host, as given.
    pub host: PathBuf,
    /// Place of the share in the guest, if the user named one.
    target: Option<ShareTarget>,
}

/// Place where the guest sees a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShareTarget {
    /// At `/run/virtiofs-mnt-NAME`. NAME matches `[A-Za-z0-9_.-]+`.
    Named(String),
    /// At this absolute path.
    Path(PathBuf),
}

impl ShareRequest {
    /// Returns the place of the share in the guest. A share that was given none is named after its
    /// directory, whose path starts from `cwd` (absolute), so that `.` and `..` have names too.
    ///
    /// # Errors
    /// [`SpecError::ShareUnnamed`].
    pub fn target_in(&self, cwd: &Path) -> Result<ShareTarget, SpecError> {
        let named = || name_of(&cwd.join(&self.host)).map(ShareTarget::Named);
        self.target.clone().or_else(named).ok_or_else(|| {
            let value = self.host.display().to_string();
            SpecError::ShareUnnamed { value }
        })
    }
}

impl ShareTarget {
    /// Returns where the guest mounts the share.
    #[must_use]
    pub fn guest_path(&self) -> PathBuf {
        match self {
            Self::Named(name) => PathBuf::from(format!("/run/virtiofs-mnt-{name}")),
            Self::Path(path) => path.clone(),
        }
    }

    /// The virtiofs tag, by which the guest mounts the share; `index` is its place among the VM's
    /// shares and keeps the tags of different shares apart where the name cannot.
    ///
    /// Named shares have the tag `mount_NAME` as bcvk always had it. Names too long for a tag
    /// (over 30 bytes) are cut and end in `~INDEX`; shares at a path have `path~INDEX`. At most
    /// 36 bytes, without commas or spaces.
    #[must_use]
    pub fn tag(&self, index: usize) -> String {
        match self {
            Self::Named(name) => {
                let tag = format!("mount_{name}");
                if tag.len() <= MAX_TAG_BYTES {
                    return tag;
                }
                let suffix = format!("~{index}");
                // Names are ASCII: every byte is a character boundary.
                format!("{}{suffix}", &tag[..MAX_TAG_BYTES - suffix.len()])
            }
            Self::Path(_) => format!("path~{index}"),
        }
    }
}

impl FromStr for ShareRequest {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        let (host, target) = split(value)?;
        let request = Self {
            host: host.to_owned(),
            target,
        };
        // An absolute path has the same name wherever it is read.
        if host.is_absolute() {
            let _named = request.target_in(host)?;
        }
        Ok(request)
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
            (".", ".", "/run/virtiofs-mnt-cwd"),
            ("..", "..", "/run/virtiofs-mnt-home"),
            ("../src:code", "../src", "/run/virtiofs-mnt-code"),
            ("/srv:/mnt/data", "/srv", "/mnt/data"),
            ("/srv:/mnt//data/./", "/srv", "/mnt/data"),
            ("/:root", "/", "/run/virtiofs-mnt-root"),
            // These colons are HOST's own.
            ("/srv/a:b c", "/srv/a:b c", "/run/virtiofs-mnt-a_b_c"),
            ("/srv/a:b:b", "/srv/a:b", "/run/virtiofs-mnt-b"),
            ("/srv/10:30:/mnt", "/srv/10:30", "/mnt"),
            ("/srv:ro", "/srv", "/run/virtiofs-mnt-ro"),
        ] {
            let request: ShareRequest = value.parse().expect(value);
            let target = request.target_in(Path::new("/home/cwd")).expect(value);
            assert_eq!(request.host, Path::new(host), "{value}");
            assert_eq!(target.guest_path(), Path::new(guest), "{value}");
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
    fn a_relative_path_may_lead_to_the_root() {
        let request: ShareRequest = "../..".parse().expect("a share");
        let unnamed = SpecError::ShareUnnamed {
            value: "../..".into(),
        };
        assert_eq!(request.target_in(Path::new("/home/cwd")), Err(unnamed));
    }

    #[test]
    fn tags_fit_their_field() {
        let tag = |v: &str, i| {
            let request: ShareRequest = v.parse()?;
            request
                .target_in(Path::new("/"))
                .map(|target| target.tag(i))
        };
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
}
