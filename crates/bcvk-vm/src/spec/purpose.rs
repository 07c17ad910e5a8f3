//! The one question that decides when a VM is ready and what ends it.

use super::VmSpec;

/// What a VM is for.
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

impl VmSpec {
    /// The purpose of this VM. Commands need no login, so they come first.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        match (self.execute.is_empty(), &self.ssh) {
            (false, _) => Purpose::Execute,
            (true, Some(_)) => Purpose::Login,
            (true, None) => Purpose::Boot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::example;

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
    }
}
