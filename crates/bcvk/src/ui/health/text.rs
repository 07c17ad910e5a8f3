//! The verdict for people.

use std::fmt::Write as _;
use std::time::Duration;

use bcvk_contract::status::printable;

use super::{Judged, Verdict, Weight};

impl Verdict<'_> {
    /// Returns a line for each finding with the journal's lines below it, and the verdict at the end.
    ///
    /// GitHub's runner obeys lines of a log that begin with `::`, spaces before it aside, and those
    /// that have `##[` anywhere (actions/runner, `ActionCommand.cs`). Lines of the guest begin with
    /// another character, and the other mark is taken apart.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for judged in &self.findings {
            let Judged { finding, allowed } = judged;
            let weight = match judged.weight() {
                Weight::Fault => "fault",
                Weight::Allowed => "allowed",
                Weight::Note => "note",
            };
            let (kind, subject) = (finding.kind.name(), &finding.subject);
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{weight:<7}  {kind:<16}  {subject}: {}", finding.text);
            if let Some(pattern) = allowed {
                let _ = writeln!(text, "{:9}by --allow {pattern}", "");
                continue;
            }
            for line in &finding.lines {
                let _ = writeln!(text, "{:9}| {line}", "");
            }
        }
        for unseen in self.unseen {
            let (part, reason) = (unseen.source.name(), &unseen.reason);
            let _ = writeln!(text, "{:<7}  {part:<16}  {reason}", "unseen");
        }
        let _ = writeln!(text, "{}", self.summary());
        let lines = text.lines().map(|line| format!("{}\n", printable(line)));
        lines.collect::<String>().replace("##[", "## [")
    }

    /// Returns the verdict in one line.
    pub(super) fn summary(&self) -> String {
        let counted = |weight, one: &str, more: &str| match self.of(weight).count() {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {more}")),
        };
        let counts = [
            counted(Weight::Fault, "fault", "faults"),
            counted(Weight::Allowed, "allowed", "allowed"),
            counted(Weight::Note, "note", "notes"),
        ];
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        let verdict = match (self.is_healthy(), self.unseen.is_empty()) {
            (true, true) => "healthy",
            (true, false) => "healthy, as far as could be seen",
            (false, _) => "unhealthy",
        };
        let mut line = format!("{} is {verdict}", self.image.1);
        if !counts.is_empty() {
            let _ = write!(line, ": {}", counts.join(", "));
        }
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        match (self.ready.map(seconds), self.last.map(seconds)) {
            (Some(ready), Some(last)) => {
                let _ = write!(line, "; ready after {ready}, the last time after {last}");
            }
            (Some(ready), None) => {
                let _ = write!(line, "; ready after {ready}");
            }
            (None, _) => {}
        }
        line
    }
}
