//! The results in Markdown, a row for each case. Pure.

use std::fmt::Write;

use super::host::{Facts, Report};

/// Line of a document before the table.
const BEGIN: &str = "<!-- BEGIN GENERATED TABLE -->\n";

/// Line of a document after it.
const END: &str = "<!-- END GENERATED TABLE -->\n";

/// Head of the table.
const HEAD: &str = "| host | podman | runtime | QEMU | as | what | result | when |\n\
                    |---|---|---|---|---|---|---|---|\n";

/// Number of columns.
const COLUMNS: usize = 8;

/// Columns that tell a row from others: host, user, case.
const KEY: [usize; 3] = [0, 4, 5];

type Row = [String; COLUMNS];

/// Returns the row of a report.
pub(super) fn row(facts: &Facts, report: &Report) -> Row {
    [
        facts.system.clone(),
        facts.podman.clone(),
        facts.runtime.clone(),
        facts.qemu.clone(),
        report.case.who.to_string(),
        report.case.what.clone(),
        report.cell(),
        facts.day.clone(),
    ]
}

/// Writes the table.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = HEAD.to_owned();
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// Puts new rows into the table of a document. They replace those of the same case; the others stay.
/// `None` if the document has no place for it.
pub(super) fn recorded(document: &str, new: &[Row]) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (old, after) = rest.split_once(END)?;
    let key = |row: &Row| KEY.map(|column| row[column].clone());
    let mut rows = parse(old);
    for row in new {
        match rows.iter_mut().find(|old| key(old) == key(row)) {
            Some(old) => old.clone_from(row),
            None => rows.push(row.clone()),
        }
    }
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", table(&rows)))
}

/// Reads the rows of a table that [`table`] has written.
fn parse(text: &str) -> Vec<Row> {
    let row = |line: &str| -> Option<Row> {
        let cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        let cells: Vec<String> = cells.map(str::to_owned).collect();
        cells.try_into().ok()
    };
    text.lines().filter_map(row).skip(1).collect()
}

#[cfg(test)]
mod tests {
    use super::super::HOSTS;
    use super::*;

    fn document() -> String {
        std::fs::read_to_string(HOSTS).expect("the document")
    }

    #[test]
    fn the_document_has_the_table_as_it_is_written() {
        let document = document();
        let again = recorded(&document, &[]).expect("marks");
        assert!(again == document, "{again}");
    }

    #[test]
    fn a_result_replaces_that_of_its_case_and_no_other() {
        let row = |what: &str, result: &str| -> Row {
            [
                "Host 1",
                "5",
                "crun",
                "10",
                "root",
                what,
                result,
                "2026-01-01",
            ]
            .map(str::to_owned)
        };
        let rows = [row("a", "FAILED"), row("b", "ok, 2 s")];
        let document = format!("text\n{BEGIN}{END}end\n");
        let first = recorded(&document, &rows).expect("marks");
        let second = recorded(&first, &[row("a", "ok, 1 s"), row("c", "ok, 3 s")]).expect("marks");
        let expected = [
            row("a", "ok, 1 s"),
            row("b", "ok, 2 s"),
            row("c", "ok, 3 s"),
        ];
        assert_eq!(parse(&second), expected);
        assert!(second.starts_with("text\n") && second.ends_with("end\n"));
        assert_eq!(recorded("no marks", &rows), None);
    }
}
