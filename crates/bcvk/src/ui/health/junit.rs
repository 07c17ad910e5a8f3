//! The verdict as JUnit XML, which CI services show as tests.

use std::fmt::Write as _;

use bcvk_host::health::{Finding, Kind};

use super::{Judged, Verdict, Weight};
use crate::ui::xml::escaped;

impl Verdict<'_> {
    /// Returns a report with a test case for each fault and one for each kind of fault that there is
    /// none of. What is allowed or could not be looked at is skipped; notes are the suite's output.
    pub(crate) fn junit(&self) -> String {
        let cases = self.cases();
        let count = |skipped: &str| cases.iter().filter(|case| case.has(skipped)).count();
        let (failures, skipped) = (count("failure"), count("skipped"));
        let time = self.ready.unwrap_or_default().as_secs_f64();
        let counts = format!(
            "tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"{time:.3}\"",
            cases.len()
        );
        let image = escaped(self.image.1);
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        // Writing into a String cannot fail.
        let _ = writeln!(xml, "<testsuites name=\"bcvk ephemeral check\" {counts}>");
        let _ = writeln!(xml, "  <testsuite name=\"{image}\" {counts}>");
        for case in &cases {
            let name = escaped(&case.name);
            let begin = format!("    <testcase classname=\"{image}\" name=\"{name}\" time=\"0\"");
            let Some(outcome) = &case.outcome else {
                let _ = writeln!(xml, "{begin}/>");
                continue;
            };
            let (element, message) = (outcome.element, escaped(&outcome.message));
            let lines = lines(&outcome.lines);
            let _ = writeln!(xml, "{begin}>");
            let _ = write!(xml, "      <{element} message=\"{message}\"");
            if lines.is_empty() {
                let _ = writeln!(xml, "/>");
            } else {
                let _ = writeln!(xml, ">{lines}</{element}>");
            }
            let _ = writeln!(xml, "    </testcase>");
        }
        let notes = self
            .of(Weight::Note)
            .map(|note| named(note) + ": " + &note.text);
        let notes: Vec<String> = notes.chain([self.summary()]).collect();
        let notes = lines(&notes);
        let _ = writeln!(xml, "    <system-out>{notes}</system-out>");
        xml.push_str("  </testsuite>\n</testsuites>\n");
        xml
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_fault()) {
            let of_kind = self.findings.iter().filter(|j| j.finding.kind == kind);
            let before = cases.len();
            cases.extend(of_kind.map(Case::of));
            if let Some(unseen) = self.unseen(kind) {
                cases.push(Case {
                    name: format!("no {}", kind.name()),
                    outcome: Some(Outcome {
                        element: "skipped",
                        message: unseen.reason.clone(),
                        lines: Vec::new(),
                    }),
                });
            } else if cases.len() == before {
                cases.push(Case {
                    name: format!("no {}", kind.name()),
                    outcome: None,
                });
            }
        }
        cases
    }
}

/// A test case; one without an outcome has passed.
struct Case {
    name: String,
    outcome: Option<Outcome>,
}

struct Outcome {
    element: &'static str,
    message: String,
    lines: Vec<String>,
}

impl Case {
    fn of(judged: &Judged<'_>) -> Self {
        let finding = &judged.finding;
        let outcome = match judged.allowed {
            Some(pattern) => Outcome {
                element: "skipped",
                message: format!("allowed by {pattern}: {}", finding.text),
                lines: Vec::new(),
            },
            None => Outcome {
                element: "failure",
                message: finding.text.clone(),
                lines: finding.lines.clone(),
            },
        };
        Self {
            name: named(finding),
            outcome: Some(outcome),
        }
    }

    fn has(&self, element: &str) -> bool {
        let outcome = self.outcome.as_ref();
        outcome.is_some_and(|outcome| outcome.element == element)
    }
}

fn named(finding: &Finding) -> String {
    format!("{}: {}", finding.kind.name(), finding.subject)
}

/// Writes lines as the text of an element.
fn lines(lines: &[String]) -> String {
    let escaped: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
    escaped.join("\n")
}
