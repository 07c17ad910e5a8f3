//! `wait`.

use std::str::FromStr;

use bcvk_contract::spec::Timeout;
use clap::Args;
use clap::builder::PossibleValue;

use super::common::VmRefs;
use super::words::{self, Words};

/// Wait until ephemeral VMs are ready, have stopped, or run a unit
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bcvk ephemeral wait testvm
  bcvk ephemeral wait --for stopped --timeout 1h testvm
  bcvk ephemeral wait --for unit=nginx.service testvm")]
pub(crate) struct Wait {
    #[command(flatten)]
    pub(crate) vms: VmRefs,

    /// What
    ///
    /// With `ready`, sshd answers; without SSH, the system is up.
    ///
    /// With `stopped`, the VM has ended, however it did, and podman knows, so that it can be removed
    /// or started again.
    ///
    /// With `unit=UNIT`, the VM is ready, and the systemd unit UNIT in it is active. A unit that
    /// failed, is masked, or does not exist ends the wait with an error. A service of type `oneshot`
    /// without `RemainAfterExit=` is never active. This asks over SSH.
    #[arg(
        long = "for",
        alias = "condition",
        value_name = "WHAT",
        default_value = READY,
        value_parser = words::parser::<Until>()
    )]
    pub(crate) until: Until,

    /// How long to wait at most
    ///
    /// As in 300, 90s or 1h30m. The VM runs on.
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub(crate) timeout: Timeout,
}

/// Condition that `wait` waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Until {
    /// sshd answers.
    Ready,
    /// The VM and its container have ended.
    Stopped,
    /// A unit of the guest's is active.
    Unit(String),
}

const READY: &str = "ready";
const STOPPED: &str = "stopped";
const UNIT: &str = "unit=";

impl Words for Until {
    fn words() -> Vec<PossibleValue> {
        [READY, STOPPED, UNIT].map(PossibleValue::new).into()
    }
}

/// A value of `--for` that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UntilError {
    #[error("'{0}' is nothing to wait for: give {words}", words = words::listed(&Until::words()))]
    Unknown(String),
    #[error("'{0}' is not a unit: give one name such as nginx.service")]
    Unit(String),
}

impl FromStr for Until {
    type Err = UntilError;

    fn from_str(value: &str) -> Result<Self, UntilError> {
        match value {
            READY => Ok(Self::Ready),
            // podman has both words for it.
            STOPPED | "exited" => Ok(Self::Stopped),
            _ => match value.strip_prefix(UNIT) {
                Some(unit) if is_unit(unit) => Ok(Self::Unit(unit.to_owned())),
                Some(unit) => Err(UntilError::Unit(unit.to_owned())),
                None => Err(UntilError::Unknown(value.to_owned())),
            },
        }
    }
}

/// Returns true for names in the characters of `systemd.unit(5)`, so for no pattern that could
/// stand for several units.
fn is_unit(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_wait_for() {
        let unit = |name: &str| Ok(Until::Unit(name.to_owned()));
        for (value, expected) in [
            ("ready", Ok(Until::Ready)),
            ("stopped", Ok(Until::Stopped)),
            ("exited", Ok(Until::Stopped)),
            ("unit=nginx.service", unit("nginx.service")),
            ("unit=getty@tty1", unit("getty@tty1")),
            (
                "unit=dev-disk\\x2dby.device",
                unit("dev-disk\\x2dby.device"),
            ),
            ("up", Err(UntilError::Unknown("up".into()))),
            ("unit=", Err(UntilError::Unit(String::new()))),
            ("unit=*.service", Err(UntilError::Unit("*.service".into()))),
            ("unit=a b", Err(UntilError::Unit("a b".into()))),
            ("unit=--all", Err(UntilError::Unit("--all".into()))),
        ] {
            assert_eq!(value.parse::<Until>(), expected, "{value}");
        }
    }
}
