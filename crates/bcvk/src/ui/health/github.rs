//! The verdict for GitHub Actions: annotations, and a page of the job's summary.

use std::fmt::Write as _;

use bcvk_contract::status::printable;
use bcvk_host::health::Finding;

use super::{Verdict, Weight};

impl Verdict<'_> {
    /// Returns workflow commands that annotate the run: an error for each fault, a warning for what
    /// could not be looked at, and a notice for each note.
    pub(crate) fn annotations(&self) -> String {
        let mut commands = String::new();
        for (weight, level) in [(Weight::Fault, "error"), (Weight::Note, "notice")] {
            for finding in self.of(weight) {
                commands.push_str(&command(level, &title(finding), &message(finding)));
            }
        }
        for unseen in self.unseen {
            let title = format!("{} not looked at", unseen.source.name());
            commands.push_str(&command("warning", &title, &unseen.reason));
        }
        commands
    }

    /// Returns the text as Markdown for the file that `GITHUB_STEP_SUMMARY` names. No text of the
    /// guest's ends the block that it is in: the fence is longer than any that the text has.
    pub(crate) fn step_summary(&self) -> String {
        let text = self.text();
        let runs = text.split(|c| c != '`').map(str::len);
        let fence = "`".repeat(runs.max().unwrap_or_default().max(2) + 1);
        let verdict = if self.is_healthy() {
            "healthy"
        } else {
            "unhealthy"
        };
        format!("### bcvk check: {verdict}\n\n{fence}text\n{text}{fence}\n")
    }
}

fn title(finding: &Finding) -> String {
    format!("{}: {}", finding.kind.name(), finding.subject)
}

fn message(finding: &Finding) -> String {
    let mut message = finding.text.clone();
    for line in &finding.lines {
        // Writing into a String cannot fail.
        let _ = write!(message, "\n{line}");
    }
    message
}

/// Writes a workflow command (actions/toolkit, `packages/core/src/command.ts`).
fn command(level: &str, title: &str, message: &str) -> String {
    let lines: Vec<String> = message.lines().map(printable).collect();
    let message = data(&lines.join("\n"));
    let title = data(&printable(title))
        .replace(':', "%3A")
        .replace(',', "%2C");
    format!("::{level} title={title}::{message}\n")
}

fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}
