//! Commands that are run on a host, and what is expected of each.

use std::fmt;

/// A command line on a host.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Whoever runs it.
    pub(super) who: Who,
    /// Name in the table.
    pub(super) what: String,
    /// Event of the host before it.
    pub(super) after: Option<Event>,
    /// Shell script; `IMAGE` is the image that is booted.
    pub(super) script: String,
    /// Exit code that is expected.
    pub(super) code: i32,
    /// Texts of which each is expected on standard output.
    pub(super) stdout: Vec<&'static str>,
    /// Text that is expected on standard error.
    pub(super) stderr: &'static str,
}

/// Way to be somebody on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// A user with a login session.
    Session,
    /// The same user without one, by `sudo -u`.
    Sudo,
    /// Root, by a login session.
    Root,
    /// Root, in a service of systemd's, without a terminal.
    Service,
}

/// Event that a host does not survive as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The host stands still for a minute, as if suspended.
    Suspend,
    /// The host boots again. Caches survive, and nothing else.
    Reboot,
}

impl Who {
    /// Returns true for root, who has other images than the user.
    pub(super) fn is_root(self) -> bool {
        matches!(self, Self::Root | Self::Service)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "user, login session",
            Self::Sudo => "user, sudo -u",
            Self::Root => "root, login session",
            Self::Service => "root, systemd service",
        })
    }
}

impl Case {
    /// Returns a case that succeeds.
    pub(super) fn new(who: Who, what: impl Into<String>, script: impl Into<String>) -> Self {
        Self {
            who,
            what: what.into(),
            after: None,
            script: script.into(),
            code: 0,
            stdout: Vec::new(),
            stderr: "",
        }
    }

    /// Returns true if a snapshot is needed.
    pub(super) fn resumes(&self) -> bool {
        self.script.contains("--warm require")
    }

    /// Returns a case that succeeds and prints `texts`.
    pub(super) fn printing(
        who: Who,
        what: impl Into<String>,
        script: impl Into<String>,
        texts: &[&'static str],
    ) -> Self {
        Self {
            stdout: texts.to_vec(),
            ..Self::new(who, what, script)
        }
    }

    /// Returns a case that is refused with `stderr`.
    pub(super) fn refused(
        who: Who,
        what: impl Into<String>,
        script: impl Into<String>,
        stderr: &'static str,
    ) -> Self {
        Self {
            code: 125,
            stderr,
            ..Self::new(who, what, script)
        }
    }
}
