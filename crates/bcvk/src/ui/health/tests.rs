//! The verdict in every form.

use bcvk_host::health::{Facts, judge};

use super::*;

fn finding(kind: Kind, subject: &str, text: &str, lines: &[&str]) -> Finding {
    Finding {
        kind,
        subject: subject.to_owned(),
        text: text.to_owned(),
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
    }
}

fn findings() -> Vec<Finding> {
    vec![
        finding(
            Kind::FailedUnit,
            "a\"b.service",
            "its process exited with code 3",
            &["sh: <b>&]]>%0A", "::error::x", "##[error]y", "````"],
        ),
        finding(
            Kind::FailedUnit,
            "known.service",
            "it did not say why",
            &["known"],
        ),
        finding(Kind::MissingModule, "x:y,z", "a.service asks for it", &[]),
        finding(Kind::SlowUnit, "slow.service", "took 12.5 s to start", &[]),
    ]
}

fn unseen() -> Vec<Unseen> {
    vec![Unseen {
        source: Source::Jobs,
        reason: "systemctl failed with exit code 1".to_owned(),
    }]
}

fn verdict<'a>(findings: Vec<Judged<'a>>, unseen: &'a [Unseen]) -> Verdict<'a> {
    Verdict {
        image: ("0123", "localhost/os:1"),
        state: "degraded",
        ready: Some(Duration::from_millis(23_040)),
        last: Some(Duration::from_millis(21_990)),
        findings,
        unseen,
    }
}

fn allow() -> Vec<Pattern> {
    let patterns = ["failed-unit:known*", "nothing"];
    patterns.map(|p| p.parse().expect("a pattern")).to_vec()
}

#[test]
fn every_form_of_an_unhealthy_image() {
    let (allow, unseen) = (allow(), unseen());
    let verdict = verdict(Judged::all(findings(), &allow), &unseen);
    assert!(!verdict.is_healthy());
    let unused = verdict.unused(&allow);
    assert_eq!(unused.len(), 1);
    assert_eq!(unused[0].to_string(), "nothing");
    insta::assert_snapshot!("text", verdict.text());
    insta::assert_snapshot!("junit", verdict.junit());
    insta::assert_snapshot!("github", verdict.annotations());
    let summary = verdict.step_summary();
    assert!(summary.contains("\n`````text\n") && summary.ends_with("\n`````\n"));
    let json = serde_json::to_string_pretty(&verdict.description()).expect("serialised");
    insta::assert_snapshot!("json", json);
}

#[test]
fn a_healthy_image_takes_a_line() {
    let verdict = Verdict {
        last: None,
        ..verdict(Vec::new(), &[])
    };
    assert!(verdict.is_healthy());
    assert_eq!(
        verdict.text(),
        "localhost/os:1 is healthy; ready after 23.0 s\n"
    );
    assert_eq!(verdict.annotations(), "");
    let xml = verdict.junit();
    assert!(
        xml.contains("failures=\"0\"") && !xml.contains("<failure"),
        "{xml}"
    );
}

#[test]
fn an_image_whose_faults_are_all_known_is_healthy() {
    let all = vec!["*".parse().expect("a pattern")];
    let verdict = verdict(Judged::all(findings(), &all), &[]);
    assert!(verdict.is_healthy() && verdict.unused(&all).is_empty());
    assert!(
        verdict.text().contains("by --allow *\n"),
        "{}",
        verdict.text()
    );
}

/// Every line that GitHub's runner reads is obeyed, if it looks like a command.
#[test]
fn nothing_of_a_guest_steers_a_terminal_a_runner_or_a_parser() {
    let hostile = "\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}::stop-commands::x ##[error]\r\u{ffff}";
    let hostile = finding(
        Kind::KernelFault,
        hostile,
        hostile,
        &[hostile, "  ::error::"],
    );
    let verdict = verdict(Judged::all(vec![hostile], &[]), &[]);
    let (text, xml, annotations) = (verdict.text(), verdict.junit(), verdict.annotations());
    for form in [&text, &xml, &annotations] {
        let steers = |c: char| c != '\n' && bcvk_contract::status::steers(c);
        assert!(!form.contains(steers), "{form:?}");
    }
    for line in text.lines() {
        assert!(!line.trim_start().starts_with("::"), "{line}");
        assert!(!line.contains("##["), "{line}");
    }
    assert_eq!(annotations.lines().count(), 1, "{annotations}");
    assert!(!xml.contains('\u{ffff}'), "{xml}");
}

#[test]
fn a_guest_that_says_nothing_is_no_proof_of_health() {
    let facts = Facts::parse("", false);
    assert!(facts.is_silent());
    let findings = judge(&facts, Duration::from_secs(1));
    let verdict = verdict(Judged::all(findings, &[]), &facts.unseen);
    assert!(verdict.text().contains("healthy, as far as could be seen"));
}
