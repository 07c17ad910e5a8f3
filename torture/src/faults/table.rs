//! The matrix in Markdown: a row for each fault of each part, a column for each moment. Pure.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::case::{Case, Fault, MOMENTS, Subject};
use super::run::Report;

/// Writes the table. A cell is the exit code, the seconds from the fault to the command's end, and
/// whether that was right. Below are the words that came with the codes, and why some cases were
/// not made.
pub(super) fn table(reports: &[Report], impossible: &[Case]) -> String {
    let mut text = String::from("| part | what |");
    for moment in MOMENTS {
        let _ = write!(text, " {moment} |");
    }
    let _ = writeln!(text, "\n|---|---|{}", "---|".repeat(MOMENTS.len()));
    for (subject, fault) in rows(reports, impossible) {
        let _ = write!(text, "| {subject} | {fault} |");
        for moment in MOMENTS {
            let case = Case {
                subject,
                moment,
                fault,
            };
            let report = reports.iter().find(|report| report.case == case);
            let cell = match report {
                Some(report) => report.cell(),
                None if case.obstacle().is_some() => "–".to_owned(),
                None => String::new(),
            };
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text.push('\n');
    let said: BTreeSet<String> = reports.iter().filter_map(Report::said).collect();
    for line in said {
        let _ = writeln!(text, "- `{line}`");
    }
    text.push('\n');
    let why: BTreeSet<String> = impossible
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case.moment, case.obstacle()?)))
        .collect();
    for line in why {
        let _ = writeln!(text, "- –, {line}");
    }
    text
}

fn rows(reports: &[Report], impossible: &[Case]) -> Vec<(Subject, Fault)> {
    let mut rows = Vec::new();
    for case in reports.iter().map(|r| &r.case).chain(impossible) {
        let row = (case.subject, case.fault);
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows
}
