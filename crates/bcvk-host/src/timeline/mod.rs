//! One boot on one axis: what the host and the guest each did, from the command line until the VM was
//! ready or a command in it had ended, and everything that this had to wait for.
//!
//! This module is pure: it parses the guest's answer ([`Answer`]), puts the guest's clock on the
//! host's axis, and finds the chain of units that sshd had to wait for.

mod clock;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod guest;
mod path;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use clock::Asked;
pub use guest::{Answer, MAX_ANSWER_BYTES, QUESTION, Unit};

use bcvk_contract::status::{Event, Phase, Timestamp};
use clock::Zero;

/// Knowledge of the host about a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Time at which the user's command began, if that is known.
    pub command_line: Option<Timestamp>,
    /// Time at which everything that podman needs was there, if that is known.
    pub planned: Option<Timestamp>,
    /// Beginning of each phase.
    pub history: Vec<Event>,
    /// True if the VM was resumed from a snapshot.
    pub resumed: bool,
    /// Condition that made the VM ready.
    pub awaited: Awaited,
    /// Command in the guest, and the time at which it had ended.
    pub command: Option<(String, Timestamp)>,
}

impl Host {
    fn began(&self, phase: Phase) -> Option<Timestamp> {
        let event = self.history.iter().find(|event| event.phase == phase);
        event.map(|event| event.at)
    }
}

/// Condition for a VM to count as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The image's sshd sends its banner.
    Sshd,
    /// A login is answered as on a deployed host.
    Answers,
    /// The first session is possible.
    Sessions,
    /// A login is answered, and a snapshot is made of the VM.
    Snapshot,
    /// The commands begin that the VM is there to execute.
    Execute,
}

impl Awaited {
    /// Describes the condition for people.
    fn describe(self) -> &'static str {
        match self {
            Self::Sshd => "sshd answers",
            Self::Answers => "a login is answered",
            Self::Sessions => "the first session is possible",
            Self::Snapshot => "a login is answered, a snapshot is made",
            Self::Execute => "the commands begin",
        }
    }

    /// Returns the units that can make the condition true, the likeliest first: Debian's names and
    /// everyone else's, bcvk's own for images without one, and the sockets that wait for
    /// connections in sshd's place.
    fn units(self) -> &'static [&'static str] {
        match self {
            Self::Answers => &["bcvk-answers.socket"],
            Self::Sessions => &["bcvk-login.service"],
            Self::Sshd | Self::Snapshot => &[
                "bcvk-answers.socket",
                "ssh.service",
                "sshd.service",
                "ssh.socket",
                "sshd.socket",
            ],
            Self::Execute => &["bcvk-execute.service"],
        }
    }
}

/// A boot. Times are microseconds from its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// Beginning of the boot.
    pub begin: Timestamp,
    /// Time at which sshd answered.
    pub ready: u64,
    /// End of the axis.
    pub end: u64,
    /// Greatest error of the guest's times among those of the host, to either side; `None` where
    /// the guest has none.
    pub uncertainty: Option<u64>,
    /// True if the VM was resumed, so that its guest's clock began in another.
    pub resumed: bool,
    /// True if the chain of units is known.
    pub path_known: bool,
    /// Everything that took time, by where it happened, and then by when it began.
    pub spans: Vec<Span>,
}

/// Something that took time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Place where it happened.
    pub place: Place,
    /// Name of the phase, unit or command.
    pub name: String,
    /// Time at which it began.
    pub from: u64,
    /// Time at which it had ended, or started.
    pub to: u64,
    /// True if what came after had to wait for it.
    pub critical: bool,
    /// True if it goes on after the axis has ended.
    pub starting: bool,
    /// True if it is a unit that failed.
    pub failed: bool,
}

/// Place where something happened. The order is that of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// On the host.
    Host,
    /// In the guest, before and around its units.
    Guest,
    /// A unit of the guest's.
    Unit,
    /// Between host and guest: sshd's banner, a command.
    Session,
}

impl Timeline {
    /// Makes a timeline from what the host knows and from the guest's answer; a VM that was resumed
    /// has no answer. Returns `None` for a VM that has not been ready.
    #[must_use]
    pub fn new(host: &Host, guest: Option<(&Answer, Asked)>) -> Option<Self> {
        let first = host.history.first()?.at;
        let begin = host
            .command_line
            .or(host.planned)
            .unwrap_or(first)
            .min(first);
        let ready = host.began(Phase::Ready)?;
        let mut axis = Axis {
            begin,
            timeline: Self {
                begin,
                ready: 0,
                end: 0,
                uncertainty: None,
                resumed: host.resumed,
                path_known: false,
                spans: Vec::new(),
            },
        };
        axis.timeline.ready = axis.at(ready);
        axis.host_phases(host, first);
        let there = match guest {
            Some((answer, asked)) => {
                let zero = Zero::find(answer, &host.history, asked);
                axis.timeline.uncertainty = Some(zero.uncertainty());
                axis.guest_phases(host, answer, zero);
                axis.units(host.awaited, answer, zero, ready)
            }
            None => axis.blind_phases(host, ready),
        };
        if let Some(reachable) = host.began(Phase::Reachable) {
            axis.span(Place::Session, "a session is possible", reachable, ready);
        }
        if guest.is_some() {
            axis.critical(Place::Session, host.awaited.describe(), there, ready);
        }
        let mut end = axis.timeline.ready;
        if let Some((command, ended)) = &host.command {
            axis.critical(Place::Session, command, ready, *ended);
            end = end.max(axis.at(*ended));
        }
        Some(axis.finish(end))
    }

    /// Returns the spans that everything had to wait for, in the order of time.
    pub fn critical(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(|span| span.critical)
    }
}

/// A timeline that is being made.
struct Axis {
    begin: Timestamp,
    timeline: Timeline,
}

impl Axis {
    fn at(&self, time: Timestamp) -> u64 {
        time.0.saturating_sub(self.begin.0)
    }

    /// Adds a span that nothing waits for.
    fn span(&mut self, place: Place, name: &str, from: Timestamp, to: Timestamp) {
        let from = self.at(from);
        self.timeline.spans.push(Span {
            place,
            name: name.to_owned(),
            from,
            to: self.at(to).max(from),
            critical: false,
            starting: false,
            failed: false,
        });
    }

    /// Adds a span that everything after it waits for.
    fn critical(&mut self, place: Place, name: &str, from: Timestamp, to: Timestamp) {
        self.span(place, name, from, to);
        if let Some(span) = self.timeline.spans.last_mut() {
            span.critical = true;
        }
    }

    fn host_phases(&mut self, host: &Host, first: Timestamp) {
        if let (Some(asked), Some(planned)) = (host.command_line, host.planned) {
            self.critical(Place::Host, "bcvk plans", asked, planned);
        }
        if let Some(planned) = host.planned.or(host.command_line) {
            self.critical(Place::Host, "podman starts the container", planned, first);
        }
        if let Some(qemu) = host.began(Phase::Qemu).filter(|_| !host.resumed) {
            self.critical(Place::Host, "supervisor prepares", first, qemu);
        }
    }

    /// Adds the rest of a boot whose guest gives no account of it.
    fn blind_phases(&mut self, host: &Host, ready: Timestamp) -> Timestamp {
        let first = host.history.first().map_or(ready, |event| event.at);
        if host.resumed {
            self.critical(Place::Host, "QEMU resumes the guest", first, ready);
        }
        ready
    }

    /// Adds the phases from QEMU's start until systemd knows its units.
    fn guest_phases(&mut self, host: &Host, answer: &Answer, zero: Zero) {
        let qemu = host.began(Phase::Qemu).unwrap_or(self.begin);
        let kernel = zero.host(0).max(qemu);
        self.critical(Place::Host, "QEMU starts the kernel", qemu, kernel);
        let userspace = zero.host(answer.userspace).max(kernel);
        if answer.initrd > 0 {
            let initrd = zero.host(answer.initrd).clamp(kernel, userspace);
            self.critical(Place::Guest, "kernel", kernel, initrd);
            self.critical(Place::Guest, "initramfs", initrd, userspace);
        } else {
            self.critical(Place::Guest, "kernel and initramfs", kernel, userspace);
        }
        if answer.units_loaded >= answer.userspace {
            let loaded = zero.host(answer.units_loaded).max(userspace);
            self.critical(Place::Guest, "systemd reads its units", userspace, loaded);
        }
    }

    /// Adds all units that were started; returns the time at which the awaited unit was there.
    fn units(
        &mut self,
        awaited: Awaited,
        answer: &Answer,
        zero: Zero,
        ready: Timestamp,
    ) -> Timestamp {
        let guest_ready = ready.0.saturating_sub(zero.host(0).0);
        let last = path::awaited(answer, awaited.units(), guest_ready);
        let chain = last.map_or_else(Vec::new, |last| path::chain(answer, last));
        self.timeline.path_known = last.is_some();
        for (index, unit) in answer.units.iter().enumerate() {
            if unit.started == 0 {
                continue;
            }
            let from = self.at(zero.host(unit.started));
            let done = unit.done();
            let to = done.map_or(from, |done| self.at(zero.host(done)));
            self.timeline.spans.push(Span {
                place: Place::Unit,
                name: unit.id.clone(),
                from,
                to: to.max(from),
                critical: chain.contains(&index),
                starting: done.is_none() && !unit.failed,
                failed: unit.failed,
            });
        }
        let there = last.and_then(|last| answer.units[last].done());
        there.map_or(ready, |done| zero.host(done).min(ready))
    }

    fn finish(self, end: u64) -> Timeline {
        let mut timeline = self.timeline;
        timeline.end = end;
        timeline.spans.retain(|span| span.from <= end);
        for span in &mut timeline.spans {
            if span.starting || span.to > end {
                span.to = end;
                span.starting = true;
            }
        }
        timeline.spans.sort_by(|a, b| {
            (a.place, a.from, a.to, &a.name).cmp(&(b.place, b.from, b.to, &b.name))
        });
        timeline
    }
}
