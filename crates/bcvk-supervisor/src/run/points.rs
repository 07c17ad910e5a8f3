//! Requests for checkpoints, from the user's wish to its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bcvk_contract::checkpoint::{Answer, MAX_CHECKPOINTS, Refusal, Request};
use bcvk_contract::spec::{Login, Purpose, VmName, VmSpec};
use bcvk_contract::status::{Checkpoint, Held, Timestamp, printable};

use super::{Rights, Supervisor};
use crate::Event;
use crate::life::LifeEvent;
use crate::points::requests::Asked;
use crate::points::{Failed, Machine, Saved};

/// The checkpoints of one VM, the newest last.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    all: Vec<(Checkpoint, Arc<Saved>)>,
    /// Number of checkpoints that were begun; each has a tag of its own.
    begun: u64,
}

/// A request that is to be carried out once the VM can be held.
#[derive(Debug)]
pub(super) struct Wanted {
    asked: Asked,
    work: Work,
    at: Instant,
}

#[derive(Debug, Clone)]
enum Work {
    Save(VmName),
    Reset(VmName, Arc<Saved>),
}

/// End of a request.
#[derive(Debug)]
pub(crate) enum Carried {
    /// The guest was saved.
    Saved(Saved),
    /// It was taken back.
    Reset,
    /// It goes on as before.
    Unharmed(String),
    /// It is lost.
    Lost(String),
}

impl Checkpoints {
    fn find(&self, name: &VmName) -> Option<usize> {
        self.all.iter().position(|(about, _)| about.name == *name)
    }

    /// Decides what a request means, or why it is refused.
    fn plan(&self, request: &Request) -> Result<Work, Refusal> {
        match request {
            Request::Checkpoint { name, replace } => {
                let name = name.clone().unwrap_or_else(|| self.unused());
                match self.find(&name) {
                    Some(_) if *replace => {}
                    Some(_) => return Err(Refusal::Exists),
                    None if self.all.len() >= MAX_CHECKPOINTS => return Err(Refusal::TooMany),
                    None => {}
                }
                Ok(Work::Save(name))
            }
            Request::Reset { name } => {
                let found = match name {
                    Some(name) => self.find(name).map(|at| &self.all[at]),
                    None => self.all.last(),
                };
                let (about, saved) = found.ok_or(Refusal::NoSuch)?;
                Ok(Work::Reset(about.name.clone(), Arc::clone(saved)))
            }
            Request::Remove { .. } => unreachable!("the VM is not held for it"),
        }
    }

    /// Returns a name that no checkpoint has.
    fn unused(&self) -> VmName {
        let names = (1_u64..).map(|number| format!("checkpoint-{number}"));
        let mut names = names.filter_map(|name| name.parse().ok());
        let free = names.find(|name| self.find(name).is_none());
        free.expect("there are more numbers than checkpoints")
    }

    fn about(&self) -> Vec<Checkpoint> {
        self.all.iter().map(|(about, _)| about.clone()).collect()
    }
}

/// Returns why a VM of `spec` can have no checkpoints.
fn obstacle(spec: &VmSpec) -> Option<Refusal> {
    if spec.purpose() == Purpose::Execute {
        return Some(Refusal::RunsCommands);
    }
    if spec.login() != Some(Login::Own) {
        return Some(Refusal::NoWayIn);
    }
    if spec.host_storage {
        return Some(Refusal::HostImages);
    }
    let disk = spec.disks.first();
    disk.map(|disk| Refusal::UsersDisk(disk.name.clone()))
}

impl Supervisor {
    /// Hears a request. It is answered at once, or the VM has to be held for it.
    pub(super) fn asked(&mut self, asked: Asked) -> Option<LifeEvent> {
        if let Some(why) = obstacle(&self.spec) {
            asked.answer(Answer::Refused(why));
            return None;
        }
        if let Request::Remove { name } = &asked.request {
            let name = name.clone();
            self.remove(asked, name);
            return None;
        }
        match self.checkpoints.plan(&asked.request) {
            Ok(work) => {
                let at = Instant::now();
                self.wanted = Some(Wanted { asked, work, at });
                Some(LifeEvent::Hold)
            }
            Err(why) => {
                asked.answer(Answer::Refused(why));
                None
            }
        }
    }

    /// Refuses a request of a VM that is not ready.
    pub(super) fn decline(&mut self) {
        if let Some(wanted) = self.wanted.take() {
            wanted.asked.answer(Answer::Refused(Refusal::NotReady));
        }
    }

    /// Carries out a request of a VM that is held for it.
    pub(super) fn carry_out(&mut self) {
        self.checkpoints.begun += 1;
        let tag = format!("checkpoint-{}", self.checkpoints.begun);
        let machine = self.running().machine.clone();
        let work = self.wanted.as_ref().map(|wanted| wanted.work.clone());
        let (machine, work) = machine.zip(work).expect("a request that was planned");
        let held = match &work {
            Work::Save(name) => Held::Checkpoint(name.clone()),
            Work::Reset(name, _) => Held::Reset(name.clone()),
        };
        // Whoever loses a session finds the reason there.
        self.record(|status| status.held(Some(held)));
        self.in_background(Rights::None, move || {
            let carried = match &work {
                Work::Save(_) => machine.save(tag).map(Carried::Saved),
                Work::Reset(_, saved) => machine.reset_to(saved).map(|()| Carried::Reset),
            };
            Event::Carried(carried.unwrap_or_else(|failed| match failed {
                Failed::Unharmed(error) => Carried::Unharmed(error.to_string()),
                Failed::Lost(error) => Carried::Lost(error.to_string()),
            }))
        });
    }

    /// Records and answers what has come of a request.
    pub(super) fn carried(&mut self, carried: Carried) -> Option<LifeEvent> {
        let Wanted { asked, work, at } = self.wanted.take()?;
        self.record(|status| status.held(None));
        let name = match work {
            Work::Save(name) | Work::Reset(name, _) => name,
        };
        let answer = match carried {
            Carried::Saved(saved) => {
                self.keep(name.clone(), saved);
                Answer::Done(name)
            }
            Carried::Reset => {
                let took = micros(at.elapsed());
                self.record(|status| status.reset(name.clone(), took));
                Answer::Done(name)
            }
            Carried::Unharmed(why) => Answer::Refused(Refusal::Failed(printable(&why))),
            // The VM ends, and its status says why.
            Carried::Lost(why) => return Some(LifeEvent::Lost(why)),
        };
        asked.answer(answer);
        Some(LifeEvent::LetGo)
    }

    /// Adds a checkpoint, in place of another of its name.
    fn keep(&mut self, name: VmName, saved: Saved) {
        let about = Checkpoint {
            name,
            at: Timestamp::now(),
            size: saved.size,
            stood_still: micros(saved.stood_still),
        };
        let old = self.checkpoints.find(&about.name);
        let old = old.map(|at| self.checkpoints.all.remove(at).1);
        self.checkpoints.all.push((about.clone(), Arc::new(saved)));
        let all = self.checkpoints.about();
        self.record(|status| status.checkpoints(all, Some(&about)));
        if let (Some(old), Some(machine)) = (old, self.running().machine.clone()) {
            self.in_background(Rights::None, move || forget(&machine, &old, None));
        }
    }

    fn remove(&mut self, asked: Asked, name: VmName) {
        let found = self.checkpoints.find(&name);
        let machine = self.running.as_ref().and_then(|it| it.machine.clone());
        let Some((at, machine)) = found.zip(machine) else {
            return asked.answer(Answer::Refused(Refusal::NoSuch));
        };
        let (_, saved) = self.checkpoints.all.remove(at);
        let all = self.checkpoints.about();
        self.record(|status| status.checkpoints(all, None));
        self.in_background(Rights::None, move || {
            forget(&machine, &saved, Some((asked, name)))
        });
    }
}

/// Has QEMU forget a state, which is of no more use to anybody, and answers who asked for that.
fn forget(machine: &Machine, saved: &Saved, asked: Option<(Asked, VmName)>) -> Event {
    if let Err(error) = machine.forget(saved) {
        tracing::warn!(%error, "QEMU keeps the state of a checkpoint that was removed");
    }
    if let Some((asked, name)) = asked {
        asked.answer(Answer::Done(name));
    }
    Event::Done(LifeEvent::Tick)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use bcvk_contract::examples::example;

    use super::*;
    use crate::points::example as saved;

    fn name(text: &str) -> VmName {
        text.parse().expect("a name")
    }

    fn with(names: &[&str]) -> Checkpoints {
        let all = names.iter().map(|text| {
            let about = Checkpoint {
                name: name(text),
                at: Timestamp(1),
                size: 1,
                stood_still: 1,
            };
            (about, Arc::new(saved(text)))
        });
        Checkpoints {
            all: all.collect(),
            begun: 0,
        }
    }

    fn planned(checkpoints: &Checkpoints, request: &Request) -> Result<String, Refusal> {
        checkpoints.plan(request).map(|work| match work {
            Work::Save(name) => format!("save {name}"),
            Work::Reset(name, _) => format!("reset {name}"),
        })
    }

    #[test]
    fn a_request_names_a_checkpoint_or_means_the_next_or_the_newest() {
        let save = |named: Option<&str>, replace| Request::Checkpoint {
            name: named.map(name),
            replace,
        };
        let reset = |named: Option<&str>| Request::Reset {
            name: named.map(name),
        };
        let (none, two) = (with(&[]), with(&["checkpoint-2", "clean"]));
        for (checkpoints, request, expected) in [
            (&none, save(None, false), Ok("save checkpoint-1")),
            (&two, save(None, false), Ok("save checkpoint-1")),
            (&two, save(Some("new"), false), Ok("save new")),
            (&two, save(Some("clean"), false), Err(Refusal::Exists)),
            (&two, save(Some("clean"), true), Ok("save clean")),
            (&none, save(Some("clean"), true), Ok("save clean")),
            (&none, reset(None), Err(Refusal::NoSuch)),
            (&two, reset(None), Ok("reset clean")),
            (&two, reset(Some("checkpoint-2")), Ok("reset checkpoint-2")),
            (&two, reset(Some("new")), Err(Refusal::NoSuch)),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(planned(checkpoints, &request), expected, "{request:?}");
        }
        let names: Vec<String> = (0..MAX_CHECKPOINTS).map(|i| format!("c{i}")).collect();
        let full = with(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(planned(&full, &save(None, false)), Err(Refusal::TooMany));
        assert_eq!(
            planned(&full, &save(Some("c7"), true)),
            Ok("save c7".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_saved_is_refused() {
        let plain = || VmSpec {
            disks: Vec::new(),
            host_storage: false,
            execute: Vec::new(),
            ..example()
        };
        assert_eq!(obstacle(&plain()), None);
        let disks = VmSpec {
            disks: example().disks,
            ..plain()
        };
        assert_eq!(
            obstacle(&disks),
            Some(Refusal::UsersDisk("data".to_owned()))
        );
        let images = VmSpec {
            host_storage: true,
            ..plain()
        };
        assert_eq!(obstacle(&images), Some(Refusal::HostImages));
        let closed = VmSpec {
            ssh: None,
            ..plain()
        };
        assert_eq!(obstacle(&closed), Some(Refusal::NoWayIn));
        let executes = VmSpec {
            execute: vec!["true".to_owned()],
            ..plain()
        };
        assert_eq!(obstacle(&executes), Some(Refusal::RunsCommands));
    }
}
