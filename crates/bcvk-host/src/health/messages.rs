//! Judgement of the journal.

use super::facts::Facts;
use super::journal::Entry;
use super::{Finding, Kind};

/// Lines of the kernel's that are shown after the one which begins a fault.
const TRACE: usize = 15;

/// Messages that are shown of a service which was refused writes.
const REFUSALS: usize = 10;

/// Most services that are kept with the writes that they were refused.
const REFUSED: usize = 200;

/// Lowest priority of an error (`syslog(3)`, LOG_ERR).
const ERR: u8 = 3;

/// Words by which the kernel says that it is broken, or has ended a process.
const FAULTS: [&str; 10] = [
    "BUG: ",
    "kernel BUG at ",
    "Oops: ",
    "general protection fault",
    "Kernel panic",
    "UBSAN: ",
    "Unable to handle kernel",
    "invalid opcode: 0000",
    "Out of memory: Killed process",
    "Memory cgroup out of memory: Killed process",
];

/// Words of faults that a host without time for its guest causes.
const STALLS: [&str; 5] = [
    "soft lockup",
    "hard LOCKUP",
    "detected stall",
    "detected expedited stall",
    "blocked for more than",
];

/// Beginning of what the kernel says of a process that crashed, which is no fault of its own.
const CRASH: &str = "traps: ";

/// Message of a write that was refused (`strerror(3)`, EROFS).
const READ_ONLY: &str = "Read-only file system";

/// Directory of shares, whose user decides whether they can be written.
const SHARES: &str = "/run/virtiofs-mnt-";

/// Judges the journal.
pub(super) fn judge_journal(facts: &Facts) -> Vec<Finding> {
    let mut findings = cycles(&facts.journal);
    findings.extend(kernel(&facts.journal));
    findings.extend(facts.journal.iter().filter_map(missing));
    findings.extend(refused_writes(&facts.journal));
    findings
}

/// Finds ordering cycles. systemd tells each in several entries, the first of which begins it.
fn cycles(journal: &[Entry]) -> Vec<Finding> {
    let mut cycles: Vec<Finding> = Vec::new();
    let of_systemd = journal.iter().filter(|entry| entry.program == "systemd");
    for Entry { message, .. } in of_systemd {
        if message.contains("Found ordering cycle") {
            cycles.push(Finding {
                kind: Kind::OrderingCycle,
                subject: message.split(':').next().unwrap_or_default().to_owned(),
                text: "units wait for each other".to_owned(),
                lines: vec![message.clone()],
            });
        }
        let Some(cycle) = cycles.last_mut() else {
            continue;
        };
        let job = job_deleted(message);
        if let Some(job) = job {
            cycle.text = format!("units wait for each other; systemd did not start {job}");
        }
        let is_of_cycle = job.is_some() || message.contains("Found dependency on ");
        if is_of_cycle && cycle.lines.len() < TRACE {
            cycle.lines.push(message.clone());
        }
    }
    cycles
}

/// Returns the unit whose job was deleted, from `UNIT: Job JOB/start deleted to break ordering cycle …`.
fn job_deleted(message: &str) -> Option<&str> {
    let (job, _) = message.split_once(" deleted to break ordering cycle ")?;
    let (_, job) = job.split_once("Job ")?;
    let (unit, _) = job.split_once('/')?;
    Some(unit)
}

/// Finds what the kernel says of itself: faults with the lines that follow, and errors.
fn kernel(journal: &[Entry]) -> Vec<Finding> {
    let lines: Vec<&Entry> = journal.iter().filter(|entry| entry.kernel).collect();
    let mut findings: Vec<Finding> = Vec::new();
    let mut at = 0;
    while let Some(entry) = lines.get(at) {
        at += 1;
        let kind = match &*entry.message {
            _ if missing(entry).is_some() => continue,
            message if STALLS.iter().any(|words| message.contains(words)) => Kind::KernelError,
            message if is_fault(message) => Kind::KernelFault,
            _ if entry.priority <= ERR => Kind::KernelError,
            _ => continue,
        };
        let mut trace = Vec::new();
        if kind == Kind::KernelFault {
            let rest = lines[at..].iter();
            let end = |entry: &&&Entry| entry.message.starts_with("---[ end trace");
            let length = rest.clone().take(100).position(|e| end(&e));
            // Without an end there is no trace, but one line.
            let length = length.unwrap_or(0);
            trace.extend(rest.take(length.min(TRACE)).map(|e| e.message.clone()));
            at += length;
        }
        findings.push(Finding {
            kind,
            subject: "kernel".to_owned(),
            text: entry.message.clone(),
            lines: trace,
        });
    }
    findings
}

fn is_fault(message: &str) -> bool {
    // WARN() prints the place of the code (include/asm-generic/bug.h).
    let is_warning = message.starts_with("WARNING: ") && message.contains(" at ");
    let has_words = || FAULTS.iter().any(|words| message.contains(words));
    is_warning || has_words() && !message.starts_with(CRASH)
}

/// Finds a module or firmware that something asks for in vain.
fn missing(entry: &Entry) -> Option<Finding> {
    let message = &*entry.message;
    let (kind, name) = if entry.kernel {
        let name = between(message, "Direct firmware load for ", " failed")
            .or_else(|| between(message, "firmware: failed to load ", " ("))?;
        (Kind::MissingFirmware, name)
    } else {
        let name = between(message, "Failed to find module '", "'")
            .or_else(|| between(message, "FATAL: Module ", " not found"))?;
        (Kind::MissingModule, name)
    };
    let asker = if entry.kernel {
        entry.message.split([':', ' ']).next().unwrap_or_default()
    } else {
        asker(entry)
    };
    Some(Finding {
        kind,
        subject: name.to_owned(),
        text: format!("{asker} asks for it"),
        lines: vec![entry.line()],
    })
}

/// Returns the unit of an entry, or its program if it has none.
fn asker(entry: &Entry) -> &str {
    if entry.unit.is_empty() {
        &entry.program
    } else {
        &entry.unit
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    let (found, _) = rest.split_once(after)?;
    Some(found).filter(|found| !found.is_empty())
}

/// Finds services that were refused a write: one finding for each, with the files that it names.
fn refused_writes(journal: &[Entry]) -> Vec<Finding> {
    let mut findings: Vec<(Finding, Vec<&str>)> = Vec::new();
    for entry in journal.iter().filter(|entry| !entry.kernel) {
        let Some((before, _)) = entry.message.split_once(READ_ONLY) else {
            continue;
        };
        let file = file(before);
        if file.is_some_and(|file| file.starts_with(SHARES)) || entry.unit.starts_with("bcvk-") {
            continue;
        }
        let subject = asker(entry);
        let place = findings.iter().position(|(f, _)| f.subject == subject);
        if place.is_none() && findings.len() == REFUSED {
            continue;
        }
        let place = place.unwrap_or_else(|| {
            let finding = Finding {
                kind: Kind::RefusedWrite,
                subject: subject.to_owned(),
                text: String::new(),
                lines: Vec::new(),
            };
            findings.push((finding, Vec::new()));
            findings.len() - 1
        });
        let (finding, files) = &mut findings[place];
        if finding.lines.len() < REFUSALS {
            finding.lines.push(entry.line());
            files.extend(file.filter(|file| !files.contains(file)));
        }
    }
    let named = findings.into_iter().map(|(finding, files)| {
        let text = match &files[..] {
            [] => "it wants to write to a read-only file system".to_owned(),
            files => format!("it cannot write {}", files.join(", ")),
        };
        Finding { text, ..finding }
    });
    named.collect()
}

/// Returns the last path in a message, which is the one that it complains of.
fn file(message: &str) -> Option<&str> {
    let is_end = |c: char| c.is_whitespace() || "'\"`‘’“”(),;".contains(c);
    let mut words = message.split(is_end).map(|word| word.trim_end_matches(':'));
    words.rfind(|word| word.starts_with('/') && word.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_path_is_the_one_that_was_refused() {
        for (message, expected) in [
            ("touch: cannot touch '/usr/lib/a': ", Some("/usr/lib/a")),
            ("/bin/sh: 1: cannot create /usr/b: ", Some("/usr/b")),
            ("open(\"/etc/c\", O_WRONLY): ", Some("/etc/c")),
            ("mkdir: cannot create ‘/opt/d’: ", Some("/opt/d")),
            ("write: ", None),
        ] {
            assert_eq!(file(message), expected, "{message}");
        }
    }
    #[test]
    fn the_kernel_is_at_fault_where_its_authors_say_so() {
        for (message, expected) in [
            (
                "BUG: kernel NULL pointer dereference, address: 0",
                Some(Kind::KernelFault),
            ),
            (
                "WARNING: CPU: 0 PID: 1 at mm/x.c:1 f+0x1/0x2",
                Some(Kind::KernelFault),
            ),
            (
                "WARNING: kernel/x.c:1 at f+0x1/0x2, CPU#0",
                Some(Kind::KernelFault),
            ),
            (
                "Oops: general protection fault: 0000 [#1]",
                Some(Kind::KernelFault),
            ),
            (
                "Out of memory: Killed process 7 (x)",
                Some(Kind::KernelFault),
            ),
            (
                "rcu: INFO: rcu_preempt self-detected stall on CPU",
                Some(Kind::KernelError),
            ),
            (
                "INFO: task x:7 blocked for more than 120 seconds.",
                Some(Kind::KernelError),
            ),
            ("traps: x[7] general protection fault ip:1", None),
            ("x86/bugs: Spectre V2: mitigation installed", None),
            ("Spectre V2 : WARNING: Unprivileged eBPF is enabled", None),
        ] {
            let entry = Entry {
                priority: 6,
                kernel: true,
                message: message.to_owned(),
                ..Entry::default()
            };
            let found = kernel(&[entry]);
            let found = found.first().map(|finding| finding.kind);
            assert_eq!(found, expected, "{message}");
        }
    }
}
