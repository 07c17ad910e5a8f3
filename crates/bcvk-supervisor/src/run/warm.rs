//! A VM that is saved for later, or that was.

use std::error::Error;
use std::fs::File;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bcvk_contract::snapshot::{Outcome, SnapshotError, TRACE, is_wanted, tell};
use bcvk_contract::spec::{
    CONTAINER_IMAGE, CONTAINER_SNAPSHOT, CONTAINER_STAGING, Resume, Snapshot, SnapshotImage, VmSpec,
};
use bcvk_guest::rooted::Rooted;

use super::start::Beginning;
use super::{Files, Rights, Supervisor};
use crate::Event;
use crate::container::Container;
use crate::given;
use crate::life::{LifeEvent, Looked};
use crate::prepare::{self, Prepared};
use crate::qemu::monitor::Monitor;
use crate::threads;
use crate::trace::Checked;
use crate::virtiofs::TraceOptions;
use crate::warm::{Origin, Personalization, Saved, Unsaved, obstacle, read_trace};

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
    /// Looks for obstacles to a snapshot in the VM's image, and for differences from the image of the
    /// one that it is to be resumed from.
    pub(super) fn look(&self) {
        let spec = self.spec.clone();
        self.in_background(Rights::Kept, move || {
            let (looked, aged) = look(&spec);
            Event::Looked { looked, aged }
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
        let sockets = self.start_file_servers(None)?;
        let base = self.spec.base();
        let agent = self.start_qemu(&base, &prepared, &sockets, &beginning)?;
        let agent = agent.ok_or("the machine has no port for its agent")?;
        let from = Origin::Resumed {
            aged: mem::take(&mut self.aged),
        };
        let personalization =
            Personalization::new(self.spec.clone(), agent, prepared.identity, from);
        let (monitor, known) = (self.monitor(), self.known());
        self.in_background(Rights::None, move || {
            let copied = || copied.join().expect("no panic");
            Event::Done(match go_on(copied, &monitor, &personalization, known) {
                Ok(()) => LifeEvent::Resumed,
                Err(why) => LifeEvent::NotResumed(why.to_string()),
            })
        });
        Ok(())
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
                abandon_saving();
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
                Err(error) => {
                    abandon_saving();
                    LifeEvent::NotSaved(error.to_string())
                }
            })
        });
    }

    /// Lets a guest go on whose saving takes too long.
    pub(super) fn abandon_saving(&self) {
        let unsaved = self.pending.as_ref().and_then(|it| it.unsaved.clone());
        if let Some(unsaved) = unsaved
            && unsaved.claim()
        {
            abandon_saving();
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
        let (monitor, known) = (self.monitor(), self.known());
        self.in_background(Rights::None, move || {
            Event::Done(match personalization.finish(&monitor, known) {
                Ok(()) => LifeEvent::Personalized,
                Err(error) => LifeEvent::NotPersonalized(error.to_string()),
            })
        });
    }

    /// Returns what to call once the guest has its names and keys.
    fn known(&self) -> impl FnOnce() + use<> {
        let sender = self.sender.clone();
        let qemu = self.running().qemu;
        move || {
            // Nobody listens any more when the VM has ended.
            let _ = sender.send(Event::Known { qemu });
        }
    }

    fn tell(&self, event: LifeEvent) {
        // This is where it is read.
        let _ = self.sender.send(Event::Done(event));
    }
}

/// Says that the VM will not be saved, if that is awaited.
pub(super) fn abandon_saving() {
    let staging = Path::new(CONTAINER_STAGING);
    if is_wanted(staging)
        && let Err(error) = tell(staging, Outcome::Abandoned)
    {
        tracing::warn!(%error, "nobody hears that the VM is not saved");
    }
}

/// Returns true if the VM is saved when it boots, unless an earlier start of this container has done it.
pub(super) fn is_saved(spec: &VmSpec) -> bool {
    let saves = spec
        .snapshot
        .is_some_and(|snapshot| snapshot.saves_a_boot());
    saves && is_wanted(Path::new(CONTAINER_STAGING))
}

/// Describes the trace of a boot of `spec`.
pub(super) fn trace_options(spec: &VmSpec) -> io::Result<TraceOptions> {
    let root = Rooted::new(Path::new(CONTAINER_IMAGE))?;
    Ok(TraceOptions {
        file: Path::new(CONTAINER_STAGING).join(TRACE),
        given: given::digest(&root, spec.arch)?,
        files: given::files(&root, spec.arch)?,
    })
}

/// Looks at the image before its VM starts. One that cannot be read has its own error when it boots.
/// Returns also the directories that a resumed guest would remember otherwise.
fn look(spec: &VmSpec) -> (Looked, Vec<PathBuf>) {
    if let Some(why) = obstacle(spec).unwrap_or_default() {
        return (Looked::Obstacle(why), Vec::new());
    }
    let resume = spec.snapshot.as_ref().and_then(Snapshot::resume);
    let Some(resume) = resume.filter(|resume| resume.of == SnapshotImage::Other) else {
        return (Looked::Fit, Vec::new());
    };
    let begun = Instant::now();
    let checked = check(spec, resume);
    tracing::info!(took = ?begun.elapsed(), "the image was compared with that of the snapshot");
    match checked {
        Ok(Checked::Same { aged }) => (Looked::Fit, aged),
        Ok(Checked::Differs(what)) => (Looked::Differs(what), Vec::new()),
        Err(error) => (Looked::Differs(format!("its trace: {error}")), Vec::new()),
    }
}

/// Compares the VM's image with all that the boot of the snapshot has looked at.
fn check(spec: &VmSpec, resume: &Resume) -> io::Result<Checked> {
    let image = Path::new(CONTAINER_IMAGE);
    let trace = read_trace(Path::new(CONTAINER_SNAPSHOT), &resume.files)?;
    let checked = trace.check(image)?;
    let given = given::digest(&Rooted::new(image)?, spec.arch)?;
    Ok(match checked {
        Checked::Same { .. } if given != trace.given => {
            Checked::Differs("what the image says of itself".to_owned())
        }
        checked => checked,
    })
}

/// Opens the snapshot of a VM and makes what QEMU needs.
fn open(spec: &VmSpec, container: &Container) -> Result<Files, Box<dyn Error>> {
    let resume = spec.snapshot.as_ref().and_then(Snapshot::resume);
    let resume = resume.ok_or("nobody knows its files")?;
    let saved = Saved::open(Path::new(CONTAINER_SNAPSHOT), &resume.files)?;
    let prepared = prepare::prepare_to_resume(&spec.base(), &saved, container)?;
    Ok(Files::Resume { saved, prepared })
}

/// Lets a guest go on where it was saved, as the VM of `personalization`.
fn go_on(
    copied: impl FnOnce() -> Result<(), SnapshotError>,
    monitor: &Monitor,
    personalization: &Personalization,
    known: impl FnOnce(),
) -> Result<(), Box<dyn Error>> {
    copied()?;
    monitor
        .await_greeting(GREETING)
        .and_then(|()| monitor.restore())
        .and_then(|()| monitor.go_on())
        .map_err(|e| format!("QEMU does not take it: {e}"))?;
    personalization
        .finish(monitor, known)
        .map_err(|e| format!("the guest does not become this VM: {e}"))?;
    Ok(())
}
