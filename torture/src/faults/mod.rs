//! `torture faults`: the fate of a VM when a part of it dies or stops. The table goes into
//! docs/reliability.md.

mod case;
mod run;
mod table;

use std::fs;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::interrupt;
use bcvk_testkit::drive::say;
use bcvk_testkit::{Sandbox, images};
use case::{Case, Fault, Moment, Subject};
use clap::Args;
use run::Report;

/// The document with the matrix.
const RELIABILITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reliability.md");

/// Options that choose the cases.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Kill each part once early and once late, and no more
    #[arg(long)]
    short: bool,

    /// Only what happens to this part
    #[arg(long)]
    subject: Option<Subject>,

    /// Only what happens then
    #[arg(long)]
    moment: Option<Moment>,

    /// Only this
    #[arg(long)]
    fault: Option<Fault>,

    /// Put the results into the matrix of docs/reliability.md, beside those of cases that are not made
    #[arg(long)]
    record: bool,

    /// How many cases to make at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// Makes the cases beside a VM that must not notice.
#[allow(clippy::print_stdout, reason = "the table is what was asked for")]
pub(crate) fn run(options: &Options) -> Result<()> {
    let (cases, impossible): (Vec<Case>, Vec<Case>) = Case::all()
        .into_iter()
        .filter(|case| !options.short || case.is_short())
        .filter(|case| options.subject.is_none_or(|wanted| wanted == case.subject))
        .filter(|case| options.moment.is_none_or(|wanted| wanted == case.moment))
        .filter(|case| options.fault.is_none_or(|wanted| wanted == case.fault))
        .partition(|case| case.obstacle().is_none());
    let sandbox = Sandbox::new();
    let neighbour = sandbox.boot("neighbour", &["--rm"], images::trixie());
    neighbour.sh("echo before >/run/before");
    // A failure in a case is reported with the case.
    panic::set_hook(Box::new(|_| {}));
    let reports = run_all(&cases, options.jobs);
    let _ = panic::take_hook();
    assert_eq!(neighbour.sh("cat /run/before"), "before", "the neighbour");
    neighbour.discard();
    sandbox.finish();

    println!("{}", table::table(&reports, &impossible));
    if options.record {
        record(&reports)?;
    }
    interrupt::check()?;
    let failed = reports.iter().filter(|report| !report.passed()).count();
    if failed == 0 {
        Ok(())
    } else {
        Err(Error::Torture {
            failed,
            all: reports.len(),
        })
    }
}

/// Puts the results into the document, those that have failed as well.
fn record(reports: &[Report]) -> Result<()> {
    let document =
        fs::read_to_string(RELIABILITY).map_err(Error::io(format!("read {RELIABILITY}")))?;
    let results = reports.iter().map(|report| (report.case, report.cell()));
    let document = table::recorded(&document, results).expect("a test looks for the marks");
    fs::write(RELIABILITY, document).map_err(Error::io(format!("write {RELIABILITY}")))
}

/// Runs the cases and returns the reports in their order, however many are made at a time. There
/// are fewer after an interrupt.
fn run_all(cases: &[Case], jobs: usize) -> Vec<Report> {
    let next = AtomicUsize::new(0);
    let reports: Vec<Mutex<Option<Report>>> = cases.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while interrupt::check().is_ok() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else {
                        return;
                    };
                    let report = run::run(*case, images::trixie());
                    say(&format!("{}/{} {report}", number + 1, cases.len()));
                    *reports[number]
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) = Some(report);
                }
            });
        }
    });
    reports
        .into_iter()
        .filter_map(|report| report.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect()
}
