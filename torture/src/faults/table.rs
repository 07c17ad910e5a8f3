//! The matrix in Markdown: a row for each fault of each part, a column for each moment. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::case::{Case, Fault, MOMENTS, Moment, Subject};
use super::run::Report;

/// Line of a document before the matrix.
const BEGIN: &str = "<!-- BEGIN GENERATED MATRIX -->\n";

/// Line of a document after it.
const END: &str = "<!-- END GENERATED MATRIX -->\n";

/// Cell of a case that cannot be made.
const IMPOSSIBLE: &str = "–";

/// Results by row and column. A case that has not been made has none.
#[derive(Debug, Default)]
struct Matrix {
    cells: BTreeMap<(String, String), String>,
}

impl Matrix {
    /// Reads a matrix that [`Matrix::text`] has written. Rows and columns that there are no longer are left
    /// out when it is written again.
    fn parse(text: &str) -> Self {
        let row = |line: &str| -> Option<Vec<String>> {
            let cells = line.strip_prefix("| ")?.strip_suffix('|')?.split('|');
            Some(cells.map(|cell| cell.trim().to_owned()).collect())
        };
        let mut rows = text.lines().filter_map(row);
        let moments = rows.next().unwrap_or_default();
        let mut matrix = Self::default();
        for cells in rows {
            let [subject, fault, results @ ..] = cells.as_slice() else {
                continue;
            };
            for (moment, result) in moments.iter().skip(2).zip(results) {
                let key = (format!("{subject} {fault}"), moment.clone());
                let _ = matrix.cells.insert(key, result.clone());
            }
        }
        matrix
    }

    fn add(&mut self, case: Case, cell: String) {
        let _ = self.cells.insert(key(case), cell);
    }

    fn text(&self, rows: &[(Subject, Fault)]) -> String {
        let mut text = String::from("| part | what |");
        for moment in MOMENTS {
            let _ = write!(text, " {moment} |");
        }
        let _ = writeln!(text, "\n|---|---|{}", "---|".repeat(MOMENTS.len()));
        for &(subject, fault) in rows {
            let _ = write!(text, "| {subject} | {fault} |");
            for moment in MOMENTS {
                let _ = write!(text, " {} |", self.cell(subject, fault, moment));
            }
            text.push('\n');
        }
        text
    }

    fn cell(&self, subject: Subject, fault: Fault, moment: Moment) -> &str {
        let case = Case {
            subject,
            moment,
            fault,
        };
        if case.obstacle().is_some() {
            return IMPOSSIBLE;
        }
        self.cells.get(&key(case)).map_or("", String::as_str)
    }
}

fn key(case: Case) -> (String, String) {
    let row = format!("{} {}", case.subject, case.fault);
    (row, case.moment.to_string())
}

/// Writes the table. A cell is the exit code, the seconds from the fault to the command's end, and
/// whether that was right. Below are the words that came with the codes, and why some cases were
/// not made.
pub(super) fn table(reports: &[Report], impossible: &[Case]) -> String {
    let mut matrix = Matrix::default();
    for report in reports {
        matrix.add(report.case, report.cell());
    }
    let cases = reports.iter().map(|report| report.case);
    let mut text = matrix.text(&rows(cases.chain(impossible.iter().copied())));
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

/// Puts new results, each a case and its cell, into the matrix of a document, and keeps the other results.
/// `None` if the document has no place for it.
pub(super) fn recorded(
    document: &str,
    results: impl IntoIterator<Item = (Case, String)>,
) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (old, after) = rest.split_once(END)?;
    let mut matrix = Matrix::parse(old);
    for (case, cell) in results {
        matrix.add(case, cell);
    }
    let text = matrix.text(&rows(Case::all()));
    Some(format!("{before}{BEGIN}\n{text}\n{END}{after}"))
}

fn rows(cases: impl IntoIterator<Item = Case>) -> Vec<(Subject, Fault)> {
    let mut rows = Vec::new();
    for case in cases {
        let row = (case.subject, case.fault);
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::RELIABILITY;
    use super::*;

    fn document() -> String {
        std::fs::read_to_string(RELIABILITY).expect("the document")
    }

    #[test]
    fn the_document_has_the_matrix_as_it_is_written() {
        let document = document();
        let again = recorded(&document, []).expect("marks");
        assert!(again == document, "{again}");
    }

    #[test]
    fn a_result_replaces_its_own_cell_and_no_other() {
        let document = document();
        let case = Case {
            subject: Subject::Qemu,
            moment: Moment::Resuming,
            fault: Fault::Kill,
        };
        let changed = recorded(&document, [(case, "7, 0.1 s".to_owned())]).expect("marks");
        let differ = changed
            .lines()
            .zip(document.lines())
            .filter(|(a, b)| a != b);
        let differ: Vec<(&str, &str)> = differ.collect();
        let [(new, old)] = differ.as_slice() else {
            panic!("{differ:?}");
        };
        assert!(new.starts_with("| QEMU | SIGKILL |") && new.ends_with("| 7, 0.1 s |"));
        let kept = |line: &str| {
            line.rsplit(" | ")
                .skip(1)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(new), kept(old));
        assert_eq!(recorded("no marks", []), None);
    }

    #[test]
    fn every_cell_is_a_result_of_a_case() {
        let document = document();
        let (_, rest) = document.split_once(BEGIN).expect("a mark");
        let (old, _) = rest.split_once(END).expect("a mark");
        let matrix = Matrix::parse(old);
        for case in Case::all() {
            let cell = &matrix.cells[&key(case)];
            let (code, seconds) = cell.split_once(", ").unwrap_or((cell, "0 s"));
            let seconds = seconds.strip_suffix(" s").expect("seconds");
            let _: f32 = seconds.parse().expect("seconds");
            match code {
                IMPOSSIBLE => assert!(case.obstacle().is_some(), "{case:?}"),
                // Not made yet, or by an earlier program.
                "" | "ok" => {}
                code => assert!(code.parse::<u8>().is_ok(), "{case:?}: {cell}"),
            }
        }
    }
}
