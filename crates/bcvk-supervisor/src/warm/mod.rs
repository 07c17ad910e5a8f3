//! Saving a VM that has just become ready, and resuming one.

pub(super) mod agent;
mod obstacle;
mod saved;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

pub(super) use agent::Agent;
pub(super) use obstacle::obstacle;
pub(super) use saved::{Saved, Unsaved, new_states, read_trace};

use super::qemu::monitor::Monitor;
use super::qemu::plug::plug;
use bcvk_contract::key_pair::KeyPair;
use bcvk_contract::spec::{MachineId, VmSpec};
use bcvk_contract::status::Timestamp;
use bcvk_guest::OpenIdentity;
use bcvk_guest::agent::Renewal;

/// How long a guest may take to answer, or to become the VM that it is to be. An emulated one may have a part of a
/// processor only.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Steps that turn the guest that was booted or resumed into one VM.
#[derive(Debug)]
pub(super) struct Personalization {
    pub(super) spec: VmSpec,
    pub(super) agent: Agent,
    /// The identities that the guest gets from this VM.
    identity: OpenIdentity,
    from: Origin,
}

/// Origin of a guest.
#[derive(Debug)]
pub(super) enum Origin {
    /// It has booted.
    Booted,
    /// It was resumed, as others may be from the same snapshot.
    Resumed {
        /// Directories that it remembers from another image, relative to the root.
        aged: Vec<PathBuf>,
    },
}

impl Personalization {
    pub(super) fn new(
        spec: VmSpec,
        agent: UnixStream,
        identity: OpenIdentity,
        from: Origin,
    ) -> Self {
        Self {
            spec,
            agent: Agent::new(agent),
            identity,
            from,
        }
    }

    /// Plugs in what the VM has, and lets its agent do the rest. `known` is called once the guest has its
    /// names and keys.
    pub(super) fn finish(&self, monitor: &Monitor, known: impl FnOnce()) -> io::Result<()> {
        plug(monitor, &self.spec)?;
        // The guest that was saved keeps the ID it has made up: those resumed from it get others.
        let (resumed, aged) = match &self.from {
            Origin::Booted => (false, [].as_slice()),
            Origin::Resumed { aged } => (true, aged.as_slice()),
        };
        let machine_id = match &self.spec.machine_id {
            None if resumed && self.identity.machine_id => Some(MachineId::random(random()?)),
            given => given.clone(),
        };
        let entropy = random()?;
        let personal = || {
            let clock = Timestamp::now().0.saturating_mul(1000);
            let personal =
                bcvk_guest::personal(&self.spec, &self.identity, machine_id, &entropy, clock);
            bcvk_guest::agent::Personal {
                aged: aged.to_vec(),
                ..personal
            }
        };
        self.agent.obeys(PATIENCE, personal, known)
    }
}

/// Lets a guest go on that waits before it mounts its image. Others may be resumed from the same
/// snapshot: it gets a clock and randomness of its own before its system makes any use of them.
pub(super) fn let_go_on(agent: &Agent) -> io::Result<()> {
    let entropy: [u8; 64] = random()?;
    let clock = Timestamp::now().0.saturating_mul(1000);
    agent.lets_go_on(PATIENCE, &Renewal::new(clock, &entropy))
}

/// The VM that is saved and resumed. Its sshd needs some host key to start; it is replaced in every
/// VM, so that nobody ever uses this one.
pub(super) fn base(spec: &VmSpec) -> io::Result<VmSpec> {
    let key = KeyPair::generate("saved VM").map_err(io::Error::other)?;
    Ok(VmSpec {
        host_key: key.private().to_owned(),
        ..spec.base()
    })
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut random = [0; N];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(random)
}
