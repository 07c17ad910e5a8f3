//! Judgement of a whole answer.

use std::fmt::Write as _;

use super::*;

/// Answer of a guest with a fault of each kind.
pub(super) const ANSWER: &str = include_str!("fixtures/faulty.txt");

/// Makes the answer of a guest whose commands all succeeded.
pub(super) fn said(manager: &str, units: &str, jobs: &str, journal: &str) -> String {
    let parts = [manager, units, jobs, journal];
    let parts = Source::ALL.into_iter().zip(parts);
    let text = parts.map(|(source, part)| format!("{part}\nbcvk-end {} 0\n", source.name()));
    text.collect()
}

fn limit() -> Duration {
    Duration::from_secs(120)
}

fn shown(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let fault = if finding.kind.is_fault() {
            "fault"
        } else {
            "note"
        };
        let (kind, subject) = (finding.kind.word(), &finding.subject);
        let _ = writeln!(text, "{fault} {kind}:{subject}: {}", finding.text);
        for line in &finding.lines {
            let _ = writeln!(text, "  | {line}");
        }
    }
    text
}

#[test]
fn faults_of_every_kind() {
    let findings = judge(&Facts::parse(ANSWER, false), limit());
    insta::assert_snapshot!(shown(&findings));
    let is_there = |kind: &Kind| findings.iter().any(|finding| finding.kind == *kind);
    let missing: Vec<Kind> = Kind::ALL.into_iter().filter(|k| !is_there(k)).collect();
    assert_eq!(missing, [Kind::SlowerBoot], "which the host knows");
}

#[test]
fn a_healthy_system_has_no_findings() {
    let journal = r#"
{"MESSAGE":"amd_pstate: the _CPC object is not present","PRIORITY":"4","SYSLOG_IDENTIFIER":"kernel","_TRANSPORT":"kernel"}
{"MESSAGE":"Write protecting the kernel read-only data: 28672k","PRIORITY":"6","SYSLOG_IDENTIFIER":"kernel","_TRANSPORT":"kernel"}
{"MESSAGE":"\"/home\" already exists and is not a directory.","PRIORITY":"4","SYSLOG_IDENTIFIER":"systemd-tmpfiles"}
{"MESSAGE":"touch: cannot touch '/run/virtiofs-mnt-src/a': Read-only file system","SYSLOG_IDENTIFIER":"touch","_SYSTEMD_UNIT":"a.service"}"#;
    let units = "\
Id=ssh.service
LoadState=loaded
ActiveState=active
SubState=running
Result=success
NRestarts=0
InactiveExitTimestampMonotonic=1000000
ActiveEnterTimestampMonotonic=2000000

Id=bcvk-failed.service
ActiveState=failed
FragmentPath=/run/systemd/system/bcvk-failed.service

Id=run-bcvk-x.mount
ActiveState=failed
FragmentPath=

Id=gone.service
LoadState=not-found
ActiveState=inactive";
    // A timer may have started something after the system was up.
    let jobs = "12 apt-daily.service start running";
    let answer = said("SystemState=running", units, jobs, journal);
    assert_eq!(judge(&Facts::parse(&answer, false), limit()), []);
    // bcvk's name does not excuse a unit of the image's.
    let own = answer.replace("=/run/systemd", "=/usr/lib/systemd");
    assert_eq!(judge(&Facts::parse(&own, false), limit()).len(), 1);
}

#[test]
fn what_waits_is_named_where_nothing_runs() {
    let jobs = "1 a.service start waiting\n2 bcvk-up.service start waiting";
    for (jobs, subject) in [(jobs, "a.service"), ("", "systemd")] {
        let answer = said("SystemState=starting", "Id=a.service", jobs, "{}");
        let findings = judge(&Facts::parse(&answer, false), limit());
        let subjects: Vec<&str> = findings.iter().map(|f| &*f.subject).collect();
        assert_eq!(subjects, [subject]);
        assert_eq!(findings[0].kind, Kind::EndlessJob);
    }
}

#[test]
fn findings_have_a_bound_and_come_once() {
    let unit = |i: usize| format!("Id=u{i}.service\nActiveState=failed\n\n");
    let units: String = (0..8000).chain([7]).map(unit).collect();
    let entry = |i: usize| {
        format!("{{\"MESSAGE\":\"Read-only file system\",\"_SYSTEMD_UNIT\":\"w{i}.service\"}}\n")
    };
    let journal: String = (0..8000).map(entry).collect();
    let answer = said("SystemState=degraded", &units, "", &journal);
    let findings = judge(&Facts::parse(&answer, false), limit());
    assert_eq!(findings.len(), 2 * (MAX_OF_KIND + 1));
    assert_eq!(findings[MAX_OF_KIND].subject, "others");
    assert!(findings[MAX_OF_KIND].text.starts_with("7950 more"));
}

#[test]
fn the_lines_of_a_finding_have_a_bound() {
    let entry = |message: &str| {
        format!(
            "{{\"MESSAGE\":\"{message}\",\"SYSLOG_IDENTIFIER\":\"systemd\",\"UNIT\":\"a.service\"}}\n"
        )
    };
    let mut journal = entry("a.service: Found ordering cycle on b.service/start");
    journal += &entry("a.service: Found dependency on a.service/start").repeat(100);
    journal +=
        &entry("a.service: Job b.service/start deleted to break ordering cycle x").repeat(100);
    let answer = said(
        "SystemState=degraded",
        "Id=a.service\nActiveState=failed",
        "",
        &journal,
    );
    let findings = judge(&Facts::parse(&answer, false), limit());
    let lines: Vec<usize> = findings.iter().map(|finding| finding.lines.len()).collect();
    assert_eq!(lines, [10, 15]);
    assert!(
        findings[1]
            .text
            .ends_with("systemd did not start b.service")
    );
}

#[test]
fn only_a_boot_that_was_much_slower_is_noted() {
    let seconds = Duration::from_secs;
    assert_eq!(slower(seconds(30), seconds(25)), None);
    assert_eq!(slower(seconds(3), seconds(1)), None, "a second is nothing");
    let finding = slower(seconds(31), seconds(20)).expect("slower");
    assert!(!finding.kind.is_fault());
    assert_eq!(
        finding.text,
        "ready after 31.0 s; the last time it was 20.0 s"
    );
}
