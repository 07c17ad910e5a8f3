//! Landlock rules for the files that a process may open, whatever its user and its capabilities.
//!
//! On a kernel without Landlock, or with an older version of it, only those restrictions hold that
//! the kernel knows; `bcvk doctor` says so.

use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, Scope,
};

/// The newest version that bcvk asks for: it keeps signals and abstract sockets within the domain.
const VERSION: ABI = ABI::V6;

/// Permission for a process below a directory, or with a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule<'a> {
    pub(super) path: &'a Path,
    pub(super) may: May,
}

/// A kind of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    /// Read files and list directories.
    Read,
    /// Also execute files.
    Execute,
    /// Read, write and control files, but neither make nor remove any.
    Use,
    /// Everything but to execute files and to make devices.
    Change,
}

/// Permission for a domain to reach the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    /// The domain may use the network as the rest of its container may.
    Container,
    /// The domain may not use TCP at all.
    None,
}

impl May {
    fn access(self) -> BitFlags<AccessFs> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        match self {
            Self::Read => read,
            Self::Execute => read | AccessFs::Execute,
            Self::Use => read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev,
            Self::Change => {
                AccessFs::from_all(VERSION)
                    & !(AccessFs::Execute
                        | AccessFs::MakeChar
                        | AccessFs::MakeBlock
                        | AccessFs::IoctlDev)
            }
        }
    }
}

/// Restricts the calling thread, and all that it starts or executes from now on, to `rules`.
///
/// # Errors
/// If a path of the rules cannot be opened, or the kernel refuses a restriction that it knows.
pub(super) fn restrict(rules: &[Rule<'_>], network: Network) -> io::Result<()> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(VERSION))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(VERSION)))
        .map_err(io::Error::other)?;
    if network == Network::None {
        let all = AccessNet::from_all(VERSION);
        ruleset = ruleset.handle_access(all).map_err(io::Error::other)?;
    }
    let mut ruleset = ruleset.create().map_err(io::Error::other)?;
    for rule in rules {
        let path = PathFd::new(rule.path).map_err(io::Error::other)?;
        ruleset = ruleset
            .add_rule(PathBeneath::new(path, rule.may.access()))
            .map_err(io::Error::other)?;
    }
    ruleset.restrict_self().map_err(io::Error::other)?;
    Ok(())
}

/// Extent to which the running kernel supports Landlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LandlockSupport {
    /// The kernel supports everything that bcvk asks for.
    Whole,
    /// The kernel confines the files that processes open, but not everything else that bcvk asks for.
    Partial,
    /// The kernel does not support Landlock, or has not turned it on.
    None,
}

/// Asks the kernel for a domain, which no process enters.
#[must_use]
pub fn landlock_support() -> LandlockSupport {
    let known = |version| {
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(version))
            .and_then(|ruleset| match Scope::from_all(version) {
                scopes if scopes.is_empty() => Ok(ruleset),
                scopes => ruleset.scope(scopes),
            })
            .and_then(Ruleset::create)
            .is_ok()
    };
    if known(VERSION) {
        LandlockSupport::Whole
    } else if known(ABI::V1) {
        LandlockSupport::Partial
    } else {
        LandlockSupport::None
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    #[test]
    fn only_what_a_rule_names_can_be_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        for name in ["read", "change", "other"] {
            fs::create_dir(at(name)).expect("made");
            fs::write(at(name).join("file"), "text").expect("written");
        }
        let (read, change, other) = (at("read"), at("change"), at("other"));
        // A thread of its own takes the restriction, since a domain holds for a thread.
        thread::spawn(move || {
            let rules = [
                Rule {
                    path: &read,
                    may: May::Read,
                },
                Rule {
                    path: &change,
                    may: May::Change,
                },
            ];
            restrict(&rules, Network::None).expect("restricted");
            fs::read(read.join("file")).expect("may be read");
            assert!(fs::write(read.join("file"), "").is_err());
            fs::write(change.join("new"), "").expect("may be made");
            fs::rename(change.join("new"), change.join("newer")).expect("may be renamed");
            assert!(fs::read(other.join("file")).is_err());
            assert!(fs::write(other.join("new"), "").is_err());
            assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err());
        })
        .join()
        .expect("no panic");
    }
}
