//! The table, and the JSON beside it.

use std::fs;
use std::io::Write;
use std::path::Path;

use bcvk_testkit::drive::error::{Error, Result};
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use serde_json::{Value, json};

use super::criteria::{Criterion, judge};
use super::machine::Machine;
use super::metrics::{Samples, greatest, least, median};

/// Prints Markdown, so that the table can be kept in docs/performance.md as it is.
pub(super) fn print(machine: &Machine, samples: &Samples) -> Result<()> {
    let mut text = vec![machine.line(), numbers(samples).to_string()];
    let criteria = judge(samples);
    if !criteria.is_empty() {
        text.push(promises(&criteria).to_string());
    }
    writeln!(std::io::stdout(), "\n{}", text.join("\n\n")).map_err(Error::io("print the table"))
}

pub(super) fn write_json(path: &Path, machine: &Machine, samples: &Samples) -> Result<()> {
    let numbers: Vec<Value> = samples
        .all()
        .map(|(metric, seen)| {
            let (key, what) = metric.describe();
            json!({
                "key": key,
                "what": what,
                "unit": metric.unit().symbol(),
                "median": median(seen),
                "min": least(seen),
                "max": greatest(seen),
                "samples": seen,
            })
        })
        .collect();
    let document = json!({
        "machine": machine,
        "numbers": numbers,
        "criteria": judge(samples),
    });
    let text = format!("{document:#}\n");
    fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))
}

fn numbers(samples: &Samples) -> Table {
    let mut table = table(["what", "median", "min", "max", "", "n"]);
    for (metric, seen) in samples.all() {
        let unit = metric.unit();
        let format = |value: Option<f64>| value.map(|v| unit.format(v)).unwrap_or_default();
        table.add_row([
            metric.describe().1.to_owned(),
            format(median(seen)),
            format(least(seen)),
            format(greatest(seen)),
            unit.symbol().to_owned(),
            seen.len().to_string(),
        ]);
    }
    align(&mut table, [1, 2, 3, 5]);
    table
}

fn promises(criteria: &[Criterion]) -> Table {
    let mut table = table(["promise", "measured", "bound", "kept"]);
    for criterion in criteria {
        let digits = if criterion.unit == "MiB" { 1 } else { 2 };
        let measured = format!("{:.digits$} {}", criterion.measured, criterion.unit);
        table.add_row([
            criterion.what.to_owned(),
            measured.trim_end().to_owned(),
            criterion.bound.describe(criterion.unit),
            if criterion.met { "yes" } else { "**no**" }.to_owned(),
        ]);
    }
    align(&mut table, [1, 2]);
    table
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    table
}

fn align<const N: usize>(table: &mut Table, columns: [usize; N]) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
