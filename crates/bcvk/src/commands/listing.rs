//! Lists as their users want them: a table, JSON, IDs alone, or lines of their own layout.

use serde::Serialize;
use serde_json::Value;

use crate::cli::{Format, Listing, NoSuchKey, Template};
use crate::error::{CommandError, UsageError};
use crate::ui::{self, Ui};

/// Hexadecimal digits of an ID that podman shows.
const SHORT_ID: usize = 12;

/// One entry of a list; its own JSON is that of `--json`.
pub(super) trait Entry: Serialize {
    /// Headings of the table's columns.
    const HEADINGS: &'static [&'static str];

    /// Returns the whole ID.
    fn id(&self) -> &str;

    /// Returns the rows of the table.
    fn rows(&self, whole_ids: bool) -> Vec<Vec<String>>;

    /// Returns the values that a template has, by podman's keys, for an entry of the table each.
    fn values(&self, whole_ids: bool) -> Vec<Value>;
}

/// Checks a template before anything is asked; `example` is an entry.
pub(super) fn check(listing: &Listing, example: &impl Entry) -> Result<(), CommandError> {
    if let Some(Format::Template(template)) = &listing.format {
        for values in example.values(false) {
            template
                .check(&values)
                .map_err(|error| no_such_key(&error))?;
        }
    }
    Ok(())
}

fn no_such_key(error: &NoSuchKey) -> UsageError {
    UsageError::Template(error.to_string())
}

/// Prints a list.
pub(super) fn show<E: Entry>(
    entries: &[E],
    listing: &Listing,
    ui: &Ui,
) -> Result<(), CommandError> {
    let whole = listing.no_trunc;
    if listing.ids.alone {
        show_ids(entries.iter().map(Entry::id), whole);
        return Ok(());
    }
    match &listing.format {
        _ if listing.form.json => ui.json(&entries),
        Some(Format::Json) => ui.json(&entries),
        Some(Format::Template(template)) => {
            let values: Vec<Value> = entries.iter().flat_map(|e| e.values(whole)).collect();
            show_lines(template, &values, listing.noheading)
        }
        Some(Format::Table) | None => {
            let rows = entries.iter().flat_map(|entry| entry.rows(whole));
            print_table(E::HEADINGS, rows, listing.noheading);
            Ok(())
        }
    }
}

/// Prints IDs, one a line.
pub(super) fn show_ids<'a>(ids: impl Iterator<Item = &'a str>, whole: bool) {
    let lines: String = ids.map(|id| format!("{}\n", shown_id(id, whole))).collect();
    ui::print(&lines);
}

/// Prints a line for each value, as the user laid it out.
pub(super) fn show_lines(
    template: &Template,
    values: &[Value],
    without_heading: bool,
) -> Result<(), CommandError> {
    if template.table {
        let rows = values.iter().map(|value| template.cells(value));
        let rows: Vec<Vec<String>> = rows
            .collect::<Result<_, _>>()
            .map_err(|error| no_such_key(&error))?;
        let headings = template.headings();
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        print_table(&headings, rows, without_heading);
        return Ok(());
    }
    let lines = values.iter().map(|value| Ok(template.line(value)? + "\n"));
    let lines: String = lines
        .collect::<Result<_, _>>()
        .map_err(|error| no_such_key(&error))?;
    ui::print(&lines);
    Ok(())
}

fn print_table(
    headings: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
    without_heading: bool,
) {
    let text = ui::table(headings, rows);
    let lines = if without_heading {
        text.split_once('\n').map_or("", |(_, lines)| lines)
    } else {
        &text
    };
    ui::print(lines);
}

/// Shortens an ID as podman does, unless it is wanted whole.
pub(super) fn shown_id(id: &str, whole: bool) -> String {
    let digits = if whole { usize::MAX } else { SHORT_ID };
    id.chars().take(digits).collect()
}
