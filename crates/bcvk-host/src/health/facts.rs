//! Answer of a guest that was asked how it is. The guest is not trusted: everything that is kept is
//! bounded and clean.

use super::journal::{Entry, entries};
use super::question::END;
use super::{Source, Unseen, clean};

/// Most units and jobs that are kept.
const MAX_UNITS: usize = 8192;
const MAX_JOBS: usize = 8192;

/// Exit code of a shell for a program that is not there.
const NOT_THERE: i32 = 127;

/// Longest name of a unit (systemd, src/basic/unit-def.h, UNIT_NAME_MAX).
const MAX_NAME: usize = 255;

/// State of a guest after its start.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Facts {
    /// State of systemd as a whole, such as `running`; empty if it is not known.
    pub state: String,
    /// Time at which everything had started, in microseconds on the guest's clock; zero if that has
    /// not happened.
    pub finished: u64,
    pub(super) units: Vec<Unit>,
    pub(super) jobs: Vec<Job>,
    pub(super) journal: Vec<Entry>,
    /// Parts that could not be looked at.
    pub unseen: Vec<Unseen>,
}

/// A unit.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) id: String,
    /// State of its file, such as `loaded` or `bad-setting`.
    pub(super) load: String,
    pub(super) active: String,
    pub(super) sub: String,
    /// Result of its last run.
    pub(super) result: String,
    /// Times that it was started again by itself.
    pub(super) restarts: u64,
    /// How its main process ended (`CLD_…`, sigaction(2)), and with what code or signal.
    pub(super) main: (u64, u64),
    /// File that describes it.
    pub(super) fragment: String,
    /// Duration of its latest start, in microseconds, if it has started.
    pub(super) took: Option<u64>,
}

/// A job that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) unit: String,
    /// True if it waits for others.
    pub(super) waits: bool,
}

impl Facts {
    /// Reads the answer to [`super::QUESTION`]; `cut` says that there was more of it than is read.
    #[must_use]
    pub fn parse(text: &str, cut: bool) -> Self {
        let mut facts = Self::default();
        let mut rest = text;
        for source in Source::ALL {
            let part = Part::take(source, &mut rest);
            match source {
                Source::Manager => facts.read_manager(part.content),
                Source::Units => facts.units = units(part.content),
                Source::Jobs => facts.jobs = jobs(part.content),
                Source::Journal => facts.journal = entries(part.content),
            }
            let is_empty = match source {
                Source::Manager => facts.state.is_empty(),
                Source::Units => facts.units.is_empty(),
                Source::Jobs => false,
                Source::Journal => facts.journal.is_empty(),
            };
            let reason = part.reason(source, is_empty, cut);
            facts
                .unseen
                .extend(reason.map(|reason| Unseen { source, reason }));
        }
        facts
    }

    /// Returns true if everything that starts with the system has started, or failed.
    #[must_use]
    pub fn has_settled(&self) -> bool {
        !matches!(&*self.state, "initializing" | "starting")
    }

    /// Returns true if the guest has said nothing that could be judged.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.units.is_empty() && self.journal.is_empty()
    }

    fn read_manager(&mut self, text: &str) {
        self.state = value(text, "SystemState");
        self.finished = number(text, "FinishTimestampMonotonic");
    }
}

/// Part of the answer, up to the line that ends it.
struct Part<'a> {
    content: &'a str,
    /// Exit code of the command; `None` if the answer ends before it.
    code: Option<i32>,
}

impl<'a> Part<'a> {
    /// Takes a part from the beginning of `rest`.
    fn take(source: Source, rest: &mut &'a str) -> Self {
        let end = format!("{END}{} ", source.name());
        let mut length = 0;
        for line in rest.split_inclusive('\n') {
            if let Some(code) = line.strip_prefix(&end) {
                let part = Self {
                    content: &rest[..length],
                    code: code.trim_end().parse().ok(),
                };
                *rest = &rest[length + line.len()..];
                return part;
            }
            length += line.len();
        }
        let content = *rest;
        *rest = "";
        Self {
            content,
            code: None,
        }
    }

    /// Returns why the part was not looked at, or not all of it.
    fn reason(&self, source: Source, is_empty: bool, cut: bool) -> Option<String> {
        let program = source.program();
        match self.code {
            Some(0) if is_empty => Some(format!("{program} told nothing")),
            Some(0) => None,
            Some(NOT_THERE) => Some(format!("the image has no {program}")),
            Some(code) => Some(format!("{program} failed with exit code {code}")),
            None if cut => Some("it is longer than what is read; the beginning was".to_owned()),
            None => Some("the guest's answer broke off".to_owned()),
        }
    }
}

fn units(text: &str) -> Vec<Unit> {
    let blocks = text.split("\n\n").map(str::trim_start);
    let units = blocks.map(unit).filter(|unit| !unit.id.is_empty());
    units.take(MAX_UNITS).collect()
}

fn unit(block: &str) -> Unit {
    let time = |key| number(block, key);
    let began = time("InactiveExitTimestampMonotonic");
    // A service that is only a command never is active, and has started when the command ends.
    let started = [
        "ActiveEnterTimestampMonotonic",
        "InactiveEnterTimestampMonotonic",
    ];
    let started = started.into_iter().map(time).find(|&at| at >= began);
    Unit {
        id: value(block, "Id"),
        load: value(block, "LoadState"),
        active: value(block, "ActiveState"),
        sub: value(block, "SubState"),
        result: value(block, "Result"),
        restarts: number(block, "NRestarts"),
        main: (
            number(block, "ExecMainCode"),
            number(block, "ExecMainStatus"),
        ),
        fragment: value(block, "FragmentPath"),
        took: started.filter(|_| began > 0).map(|at| at - began),
    }
}

/// Reads `JOB UNIT TYPE STATE` lines.
fn jobs(text: &str) -> Vec<Job> {
    let job = |line: &str| {
        let mut words = line.split_whitespace();
        let unit = clean(words.nth(1)?, MAX_NAME);
        let waits = words.nth(1)? != "running";
        Some(Job { unit, waits })
    };
    text.lines().filter_map(job).take(MAX_JOBS).collect()
}

/// Returns the value of a `KEY=VALUE` line; nothing if there is none.
fn value(block: &str, key: &str) -> String {
    let of_key = |line: &str| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned());
    let value = block.lines().find_map(of_key);
    clean(&value.unwrap_or_default(), MAX_NAME)
}

fn number(block: &str, key: &str) -> u64 {
    value(block, key).parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ANSWER, said};
    use super::*;

    fn unseen(text: &str, cut: bool) -> String {
        let facts = Facts::parse(text, cut);
        let unseen = facts.unseen.iter();
        let lines = unseen.map(|unseen| format!("{}: {}", unseen.source.name(), unseen.reason));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn an_answer_is_read_part_by_part() {
        let facts = Facts::parse(ANSWER, false);
        assert_eq!((&*facts.state, facts.finished), ("starting", 0));
        assert!(!facts.has_settled() && !facts.is_silent());
        assert!(facts.unseen.is_empty(), "{:?}", facts.unseen);
        let names: Vec<&str> = facts.units.iter().map(|unit| &*unit.id).collect();
        assert!(names.contains(&"broken.service"), "{names:?}");
        let slow = facts.units.iter().find(|unit| unit.id == "slow.service");
        assert_eq!(slow.and_then(|unit| unit.took), Some(12_500_000));
        assert_eq!(facts.jobs.iter().filter(|job| job.waits).count(), 2);
    }

    #[test]
    fn parts_that_are_missing_are_said() {
        let quiet = said("SystemState=running", "Id=a.service", "", "");
        assert_eq!(unseen(&quiet, false), "journal: journalctl told nothing");
        let minimal = quiet.replace("journal 0", "journal 127");
        assert_eq!(
            unseen(&minimal, false),
            "journal: the image has no journalctl"
        );
        let (most, _) = quiet.split_once("bcvk-end journal").expect("an end");
        assert!(unseen(most, true).starts_with("journal: it is longer"));
        assert_eq!(unseen(most, false), "journal: the guest's answer broke off");
        let bad = "bcvk-end manager 1\nbcvk-end units x\n";
        insta::assert_snapshot!(unseen(bad, false));
        assert!(Facts::parse(bad, false).is_silent());
    }
}
