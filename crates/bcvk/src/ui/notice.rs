//! Notices that a user gets without having asked: everything but errors, progress, and what the
//! library says of the host and the guest.

use std::fmt;

use bcvk_contract::spec::Timeout;
use bcvk_contract::status::Held;

/// One notice.
#[derive(Debug)]
pub(crate) enum Notice<'a> {
    /// A VM that `run` stays with is ready; `ssh` is its name, if one can log in.
    Ready { ssh: Option<&'a str> },
    /// `run` was interrupted, and its VM has powered off.
    ShutDown,
    /// ssh lost its connection, because the VM has powered off.
    ShutDownBySession,
    /// The VM has ended its sessions, for this.
    SessionEnded { name: String, held: Held },
    /// A VM stays because something has failed.
    Kept { name: &'a str, runs: bool },
    /// There is nothing for `rm-all` to do.
    NoVmToRemove,
    /// This many snapshots were removed.
    SnapshotsRemoved(usize),
    /// The image does not have the label of those that boot.
    NotBootable { image: &'a str },
    /// An image store is shared. overlayfs marks directories that a layer replaces by an attribute
    /// `trusted.…`, and to read that the file server would need `CAP_SYS_ADMIN`.
    ReplacedDirectories,
    /// The container's loopback, where the way to sshd begins, is the host's.
    OpenToHost,
    /// PAM takes what follows a '#' in `/etc/environment` for a comment (`pam_env(8)`).
    CutVariable { name: &'a str },
    /// `check` waits, and nothing is seen of it.
    Settling { limit: Timeout },
    /// A pattern of `--allow` is for nothing that `check` has found.
    UnusedAllow { pattern: &'a str },
    /// A variable looks as if it stood for an option; `near` is one that does, and may be meant.
    UnknownVariable {
        variable: &'a str,
        near: Option<&'a str>,
    },
}

impl fmt::Display for Notice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { ssh: None } => write!(f, "ready; Ctrl-C shuts down"),
            Self::Ready { ssh: Some(name) } => write!(
                f,
                "ready; `bcvk ephemeral ssh {name}` logs in, Ctrl-C shuts down"
            ),
            Self::ShutDown => write!(f, "shut down"),
            Self::ShutDownBySession => write!(f, "the VM has shut down"),
            Self::SessionEnded {
                name,
                held: Held::Reset(to),
            } => write!(f, "VM {name} was reset to {to}, which ends its sessions"),
            Self::SessionEnded {
                name,
                held: Held::Checkpoint(checkpoint),
            } => write!(
                f,
                "VM {name} was saved as {checkpoint}, which ends its sessions"
            ),
            Self::Kept { name, runs: true } => write!(
                f,
                "VM {name} is kept; `bcvk ephemeral ssh {name}` enters it, \
                 `bcvk ephemeral rm -f {name}` removes it"
            ),
            Self::Kept { name, runs: false } => write!(
                f,
                "VM {name} has ended and is kept; `bcvk ephemeral logs --console {name}` shows its \
                 boot, `bcvk ephemeral rm -f {name}` removes it"
            ),
            Self::NoVmToRemove => write!(f, "there is no VM to remove"),
            Self::SnapshotsRemoved(1) => write!(f, "1 snapshot removed"),
            Self::SnapshotsRemoved(count) => write!(f, "{count} snapshots removed"),
            Self::NotBootable { image } => write!(
                f,
                "image {image} does not say that it is bootable (label containers.bootc)"
            ),
            Self::ReplacedDirectories => write!(
                f,
                "where a layer of a host image replaces a whole directory, podman in the VM also sees what earlier \
                 layers had there"
            ),
            Self::OpenToHost => write!(
                f,
                "with --network host, every user of this host can connect to the VM's sshd, though not log in"
            ),
            Self::CutVariable { name } => write!(
                f,
                "sessions see {name} only up to its '#', which begins a comment in /etc/environment; services see \
                 all of it"
            ),
            Self::Settling { limit } => {
                write!(
                    f,
                    "waiting until the system has settled, for {limit} at most"
                )
            }
            Self::UnusedAllow { pattern } => {
                write!(f, "--allow {pattern} matched nothing, and may be left out")
            }
            Self::UnknownVariable { variable, near } => {
                write!(f, "{variable} in the environment stands for no option")?;
                match near {
                    Some(near) => write!(f, "; {near} does"),
                    None => write!(f, "; `man bcvk-config` lists those that do"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notice() {
        let name = "web";
        let every = [
            Notice::Ready { ssh: Some(name) },
            Notice::Ready { ssh: None },
            Notice::ShutDown,
            Notice::ShutDownBySession,
            Notice::NoVmToRemove,
            Notice::SessionEnded {
                name: "testvm".to_owned(),
                held: Held::Reset("clean".parse().expect("a name")),
            },
            Notice::SessionEnded {
                name: "testvm".to_owned(),
                held: Held::Checkpoint("clean".parse().expect("a name")),
            },
            Notice::Kept {
                name: "testvm",
                runs: true,
            },
            Notice::Kept {
                name: "testvm",
                runs: false,
            },
            Notice::SnapshotsRemoved(0),
            Notice::SnapshotsRemoved(1),
            Notice::NotBootable {
                image: "quay.io/me/app",
            },
            Notice::ReplacedDirectories,
            Notice::OpenToHost,
            Notice::CutVariable { name: "COLOR" },
            Notice::Settling {
                limit: Timeout::from_secs(120),
            },
            Notice::UnusedAllow {
                pattern: "old.service",
            },
            Notice::UnknownVariable {
                variable: "BCVK_MEMROY",
                near: Some("BCVK_MEMORY"),
            },
            Notice::UnknownVariable {
                variable: "BCVK_RM",
                near: None,
            },
        ];
        let text = every.map(|notice| format!("bcvk: {notice}\n")).concat();
        insta::assert_snapshot!(text);
    }
}
