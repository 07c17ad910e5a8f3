//! The one question that decides when a VM is ready and what ends it.

use super::VmSpec;

/// Purpose of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Sessions over SSH: ready once sshd answers, and runs until it is stopped or powers off.
    Login,
    /// The image's own services: ready once the system is up, and runs until it is stopped or powers
    /// off.
    Boot,
    /// Commands: ready once they can start, and powered off when they have ended.
    Execute,
}

impl Purpose {
    /// The purpose of a VM with these commands that lets its user in, or does not. Commands need no
    /// login, so they come first.
    #[must_use]
    pub const fn of(execute: &[String], ssh: bool) -> Self {
        match (execute.is_empty(), ssh) {
            (false, _) => Self::Execute,
            (true, true) => Self::Login,
            (true, false) => Self::Boot,
        }
    }

    /// Returns true if the VM is there for its commands.
    #[must_use]
    pub const fn executes(self) -> bool {
        match self {
            Self::Execute => true,
            Self::Login | Self::Boot => false,
        }
    }
}

impl VmSpec {
    /// The purpose of this VM.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        Purpose::of(self.execute.as_slice(), self.ssh.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::example;

    #[test]
    fn commands_come_before_sessions() {
        let purpose = |execute: &[&str], ssh: bool| {
            let mut spec = example();
            spec.execute = execute.iter().map(ToString::to_string).collect();
            spec.ssh = spec.ssh.filter(|_| ssh);
            spec.purpose()
        };
        assert_eq!(purpose(&["true"], true), Purpose::Execute);
        assert_eq!(purpose(&["true"], false), Purpose::Execute);
        assert_eq!(purpose(&[], true), Purpose::Login);
        assert_eq!(purpose(&[], false), Purpose::Boot);
        assert!(Purpose::Execute.executes());
        assert!(!Purpose::Login.executes() && !Purpose::Boot.executes());
    }
}
