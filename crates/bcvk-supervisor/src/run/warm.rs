//! A VM that is saved for later, or that was.

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bcvk_contract::snapshot::{SnapshotError, is_wanted};
use bcvk_contract::spec::{CONTAINER_SNAPSHOT, Snapshot, VmSpec};

use super::start::Beginning;
use super::{Files, Rights, Supervisor};
use crate::Event;
use crate::container::Container;
use crate::life::LifeEvent;
use crate::prepare::{self, Prepared};
use crate::qemu::monitor::Monitor;
use crate::threads;
use crate::warm::{Personalization, Saved, Unsaved, new_state, obstacle};

/// Time for QEMU to make its machine.
const GREETING: Duration = Duration::from_secs(20);

/// A guest that boots and is not yet the VM that it is to be.
#[derive(Debug)]
pub(super) struct Pending {
    personalization: Personalization,
    /// The part of it that is saved first.
    unsaved: Option<Arc<Unsaved>>,
}

impl Supervisor {
    /// Looks for obstacles to a snapshot in the VM's image. One that cannot be read has its own error
    /// when it boots.
    pub(super) fn look(&self) {
        let spec = self.spec.clone();
        self.in_background(Rights::Kept, move || {
            let obstacle = obstacle(&spec).unwrap_or_default();
            Event::Done(LifeEvent::Looked(obstacle))
        });
    }

    /// Makes the files of a guest that is resumed.
    pub(super) fn prepare_to_resume(&self) {
        let (spec, container) = (self.spec.clone(), Arc::clone(&self.container));
        self.in_background(Rights::Kept, move || match open(&spec, &container) {
            Ok(files) => Event::Files(Box::new(files)),
            Err(why) => Event::Done(LifeEvent::NotResumed(why.to_string())),
        });
    }

    /// Starts all processes of a VM that is resumed, and what resumes it.
    pub(super) fn resume(
        &mut self,
        saved: Saved,
        prepared: Prepared,
    ) -> Result<(), Box<dyn Error>> {
        self.warn_of(&prepared);
        let beginning = Beginning::Resume(saved.state.try_clone()?);
        let memory = File::from(prepared.memory.file.try_clone()?);
        let copied = threads::spawn(move || saved.copy_memory(&memory));
        let sockets = self.start_file_servers()?;
        let base = self.spec.base();
        let agent = self.start_qemu(&base, &prepared, &sockets, &beginning)?;
        let agent = agent.ok_or("the machine has no port for its agent")?;
        let personalization =
            Personalization::new(self.spec.clone(), agent, prepared.identity, true);
        let monitor = self.monitor();
        self.in_background(Rights::None, move || {
            let copied = || copied.join().expect("no panic");
            Event::Done(match go_on(copied, &monitor, &personalization) {
                Ok(()) => LifeEvent::Resumed,
                Err(why) => LifeEvent::NotResumed(why.to_string()),
            })
        });
        Ok(())
    }

    /// The start of a VM that may be saved.
    pub(super) fn beginning(&self) -> io::Result<Beginning> {
        match self.spec.snapshot {
            // Not when an earlier start of this container has done it.
            Some(Snapshot::Save) if is_wanted(Path::new(CONTAINER_SNAPSHOT)) => {
                new_state().map(Beginning::BootToSave)
            }
            _ => Ok(Beginning::Boot),
        }
    }

    /// Keeps what is needed once the guest is up. Returns true if it is then saved.
    pub(super) fn keep_pending(
        &mut self,
        personalization: Personalization,
        prepared: &Prepared,
        beginning: &Beginning,
    ) -> bool {
        let unsaved = matches!(beginning, Beginning::BootToSave(_)).then(|| {
            let kernel = prepared.kernel.content()?;
            let bytes = self.spec.memory.bytes();
            Unsaved::new(&prepared.memory.file, bytes, &kernel)
        });
        let unsaved = match unsaved.transpose() {
            Ok(unsaved) => unsaved.map(Arc::new),
            Err(error) => {
                self.tell(LifeEvent::NotSaved(error.to_string()));
                None
            }
        };
        let saves = unsaved.is_some();
        self.pending = Some(Pending {
            personalization,
            unsaved,
        });
        saves
    }

    /// Saves the guest, which stands still meanwhile.
    pub(super) fn save(&self) {
        let unsaved = self.pending.as_ref().and_then(|it| it.unsaved.clone());
        let unsaved = unsaved.expect("the VM is one that is saved");
        let monitor = self.monitor();
        self.in_background(Rights::None, move || {
            let begun = Instant::now();
            Event::Done(match unsaved.save(&monitor) {
                Ok(()) => {
                    tracing::info!(took = ?begun.elapsed(), "saved");
                    LifeEvent::Saved
                }
                Err(error) => LifeEvent::NotSaved(error.to_string()),
            })
        });
    }

    /// Lets a guest go on whose saving takes too long.
    pub(super) fn abandon_saving(&self) {
        let unsaved = self.pending.as_ref().and_then(|it| it.unsaved.clone());
        if let Some(unsaved) = unsaved
            && unsaved.claim()
        {
            let monitor = self.monitor();
            threads::spawn(move || {
                if let Err(error) = monitor.go_on() {
                    tracing::warn!(%error, "the guest does not go on");
                }
            });
        }
    }

    /// Makes the guest the VM that it is to be.
    pub(super) fn personalize(&mut self) {
        let pending = self.pending.take();
        let Pending {
            personalization, ..
        } = pending.expect("the guest becomes its VM once");
        let monitor = self.monitor();
        self.in_background(Rights::None, move || {
            Event::Done(match personalization.finish(&monitor) {
                Ok(()) => LifeEvent::Personalized,
                Err(error) => LifeEvent::NotPersonalized(error.to_string()),
            })
        });
    }

    fn tell(&self, event: LifeEvent) {
        // This is where it is read.
        let _ = self.sender.send(Event::Done(event));
    }
}

/// Opens the snapshot of a VM and makes what QEMU needs.
fn open(spec: &VmSpec, container: &Container) -> Result<Files, Box<dyn Error>> {
    let files = spec.snapshot.as_ref().and_then(Snapshot::saved);
    let files = files.ok_or("nobody knows its files")?;
    let saved = Saved::open(Path::new(CONTAINER_SNAPSHOT), files)?;
    let prepared = prepare::prepare_to_resume(&spec.base(), &saved, container)?;
    Ok(Files::Resume { saved, prepared })
}

/// Lets a guest go on where it was saved, as the VM of `personalization`.
fn go_on(
    copied: impl FnOnce() -> Result<(), SnapshotError>,
    monitor: &Monitor,
    personalization: &Personalization,
) -> Result<(), Box<dyn Error>> {
    copied()?;
    monitor
        .await_greeting(GREETING)
        .and_then(|()| monitor.restore())
        .and_then(|()| monitor.go_on())
        .map_err(|e| format!("QEMU does not take it: {e}"))?;
    personalization
        .finish(monitor)
        .map_err(|e| format!("the guest does not become this VM: {e}"))?;
    Ok(())
}
