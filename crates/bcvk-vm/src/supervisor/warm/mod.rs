//! Saving a VM that has just become ready, and resuming one.

mod agent;
mod saved;
mod stand_in;

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

pub(super) use agent::Agent;
pub(super) use saved::{Saved, Unsaved, is_made, new_state};

use super::qemu::monitor::Monitor;
use super::qemu::plug::plug;
use crate::guest;
use crate::spec::VmSpec;
use crate::status::Timestamp;

/// How long a guest may take to become the VM that it is to be. An emulated one may have a part of a
/// processor only.
const PATIENCE: Duration = Duration::from_secs(60);

/// What turns the guest that was booted or resumed into one VM.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) spec: VmSpec,
    pub(super) agent: Agent,
    /// Whether the guest is named after its VM.
    pub(super) named: bool,
}

impl Making {
    pub(super) fn new(spec: VmSpec, agent: UnixStream, named: bool) -> Self {
        Self {
            spec,
            agent: Agent::new(agent),
            named,
        }
    }

    /// Plugs in what the VM has, and lets its agent do the rest.
    pub(super) fn finish(&self, monitor: &Monitor) -> io::Result<()> {
        plug(monitor, &self.spec)?;
        self.agent.obeys(PATIENCE, || {
            let clock = Timestamp::now().0.saturating_mul(1000);
            guest::personal(&self.spec, self.named, clock)
        })
    }
}
