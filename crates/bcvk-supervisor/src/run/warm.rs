//! A VM that is saved for later, or that was.

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use bcvk_contract::snapshot::is_wanted;
use bcvk_contract::spec::{CONTAINER_SNAPSHOT, Snapshot};
use bcvk_contract::status::{Phase, StatusWriter};

use super::Supervisor;
use super::start::Beginning;
use crate::Event;
use crate::prepare::{self, Prepared};
use crate::problem::Problem;
use crate::threads;
use crate::warm::{Making, Saved, Unsaved, new_state, obstacle};

/// How long QEMU may take to make its machine.
const GREETING: Duration = Duration::from_secs(20);

/// How long processes that were killed may take to go.
const GONE: Duration = Duration::from_secs(5);

/// A guest that boots, or was resumed, and is not yet the VM that it is to be.
#[derive(Debug)]
pub(super) struct Unmade {
    pub(super) making: Making,
    /// What is saved first.
    pub(super) unsaved: Option<Unsaved>,
}

impl Supervisor {
    /// Gives up the VM's snapshot if its image is in the way of that: the VM boots then as one that has
    /// none.
    pub(super) fn heed_obstacles(&mut self) -> Result<(), Problem> {
        let Some(snapshot) = self.spec.snapshot else {
            return Ok(());
        };
        // An image that cannot be read has its own error when it boots.
        let Ok(Some(why)) = obstacle(&self.spec) else {
            return Ok(());
        };
        match snapshot {
            Snapshot::ResumeOnly(_) => return Err(Problem::Resume(why.into())),
            Snapshot::Save => self.record(|status| status.cold(&why)),
            // Not because of the snapshot, which stays for others.
            Snapshot::Resume(_) => self.record(|status| {
                status.warn(format!("the VM was booted instead of resumed: {why}"))
            }),
        }
        self.spec.snapshot = None;
        Ok(())
    }

    /// Resumes the VM from its snapshot, up to the point where it is ready.
    pub(super) fn resume(&mut self) -> Result<(), Box<dyn Error>> {
        let files = self.spec.snapshot.as_ref().and_then(Snapshot::saved);
        let saved = Saved::open(files.ok_or("nobody knows its files")?)?;
        let base = self.spec.base();
        let prepared = prepare::prepare_to_resume(&base, &saved, &self.container)?;
        let beginning = Beginning::Resume(saved.state.try_clone()?);
        let memory = File::from(prepared.memory.file.try_clone()?);
        let copied = threads::spawn(move || saved.copy_memory(&memory));
        let sockets = self.start_file_servers()?;
        let agent = self.start_qemu(&base, &prepared, &sockets, &beginning)?;
        let agent = agent.ok_or("the machine has no port for its agent")?;
        copied.join().expect("no panic")?;
        let monitor = self.monitor();
        monitor
            .await_greeting(GREETING)
            .and_then(|()| monitor.restore())
            .and_then(|()| monitor.go_on())
            .map_err(|e| format!("QEMU does not take it: {e}"))?;
        let making = Making::new(self.spec.clone(), agent, prepared.identity, true);
        making
            .finish(&monitor)
            .map_err(|e| format!("the guest does not become this VM: {e}"))?;
        self.record(|status| status.enter(Phase::Qemu));
        self.record(StatusWriter::resumed);
        self.record(|status| status.enter(Phase::Ready));
        Ok(())
    }

    /// Ends what an attempt to resume has started, so that the VM can be booted instead.
    pub(super) fn give_up_resuming(&mut self, why: String) -> Result<(), Problem> {
        self.record(|status| status.cold(&why));
        self.running = None;
        let mut left = self.children.kill_all();
        // The ports that QEMU had are wanted again.
        let deadline = Instant::now() + GONE;
        let mut kept = Vec::new();
        while !left.is_empty() {
            let wait = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(wait) {
                Ok(Event::Exited { pid, .. }) => left.retain(|other| *other != pid),
                Ok(event @ (Event::Signal(_) | Event::CliGone)) => kept.push(event),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        for event in kept {
            // This is where they are read.
            let _ = self.sender.send(event);
        }
        if matches!(self.spec.snapshot, Some(Snapshot::ResumeOnly(_))) {
            return Err(Problem::Resume(why.into()));
        }
        Ok(())
    }

    /// How a VM begins that may be saved.
    pub(super) fn beginning(&self) -> io::Result<Beginning> {
        match self.spec.snapshot {
            // Not when an earlier start of this container has done it.
            Some(Snapshot::Save) if is_wanted(Path::new(CONTAINER_SNAPSHOT)) => {
                new_state().map(Beginning::BootToSave)
            }
            _ => Ok(Beginning::Boot),
        }
    }

    /// Keeps what is needed once the guest is up.
    pub(super) fn keep_unmade(
        &mut self,
        making: Making,
        prepared: &Prepared,
        beginning: &Beginning,
    ) {
        let unsaved = matches!(beginning, Beginning::BootToSave(_)).then(|| {
            let kernel = prepared.kernel.content()?;
            let bytes = self.spec.memory.bytes();
            Unsaved::new(&prepared.memory.file, bytes, &kernel)
        });
        let unsaved = match unsaved.transpose() {
            Ok(unsaved) => unsaved,
            Err(error) => {
                self.not_saved(&error);
                None
            }
        };
        self.unmade = Some(Unmade { making, unsaved });
    }

    /// The guest is up: saves it, if that is wanted, and makes it the VM that it is to be.
    pub(super) fn make(&mut self) {
        let Some(Unmade { making, unsaved }) = self.unmade.take() else {
            return;
        };
        let monitor = self.monitor();
        if let Some(unsaved) = unsaved {
            let begun = Instant::now();
            match unsaved.save(&monitor) {
                Ok(()) => tracing::info!(took = ?begun.elapsed(), "saved"),
                Err(error) => self.not_saved(&error),
            }
        }
        let events = self.sender.clone();
        threads::spawn(move || {
            let _ = events.send(Event::Made(making.finish(&monitor)));
        });
    }

    fn not_saved(&mut self, error: &io::Error) {
        tracing::info!(%error, "the VM could not be saved");
        self.record(|status| status.cold(&format!("no snapshot could be made: {error}")));
    }
}
