//! Judgement of units and jobs.

use std::time::Duration;

use super::facts::{Facts, Job, Unit};
use super::journal::Entry;
use super::{Finding, Kind};

/// Restarts from which a service is in a loop. One may happen to any.
const LOOP: u64 = 2;

/// Start of a service that is long enough to be worth a note, in microseconds.
const SLOW: u64 = 10_000_000;

/// Lines of the journal that are shown of a unit.
const LINES: usize = 10;

/// Service that every boot restarts once: it ends with the initramfs.
const OVER_SWITCH: &str = "systemd-journald.service";

/// How a process ended, as systemd counts it (`siginfo_t`'s `si_code`, sigaction(2)).
const EXITED: u64 = 1;

/// Judges the units.
pub(super) fn judge_units(facts: &Facts) -> Vec<Finding> {
    let units = facts.units.iter().filter(|unit| !is_own(unit));
    units.flat_map(judge).collect()
}

/// Returns true if the unit is one that bcvk has put into the guest.
fn is_own(unit: &Unit) -> bool {
    let is_volatile = unit.fragment.is_empty() || unit.fragment.starts_with("/run/");
    is_volatile && is_own_name(&unit.id)
}

fn is_own_name(id: &str) -> bool {
    id.starts_with("bcvk-") || id.starts_with("run-bcvk")
}

fn judge(unit: &Unit) -> Vec<Finding> {
    let finding = |kind, text: String| Finding {
        kind,
        subject: unit.id.clone(),
        text,
        lines: Vec::new(),
    };
    let is_failed = unit.active == "failed";
    let is_due = unit.sub.starts_with("auto-restart") && unit.result != "success";
    let mut findings = Vec::new();
    if unit.restarts >= LOOP || is_due {
        let end = match (is_failed, is_due) {
            (true, _) => " until systemd gave up",
            (false, true) => ", and is about to be again",
            (false, false) => "",
        };
        let times = times(unit.restarts);
        let text = format!("restarted {times}{end}: {}", result(unit));
        findings.push(finding(Kind::RestartLoop, text));
    } else if is_failed {
        findings.push(finding(Kind::FailedUnit, result(unit)));
    } else if unit.restarts > 0 && unit.id != OVER_SWITCH {
        let text = "it ended, and systemd started it again".to_owned();
        findings.push(finding(Kind::Restarted, text));
    }
    if matches!(&*unit.load, "bad-setting" | "error") {
        let text = "systemd cannot use its file".to_owned();
        findings.push(finding(Kind::InvalidUnit, text));
    }
    let took = unit.took.filter(|_| unit.id.ends_with(".service"));
    if let Some(took) = took.filter(|took| *took >= SLOW) {
        let seconds = Duration::from_micros(took).as_secs_f64();
        let text = format!("took {seconds:.1} s to start");
        findings.push(finding(Kind::SlowUnit, text));
    }
    findings
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

/// Says how a unit ended.
fn result(unit: &Unit) -> String {
    match (&*unit.result, unit.main) {
        ("exit-code" | "start-limit-hit", (EXITED, status)) => {
            format!("its process exited with code {status}")
        }
        ("exit-code", _) => "a process of it exited with an error".to_owned(),
        ("signal" | "core-dump", (_, signal)) => format!("signal {signal} killed its process"),
        ("timeout", _) => "it took longer than systemd lets it".to_owned(),
        ("oom-kill", _) => "the kernel killed it for want of memory".to_owned(),
        ("resources", _) => "systemd could not start its process".to_owned(),
        ("success" | "", _) => "it did not say why".to_owned(),
        (other, _) => other.to_owned(),
    }
}

/// Returns the last lines of the journal that concern a unit.
pub(super) fn last_lines(facts: &Facts, unit: &str) -> Vec<String> {
    // systemd names the file, and not the unit, where it cannot read a line.
    let file = format!("/{unit}:");
    let concerns = |entry: &&Entry| {
        let is_of_file = entry.program == "systemd" && entry.message.contains(&file);
        entry.concerns(unit) || is_of_file
    };
    let entries = facts.journal.iter().rev();
    let mut lines: Vec<String> = entries
        .filter(concerns)
        .take(LINES)
        .map(Entry::line)
        .collect();
    lines.reverse();
    lines
}

/// Judges the jobs of a system that had `limit` to settle and has not: those that run, or if none
/// does, those that wait.
pub(super) fn judge_jobs(facts: &Facts, limit: Duration) -> Vec<Finding> {
    if facts.has_settled() {
        return Vec::new();
    }
    let others = || facts.jobs.iter().filter(|job| !is_own_name(&job.unit));
    let (waiting, running): (Vec<&Job>, Vec<&Job>) = others().partition(|job| job.waits);
    let names: Vec<&str> = waiting.iter().map(|job| &*job.unit).take(20).collect();
    let seconds = limit.as_secs_f64();
    let finding = |subject: &str, text: String, lines| Finding {
        kind: Kind::EndlessJob,
        subject: subject.to_owned(),
        text,
        lines,
    };
    if !running.is_empty() {
        let findings = running.iter().map(|job| {
            let mut lines = Vec::new();
            if !names.is_empty() {
                lines.push(format!("jobs wait: {}", names.join(", ")));
            }
            let text = format!("still starting after {seconds} s");
            finding(&job.unit, text, lines)
        });
        return findings.collect();
    }
    if waiting.is_empty() {
        let text = format!("it is still {} after {seconds} s", facts.state);
        return vec![finding("systemd", text, Vec::new())];
    }
    let findings = waiting.iter().map(|job| {
        let text = format!("still waiting after {seconds} s, and nothing runs");
        finding(&job.unit, text, Vec::new())
    });
    findings.collect()
}
