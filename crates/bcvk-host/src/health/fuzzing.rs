//! Fuzzing of a guest's account of its health. See [`crate::fuzzing`].

#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use std::time::Duration;

use super::{Facts, Kind, MAX_OF_KIND, judge};

/// Judges what a guest answers: findings are bounded and clean, and none comes twice.
pub fn health(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let facts = Facts::parse(&text, false);
    let findings = judge(&facts, Duration::from_secs(120));
    assert!(findings.len() <= Kind::ALL.len() * (MAX_OF_KIND + 1));
    for (place, finding) in findings.iter().enumerate() {
        assert!(finding.lines.len() <= 20, "{finding:?}");
        let texts = [&finding.subject, &finding.text];
        for text in texts.into_iter().chain(&finding.lines) {
            assert!(!text.contains(char::is_control), "{finding:?}");
            assert!(text.chars().count() <= 6000, "{finding:?}");
        }
        assert!(!findings[..place].contains(finding), "{finding:?}");
    }
}
