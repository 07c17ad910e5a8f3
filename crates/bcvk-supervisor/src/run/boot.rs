//! The files of a guest, and the start of one that boots.

use std::sync::Arc;

use super::start::Beginning;
use super::warm::{saved_stages, trace_options};
use super::{Rights, Supervisor};
use crate::Event;
use crate::life::{LifeEvent, Saves, Start};
use crate::prepare::{self, Prepared};
use crate::problem::Problem;
use crate::virtiofs::TraceOptions;
use crate::warm::{Origin, Personalization, Saved, base, new_states};
use bcvk_contract::spec::{SnapshotStage, VmSpec};

/// The files that QEMU starts with.
#[derive(Debug)]
pub(crate) enum Files {
    /// Of a guest that boots as this VM, or as the one that is saved.
    Boot {
        spec: VmSpec,
        prepared: Prepared,
        /// The trace that is made of a guest which is to be saved.
        trace: Option<TraceOptions>,
    },
    /// Of a guest that is resumed.
    Resume {
        saved: Saved,
        prepared: Prepared,
        /// The trace that is made of a guest which is to be saved.
        trace: Option<TraceOptions>,
    },
}

impl Supervisor {
    /// Makes the files of a guest that boots.
    pub(super) fn prepare(&self) {
        let (spec, container) = (self.spec.clone(), Arc::clone(&self.container));
        self.in_background(Rights::Kept, move || {
            let spec = match spec.snapshot {
                Some(_) => base(&spec).map_err(Problem::StartQemu),
                None => Ok(spec),
            };
            let files = spec.and_then(|spec| {
                let saves = saved_stages(&spec);
                let waits = saves.contains(&SnapshotStage::Early);
                let prepared = prepare::prepare(&spec, waits, &container)?;
                let trace = trace_options(&spec, &saves);
                Ok(Files::Boot {
                    spec,
                    prepared,
                    trace: trace.map_err(Problem::LookIntoImage)?,
                })
            });
            match files {
                Ok(files) => Event::Files(Box::new(files)),
                Err(problem) => Event::Done(LifeEvent::CannotBoot(problem)),
            }
        });
    }

    /// Starts all processes of a guest whose files have been made.
    pub(super) fn start_all(&mut self, start: Start) -> LifeEvent {
        // These units failed in a guest that could not be resumed.
        self.failed_units.clear();
        match (start, self.files.take()) {
            (
                Start::Boot,
                Some(Files::Boot {
                    spec,
                    prepared,
                    trace,
                }),
            ) => self
                .boot(&spec, &prepared, trace)
                .unwrap_or_else(LifeEvent::CannotBoot),
            (
                Start::Resume,
                Some(Files::Resume {
                    saved,
                    prepared,
                    trace,
                }),
            ) => match self.resume(saved, &prepared, trace) {
                Ok(saves) => LifeEvent::Started { saves },
                Err(why) => LifeEvent::NotResumed(why.to_string()),
            },
            (start, files) => unreachable!("{start:?} with {files:?}"),
        }
    }

    /// Records what the user should know of the image. Another attempt to start it says the same.
    pub(super) fn warn_of(&mut self, prepared: &Prepared) {
        for warning in &prepared.warnings {
            self.record(|status| status.warn(warning.clone()));
        }
    }

    /// Starts all processes of a guest that boots.
    fn boot(
        &mut self,
        spec: &VmSpec,
        prepared: &Prepared,
        trace: Option<TraceOptions>,
    ) -> Result<LifeEvent, Problem> {
        self.warn_of(prepared);
        let stages = trace.as_ref().map(|_| saved_stages(spec));
        let beginning = Beginning {
            resumes: None,
            saves: new_states(stages.unwrap_or_default()).map_err(Problem::StartQemu)?,
        };
        let sockets = self
            .start_file_servers(trace)
            .map_err(Problem::StartFileServers)?;
        let agent = self
            .start_qemu(spec, prepared, &sockets, &beginning)
            .map_err(Problem::StartQemu)?;
        let saves = match agent {
            None => Saves::default(),
            Some(agent) => {
                let identity = prepared.identity.clone();
                let personalization =
                    Personalization::new(self.spec.clone(), agent, identity, Origin::Booted);
                self.keep_pending(personalization, prepared, &beginning)
            }
        };
        Ok(LifeEvent::Started { saves })
    }
}
