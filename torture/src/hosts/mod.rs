//! `torture hosts`: bcvk on other hosts, each of which is a VM of bcvk. The table goes into docs/hosts.md.

mod case;
mod cases;
mod host;
mod table;

use std::fs;
use std::panic;

use bcvk_testkit::Sandbox;
use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::drive::{interrupt, say};
use clap::{Args, ValueEnum};

use case::Case;
use host::{Facts, Host, Report, System};

/// The document with the table.
const HOSTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/hosts.md");

/// Options that choose the cases.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Boot one VM as an ordinary user, and resume it
    #[arg(long)]
    short: bool,

    /// Only on this host
    #[arg(long)]
    system: Option<System>,

    /// Only cases that have this in their name or their user, and the boots that they need
    #[arg(long, value_name = "TEXT")]
    case: Vec<String>,

    /// Put the results into the table of docs/hosts.md, beside those of cases that are not made
    #[arg(long)]
    record: bool,
}

/// Makes the cases on each host.
#[allow(clippy::print_stdout, reason = "the table is what was asked for")]
pub(crate) fn run(options: &Options) -> Result<()> {
    let systems: Vec<System> = match options.system {
        Some(system) => vec![system],
        None if options.short => vec![System::Trixie],
        None => System::value_variants().to_vec(),
    };
    let mut cases = if options.short {
        cases::short()
    } else {
        cases::all()
    };
    if !options.case.is_empty() {
        cases = chosen(cases, &options.case);
    }
    let mut rows = Vec::new();
    let mut failed = 0;
    for system in systems {
        let (facts, reports) = make_on(system, &cases);
        rows.extend(reports.iter().map(|report| table::row(&facts, report)));
        failed += reports.iter().filter(|made| made.result.is_err()).count();
    }
    println!("{}", table::table(&rows));
    if options.record {
        let document = fs::read_to_string(HOSTS).map_err(Error::io(format!("read {HOSTS}")))?;
        let document = table::recorded(&document, &rows).expect("a test looks for the marks");
        fs::write(HOSTS, document).map_err(Error::io(format!("write {HOSTS}")))?;
    }
    interrupt::check()?;
    match failed {
        0 => Ok(()),
        failed => Err(Error::Torture {
            failed,
            all: rows.len(),
        }),
    }
}

/// Makes the cases one after the other: each needs all of the host. There are fewer after an interrupt.
fn make_on(system: System, cases: &[Case]) -> (Facts, Vec<Report>) {
    let sandbox = Sandbox::new();
    say("booting the host");
    let mut host = Host::boot(&sandbox, system);
    // A failure in a case is reported with the case.
    panic::set_hook(Box::new(|_| {}));
    let mut reports: Vec<Report> = Vec::new();
    for case in cases {
        if interrupt::check().is_err() {
            break;
        }
        if case.resumes() && reports.iter().any(|made| made.lacks_snapshot(case)) {
            say(&format!(
                "{}, {}: not made without a snapshot",
                case.who, case.what
            ));
            continue;
        }
        let report = host.make(case);
        say(&report.to_string());
        reports.push(report);
    }
    let _ = panic::take_hook();
    let facts = host.facts.clone();
    host.end();
    sandbox.finish();
    (facts, reports)
}

/// Returns the cases of which one of `texts` is a part, and the boots of their users.
fn chosen(mut cases: Vec<Case>, texts: &[String]) -> Vec<Case> {
    let wanted = |case: &Case| {
        let name = format!("{}, {}", case.who, case.what);
        texts.iter().any(|text| name.contains(text))
    };
    let roots: Vec<bool> = cases
        .iter()
        .filter(|case| wanted(case))
        .map(|case| case.who.is_root())
        .collect();
    let needed = |case: &Case| case.what == cases::SAVES && roots.contains(&case.who.is_root());
    cases.retain(|case| wanted(case) || needed(case));
    cases
}
