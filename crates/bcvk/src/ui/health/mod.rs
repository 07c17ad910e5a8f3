//! Verdict on an image that was checked: its content, whichever way it is shown.

mod github;
mod junit;
#[cfg(test)]
mod tests;
mod text;

use std::time::Duration;

use bcvk_host::health::{Finding, Kind, Pattern, Source, Unseen};
use serde::Serialize;

use super::Image;

/// Outcome of a check.
#[derive(Debug)]
pub(crate) struct Verdict<'a> {
    /// ID of the image, and its name as the user gave it.
    pub(crate) image: (&'a str, &'a str),
    /// State of systemd as a whole, such as `running`.
    pub(crate) state: &'a str,
    /// Time until the VM was ready, and that of the last VM like it, if they are known.
    pub(crate) ready: Option<Duration>,
    pub(crate) last: Option<Duration>,
    pub(crate) findings: Vec<Judged<'a>>,
    pub(crate) unseen: &'a [Unseen],
}

/// A finding, with the pattern by which it does not count.
#[derive(Debug)]
pub(crate) struct Judged<'a> {
    finding: Finding,
    allowed: Option<&'a Pattern>,
}

/// Weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum Weight {
    /// Makes the image unhealthy.
    Fault,
    /// Would make it so, if the user had not allowed it.
    Allowed,
    /// Is worth knowing.
    Note,
}

impl<'a> Judged<'a> {
    /// Weighs findings against the patterns of what is known; the first that matches counts.
    pub(crate) fn all(findings: Vec<Finding>, allow: &'a [Pattern]) -> Vec<Self> {
        let judged = findings.into_iter().map(|finding| Self {
            allowed: allow.iter().find(|pattern| pattern.matches(&finding)),
            finding,
        });
        judged.collect()
    }

    fn weight(&self) -> Weight {
        match (self.allowed, self.finding.kind.is_fault()) {
            (Some(_), _) => Weight::Allowed,
            (None, true) => Weight::Fault,
            (None, false) => Weight::Note,
        }
    }
}

impl<'a> Verdict<'a> {
    /// Returns true if nothing counts against the image.
    pub(crate) fn is_healthy(&self) -> bool {
        self.of(Weight::Fault).next().is_none()
    }

    /// Returns those of the patterns that match no finding.
    pub(crate) fn unused(&self, allow: &'a [Pattern]) -> Vec<&'a Pattern> {
        let used = |pattern: &&Pattern| self.findings.iter().any(|j| pattern.matches(&j.finding));
        allow.iter().filter(|pattern| !used(pattern)).collect()
    }

    /// Returns the verdict for programs.
    pub(crate) fn description(&self) -> Description {
        let (id, name) = self.image;
        let (id, name) = (id.to_owned(), name.to_owned());
        Description {
            image: Image { id, name },
            healthy: self.is_healthy(),
            state: self.state.to_owned(),
            ready: self.ready.as_ref().map(Duration::as_secs_f64),
            last_ready: self.last.as_ref().map(Duration::as_secs_f64),
            findings: self.findings.iter().map(Entry::of).collect(),
            unseen: self.unseen.iter().map(Part::of).collect(),
        }
    }

    fn of(&self, weight: Weight) -> impl Iterator<Item = &Finding> {
        let judged = self.findings.iter().filter(move |j| j.weight() == weight);
        judged.map(|judged| &judged.finding)
    }

    /// Returns why findings of a kind cannot be complete, if they cannot.
    fn unseen(&self, kind: Kind) -> Option<&Unseen> {
        let source = kind.source()?;
        self.unseen.iter().find(|unseen| unseen.source == source)
    }
}

/// Verdict for programs. The keys are documented in bcvk-ephemeral-check(8).
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Description {
    image: Image,
    /// True if nothing counts against the image.
    healthy: bool,
    /// State of systemd as a whole, such as `running`; empty if it is not known.
    state: String,
    /// Seconds until the VM was ready.
    ready: Option<f64>,
    /// The same of the last VM of this image name that was checked in the same way.
    last_ready: Option<f64>,
    /// Findings in the order of the text.
    findings: Vec<Entry>,
    /// Parts of the system that could not be looked at, or not all of them.
    unseen: Vec<Part>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
struct Entry {
    kind: Kind,
    weight: Weight,
    /// Pattern of `--allow` that the finding matches.
    allowed_by: Option<String>,
    /// Unit, module or file that the finding is about.
    subject: String,
    /// Description in one line.
    text: String,
    /// Lines of the journal that explain it.
    lines: Vec<String>,
}

impl Entry {
    fn of(judged: &Judged<'_>) -> Self {
        let Finding {
            kind,
            subject,
            text,
            lines,
        } = &judged.finding;
        Self {
            kind: *kind,
            weight: judged.weight(),
            allowed_by: judged.allowed.map(Pattern::to_string),
            subject: subject.clone(),
            text: text.clone(),
            lines: lines.clone(),
        }
    }
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "PascalCase")]
struct Part {
    part: Source,
    reason: String,
}

impl Part {
    fn of(unseen: &Unseen) -> Self {
        Self {
            part: unseen.source,
            reason: unseen.reason.clone(),
        }
    }
}
