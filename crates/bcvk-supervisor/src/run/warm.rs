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
    CONTAINER_IMAGE, Resume, Snapshot, SnapshotImage, SnapshotStage, VmSpec,
};
use bcvk_guest::rooted::Rooted;

use super::start::Beginning;
use super::{Files, Rights, Supervisor};
use crate::Event;
use crate::container::Container;
use crate::given;
use crate::life::{LifeEvent, Looked, Saves};
use crate::prepare::{self, Prepared};
use crate::qemu::monitor::Monitor;
use crate::threads;
use crate::trace::Checked;
use crate::virtiofs::TraceOptions;
use crate::warm::{
    Origin, PATIENCE, Personalization, Saved, Unsaved, let_go_on, new_states, obstacle, read_trace,
};

/// Time for QEMU to make its machine.
const GREETING: Duration = Duration::from_secs(20);

/// A guest that boots and is not yet the VM that it is to be.
#[derive(Debug)]
pub(super) struct Pending {
    personalization: Personalization,
    /// Means of saving it, for each stage.
    unsaved: Vec<Arc<Unsaved>>,
}

impl Pending {
    fn unsaved(&self, stage: SnapshotStage) -> Option<Arc<Unsaved>> {
        let mut unsaved = self.unsaved.iter();
        unsaved.find(|it| it.stage() == stage).cloned()
    }
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
        snapshot: Saved,
        prepared: &Prepared,
        trace: Option<TraceOptions>,
    ) -> Result<Saves, Box<dyn Error>> {
        self.warn_of(prepared);
        let stage = self.spec.snapshot.as_ref().and_then(Snapshot::stage);
        let stage = stage.ok_or("nobody knows its stage")?;
        let saves = match trace {
            Some(_) => new_states(vec![SnapshotStage::Ready])?,
            None => Vec::new(),
        };
        let beginning = Beginning {
            resumes: Some((stage, snapshot.state.try_clone()?)),
            saves,
        };
        let memory = File::from(prepared.memory.file.try_clone()?);
        let copied = threads::spawn(move || snapshot.copy_memory(&memory));
        let sockets = self.start_file_servers(trace)?;
        let base = self.spec.base();
        let agent = self.start_qemu(&base, prepared, &sockets, &beginning)?;
        let agent = agent.ok_or("the machine has no port for its agent")?;
        let from = match stage {
            // It has yet to make up all that tells it from others.
            SnapshotStage::Early => Origin::Booted,
            SnapshotStage::Ready => Origin::Resumed {
                aged: mem::take(&mut self.aged),
            },
        };
        let identity = prepared.identity.clone();
        let personalization = Personalization::new(self.spec.clone(), agent, identity, from);
        let monitor = self.monitor();
        let copied = move || copied.join().expect("no panic");
        let resumed = |result: Result<(), Box<dyn Error>>| {
            Event::Done(match result {
                Ok(()) => LifeEvent::Resumed,
                Err(why) => LifeEvent::NotResumed(why.to_string()),
            })
        };
        match stage {
            SnapshotStage::Ready => {
                let known = self.known();
                self.in_background(Rights::None, move || {
                    let done = go_on(copied, &monitor);
                    resumed(done.and_then(|()| become_vm(&monitor, &personalization, known)))
                });
                Ok(Saves::default())
            }
            SnapshotStage::Early => {
                let agent = personalization.agent.try_clone()?;
                let saves = self.keep_pending(personalization, prepared, &beginning);
                self.in_background(Rights::None, move || {
                    let done = go_on(copied, &monitor);
                    resumed(done.and_then(|()| Ok(agent.is_there(PATIENCE)?)))
                });
                Ok(saves)
            }
        }
    }

    /// Keeps what is needed once the guest is up. Returns the stages at which it is saved.
    pub(super) fn keep_pending(
        &mut self,
        personalization: Personalization,
        prepared: &Prepared,
        beginning: &Beginning,
    ) -> Saves {
        let stages = beginning.saves.iter().map(|(stage, _)| *stage);
        let unsaved = stages.map(|stage| {
            let kernel = prepared.kernel.content()?;
            let bytes = self.spec.memory.bytes();
            Unsaved::new(stage, &prepared.memory.file, bytes, &kernel).map(Arc::new)
        });
        let unsaved: Vec<_> = match unsaved.collect::<io::Result<_>>() {
            Ok(unsaved) => unsaved,
            Err(error) => {
                abandon_saving();
                self.tell(LifeEvent::NotSaved(error.to_string()));
                Vec::new()
            }
        };
        let has = |stage| unsaved.iter().any(|it| it.stage() == stage);
        let saves = Saves {
            early: has(SnapshotStage::Early),
            ready: has(SnapshotStage::Ready),
        };
        self.pending = Some(Pending {
            personalization,
            unsaved,
        });
        saves
    }

    /// Saves the guest, which stands still meanwhile.
    pub(super) fn save(&self, stage: SnapshotStage) {
        let unsaved = self.pending.as_ref().and_then(|it| it.unsaved(stage));
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
                    abandon_saving_at(stage);
                    LifeEvent::NotSaved(error.to_string())
                }
            })
        });
    }

    /// Lets a guest go on whose saving takes too long.
    pub(super) fn abandon_saving(&self, stage: SnapshotStage) {
        let unsaved = self.pending.as_ref().and_then(|it| it.unsaved(stage));
        if let Some(unsaved) = unsaved
            && unsaved.claim()
        {
            abandon_saving_at(stage);
            let monitor = self.monitor();
            threads::spawn(move || {
                if let Err(error) = monitor.go_on() {
                    tracing::warn!(%error, "the guest does not go on");
                }
            });
        }
    }

    /// Lets a guest go on that waits before it mounts its image.
    pub(super) fn let_go_on(&self) {
        let agent = self
            .pending
            .as_ref()
            .map(|it| it.personalization.agent.try_clone());
        if let Some(Ok(agent)) = agent {
            threads::spawn(move || {
                if let Err(error) = let_go_on(&agent) {
                    tracing::warn!(%error, "the guest does not mount its image");
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
    SnapshotStage::ALL.into_iter().for_each(abandon_saving_at);
}

/// Says that the VM will not be saved at this stage, if that is awaited.
pub(super) fn abandon_saving_at(stage: SnapshotStage) {
    let staging = Path::new(stage.staging());
    if is_wanted(staging)
        && let Err(error) = tell(staging, Outcome::Abandoned)
    {
        tracing::warn!(%error, "nobody hears that the VM is not saved");
    }
}

/// Returns the stages at which the VM is saved when it boots, but for those at which an earlier start of
/// this container has saved it. Early on it is saved only if it is saved later too: whoever has an early
/// snapshot alone would boot for longer than necessary.
pub(super) fn saved_stages(spec: &VmSpec) -> Vec<SnapshotStage> {
    let is_wanted = |stage: SnapshotStage| is_wanted(Path::new(stage.staging()));
    let saves = spec
        .snapshot
        .is_some_and(|snapshot| snapshot.saves_a_boot());
    if !(saves && is_wanted(SnapshotStage::Ready)) {
        return Vec::new();
    }
    let stages = SnapshotStage::ALL.into_iter();
    stages.filter(|stage| is_wanted(*stage)).collect()
}

/// Describes the trace of a boot of `spec` that is saved at these stages; `None` without any.
pub(super) fn trace_options(
    spec: &VmSpec,
    saves: &[SnapshotStage],
) -> io::Result<Option<TraceOptions>> {
    let trace = |stage: &SnapshotStage| Path::new(stage.staging()).join(TRACE);
    let file = |wanted| saves.iter().find(|stage| **stage == wanted).map(trace);
    let Some(ready) = file(SnapshotStage::Ready) else {
        return Ok(None);
    };
    let root = Rooted::new(Path::new(CONTAINER_IMAGE))?;
    Ok(Some(TraceOptions {
        file: ready,
        early: file(SnapshotStage::Early),
        given: given::digest(&root, spec.arch)?,
        files: given::files(&root, spec.arch)?,
    }))
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
    let trace = read_trace(Path::new(resume.stage.snapshot()), &resume.files)?;
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
    let snapshot = Saved::open(Path::new(resume.stage.snapshot()), &resume.files)?;
    let prepared = prepare::prepare_to_resume(&spec.base(), &snapshot, container)?;
    let saves: &[_] = match resume.stage {
        SnapshotStage::Early if !saved_stages(spec).is_empty() => &[SnapshotStage::Ready],
        SnapshotStage::Early | SnapshotStage::Ready => &[],
    };
    let trace = trace_options(spec, saves)?;
    Ok(Files::Resume {
        saved: snapshot,
        prepared,
        trace,
    })
}

/// Lets a guest go on where it was saved.
fn go_on(
    copied: impl FnOnce() -> Result<(), SnapshotError>,
    monitor: &Monitor,
) -> Result<(), Box<dyn Error>> {
    copied()?;
    monitor
        .await_greeting(GREETING)
        .and_then(|()| monitor.restore())
        .and_then(|()| monitor.go_on())
        .map_err(|e| format!("QEMU does not take it: {e}"))?;
    Ok(())
}

/// Makes a guest that goes on the VM of `personalization`.
fn become_vm(
    monitor: &Monitor,
    personalization: &Personalization,
    known: impl FnOnce(),
) -> Result<(), Box<dyn Error>> {
    personalization
        .finish(monitor, known)
        .map_err(|e| format!("the guest does not become this VM: {e}"))?;
    Ok(())
}
