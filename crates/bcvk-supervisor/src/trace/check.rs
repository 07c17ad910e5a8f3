//! Comparison of a trace with another image.

use std::io;
use std::path::{Path, PathBuf};

use super::found::{Attributes, Found, attributes, find};
use super::{Trace, shown};

/// Directory whose time of change systemd looks at (`ConditionNeedsUpdate=` in systemd.unit(5)).
const STAMP: &str = "usr";

/// Files that a build leaves with a new time of change whatever it does: buildah mounts its own over
/// them for each `RUN` (buildah's `run_linux.go`).
const TOUCHED: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// Result of a comparison.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// A boot of this image would have found the same.
    Same {
        /// Files and directories of which only the time of change or what depends on it differs, where
        /// that does not matter to a boot. A resumed guest remembers what they were like.
        aged: Vec<PathBuf>,
    },
    /// It would not have.
    Differs(String),
}

/// Result of the comparison of one name.
#[derive(Debug, PartialEq, Eq)]
enum One {
    Same,
    Aged,
    Differs(&'static str),
}

impl Trace {
    /// Compares what was found with what is in the image at `root`.
    ///
    /// # Errors
    /// If the image cannot be read.
    pub(crate) fn check(&self, root: &Path) -> io::Result<Checked> {
        let mut aged = Vec::new();
        for (number, look) in self.looks.iter().enumerate() {
            let path = self.path(number);
            let one = match &look.found {
                Some(found) => found.check(root, &path)?,
                None => match attributes(root, &path)? {
                    Some(_) => One::Differs("is new"),
                    None => One::Same,
                },
            };
            match one {
                One::Same => {}
                One::Aged => aged.push(path),
                One::Differs(how) => {
                    return Ok(Checked::Differs(format!("{} {how}", shown(&path))));
                }
            }
        }
        Ok(Checked::Same { aged })
    }
}

impl Found {
    fn check(&self, root: &Path, path: &Path) -> io::Result<One> {
        let Some(now) = attributes(root, path)? else {
            return Ok(One::Differs("is not there any more"));
        };
        if let Some(how) = self.difference(&now, path) {
            return Ok(One::Differs(how));
        }
        if self.attributes.is_unchanged(&now) {
            return Ok(One::Same);
        }
        let questions = self.questions();
        if questions.content || questions.xattr_names || !questions.xattrs.is_empty() {
            let now = find(root, path, &questions)?;
            let now = now.ok_or(io::ErrorKind::NotFound)?;
            if now.content != self.content {
                return Ok(One::Differs(if self.is_dir() {
                    "has other names in it"
                } else {
                    "has another content"
                }));
            }
            if now.xattrs != self.xattrs || now.xattr_names != self.xattr_names {
                return Ok(One::Differs("has other extended attributes"));
            }
        }
        Ok(if self.has_aged(&now) {
            One::Aged
        } else {
            One::Same
        })
    }

    /// Returns true if the guest remembers attributes that are not those of now.
    fn has_aged(&self, now: &Attributes) -> bool {
        let seen = |it: &Attributes| (it.size, it.links, it.modified, it.changed);
        let then = &self.attributes;
        if self.is_dir() {
            seen(then) != seen(now)
        } else {
            // The time at which a layer was unpacked is nothing that a guest asks for.
            then.modified != now.modified
        }
    }

    /// Returns how the attributes differ that a boot may have looked at. A directory's time of change is
    /// not one of them: it tells of names, and those count if they were listed. Services that remember
    /// it, as systemd and udev do, look at it again and then read the directory anew.
    fn difference(&self, now: &Attributes, path: &Path) -> Option<&'static str> {
        let then = &self.attributes;
        if then.mode != now.mode || then.owner != now.owner || then.device != now.device {
            return Some("has another type, owner or mode");
        }
        if !self.is_dir() && (then.size != now.size || then.links != now.links) {
            return Some("has another size or number of links");
        }
        let touched = || TOUCHED.iter().any(|name| path == Path::new(name));
        let timed = path == Path::new(STAMP) || !(self.is_dir() || touched());
        (timed && then.modified != now.modified).then_some("has another time of change")
    }
}

impl Attributes {
    /// Returns true if this is the same file, of which nothing has changed since. The inodes of
    /// overlayfs are those of the layers' files, but for directories.
    ///
    /// A file whose content and status have changed at one time need not be: a layer that is a file
    /// system made of the image (composefs) has no times of its own, and may number another file alike.
    fn is_unchanged(&self, now: &Self) -> bool {
        !self.is_dir() && self == now && self.changed != self.modified
    }
}
