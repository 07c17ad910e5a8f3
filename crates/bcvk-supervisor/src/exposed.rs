//! Ports of the container that lead to those on which the guest listens.
//!
//! The guest says which; it is not trusted. All that it can bring about is that its own QEMU, in its own
//! container, listens on a bounded number of ports, so many times a second at most.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use bcvk_contract::listening::{Listening, Port};
use bcvk_contract::spec::{Expose, VmSpec};

use crate::qemu::monitor::Monitor;
use crate::threads;

/// Pause between two changes.
const PAUSE: Duration = Duration::from_millis(200);

/// The last word of the guest, for whoever opens and closes the ports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exposed(Arc<Newest>);

#[derive(Debug, Default)]
struct Newest {
    ports: Mutex<Option<Listening>>,
    said: Condvar,
}

impl Exposed {
    /// Replaces what the guest has said before: only the last word counts, so a guest fills no queue.
    pub(crate) fn say(&self, ports: Listening) {
        *self.0.ports.lock().unwrap_or_else(PoisonError::into_inner) = Some(ports);
        self.0.said.notify_one();
    }

    /// Waits for a word of the guest.
    fn next(&self) -> Listening {
        let mut ports = self.0.ports.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(ports) = ports.take() {
                return ports;
            }
            let waited = self.0.said.wait(ports);
            ports = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Opens and closes ports of the container of `spec` from now on. Those that are published lead to the
    /// guest anyway.
    pub(crate) fn follow(&self, spec: &VmSpec, monitor: Monitor) {
        match spec.expose {
            Expose::All => {}
            Expose::None => return,
        }
        let published: BTreeSet<Port> = spec
            .ports
            .iter()
            .map(|port| (port.protocol, port.container))
            .collect();
        let exposed = self.clone();
        threads::spawn(move || {
            let mut open = BTreeSet::new();
            loop {
                let wanted = exposed.next();
                let wanted = wanted.ports().difference(&published).copied().collect();
                open = change(&monitor, &open, &wanted);
                thread::sleep(PAUSE);
            }
        });
    }
}

/// Closes and opens ports until the `wanted` ones are open, of which `open` are; returns those that are.
fn change(monitor: &Monitor, open: &BTreeSet<Port>, wanted: &BTreeSet<Port>) -> BTreeSet<Port> {
    let told = |verb: &str, port: &Port, result: io::Result<()>| match result {
        Ok(()) => true,
        Err(error) => {
            let (protocol, number) = port;
            tracing::info!(%error, "{protocol} port {number} of the guest is not {verb}");
            false
        }
    };
    for port in open.difference(wanted) {
        told("closed", port, monitor.close_port(*port));
    }
    // One that somebody else in the container has is tried again when the guest speaks again.
    let opened = wanted
        .iter()
        .filter(|port| open.contains(port) || told("opened", port, monitor.open_port(**port)));
    opened.copied().collect()
}
