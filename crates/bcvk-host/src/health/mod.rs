//! Health of a system that has started: the questions to its guest, the facts that the guest
//! answers, and what is to be thought of them.
//!
//! This module is pure. What comes from the guest is read into [`Facts`], which are bounded and clean.

mod allow;
mod facts;
mod finding;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod journal;
mod messages;
mod question;
#[cfg(test)]
mod tests;
mod units;

use std::collections::BTreeMap;
use std::time::Duration;

use bcvk_contract::status::printable;

pub use allow::Pattern;
pub use facts::Facts;
pub use finding::{Finding, Kind, Source, Unseen};
pub use question::{MAX_ANSWER_BYTES, QUESTION, SETTLED};

/// Most findings of a kind.
const MAX_OF_KIND: usize = 50;

/// Longest subject and text of a finding, in characters.
const MAX_TEXT: usize = 300;

/// Share and least time by which a boot has to take longer than the last one to be worth a note: a
/// busy host makes that much of a difference by itself.
const SLOWER: f64 = 1.5;
const SLOWER_BY: Duration = Duration::from_secs(2);

/// Judges a system that had `settle` to start everything. Findings come in the order of their kinds,
/// and each comes once.
#[must_use]
pub fn judge(facts: &Facts, settle: Duration) -> Vec<Finding> {
    let mut findings = units::judge_units(facts);
    findings.extend(units::judge_jobs(facts, settle));
    findings.extend(messages::judge_journal(facts));
    for finding in &mut findings {
        finding.subject = clean(&finding.subject, MAX_TEXT);
        finding.text = clean(&finding.text, MAX_TEXT);
    }
    findings.sort_by_key(|finding| finding.kind);
    let mut kept: Vec<Finding> = Vec::new();
    let mut left_out = BTreeMap::<Kind, usize>::new();
    for finding in findings {
        let same = |other: &&Finding| other.kind == finding.kind;
        let of_kind = kept.iter().filter(same);
        let key = (&finding.subject, &finding.text);
        if of_kind.clone().any(|f| (&f.subject, &f.text) == key) {
            continue;
        }
        if of_kind.count() == MAX_OF_KIND {
            *left_out.entry(finding.kind).or_default() += 1;
        } else {
            kept.push(finding);
        }
    }
    kept.extend(left_out.into_iter().map(|(kind, count)| Finding {
        kind,
        subject: "others".to_owned(),
        text: format!("{count} more of this kind are not shown"),
        lines: Vec::new(),
    }));
    kept.sort_by_key(|finding| finding.kind);
    // Only now, because a journal is long and units may be many.
    for finding in kept.iter_mut().filter(|f| is_about_unit(f.kind)) {
        let mut lines = units::last_lines(facts, &finding.subject);
        lines.append(&mut finding.lines);
        finding.lines = lines;
    }
    kept
}

/// Returns true if the subject of such findings is a unit whose words explain them.
fn is_about_unit(kind: Kind) -> bool {
    matches!(kind.source(), Some(Source::Units | Source::Jobs)) && kind != Kind::SlowUnit
}

/// Compares the time until a VM was ready with that of the last one.
#[must_use]
pub fn slower(ready: Duration, last: Duration) -> Option<Finding> {
    let is_slower = ready > last.mul_f64(SLOWER) && ready > last + SLOWER_BY;
    is_slower.then(|| Finding {
        kind: Kind::SlowerBoot,
        subject: "boot".to_owned(),
        text: format!(
            "ready after {:.1} s; the last time it was {:.1} s",
            ready.as_secs_f64(),
            last.as_secs_f64()
        ),
        lines: Vec::new(),
    })
}

/// Returns a guest's text as one line without control characters, of at most `most` characters.
fn clean(text: &str, most: usize) -> String {
    // Reading stops soon after the bound, so that no text takes more time than it may have.
    let text: String = text.chars().take(most.saturating_mul(4)).collect();
    let line = printable(&text.replace(['\n', '\r'], " "));
    let line = line.trim();
    if line.chars().count() <= most {
        return line.to_owned();
    }
    let begin: String = line.chars().take(most - 1).collect();
    begin + "…"
}
