//! `torture hosts`: bcvk on other hosts, each of which is a VM of bcvk. The table goes into docs/hosts.md.

mod case;
mod host;
mod table;

use std::fs;
use std::panic;

use bcvk_testkit::Sandbox;
use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::{interrupt, say};
use clap::Args;

use case::Case;
use host::{Host, Report};

/// The document with the table.
const HOSTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/hosts.md");

/// Options that choose the cases.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Boot one VM as an ordinary user, and resume it
    #[arg(long)]
    short: bool,

    /// Put the results into the table of docs/hosts.md, beside those of cases that are not made
    #[arg(long)]
    record: bool,
}

/// Makes the cases on each host.
#[allow(clippy::print_stdout, reason = "the table is what was asked for")]
pub(crate) fn run(options: &Options) -> Result<()> {
    let cases = if options.short {
        case::short()
    } else {
        case::all()
    };
    let sandbox = Sandbox::new();
    say("booting the host");
    let host = Host::boot(&sandbox);
    // A failure in a case is reported with the case.
    panic::set_hook(Box::new(|_| {}));
    let reports = make(&host, &cases);
    let _ = panic::take_hook();
    let rows: Vec<_> = reports
        .iter()
        .map(|report| table::row(&host.facts, report))
        .collect();
    host.end();
    sandbox.finish();
    println!("{}", table::table(&rows));
    if options.record {
        let document = fs::read_to_string(HOSTS).map_err(Error::io(format!("read {HOSTS}")))?;
        let document = table::recorded(&document, &rows).expect("a test looks for the marks");
        fs::write(HOSTS, document).map_err(Error::io(format!("write {HOSTS}")))?;
    }
    interrupt::check()?;
    match reports
        .iter()
        .filter(|report| report.result.is_err())
        .count()
    {
        0 => Ok(()),
        failed => Err(Error::Torture {
            failed,
            all: reports.len(),
        }),
    }
}

/// Makes the cases one after the other: each needs all of the host. There are fewer after an interrupt.
fn make(host: &Host<'_>, cases: &[Case]) -> Vec<Report> {
    let mut reports: Vec<Report> = Vec::new();
    for case in cases {
        if interrupt::check().is_err() {
            break;
        }
        let other = |made: &Report| made.case.who.is_root() != case.who.is_root();
        if reports.iter().all(other) {
            host.load_image(case.who);
        }
        let report = host.make(case);
        say(&report.to_string());
        reports.push(report);
    }
    reports
}
