//! Patterns for findings that are known.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use super::Finding;

/// Pattern for findings that do not count: `*` stands for any characters, `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Returns true if the pattern describes the finding's subject, its text, or both its kind and
    /// its subject, as `KIND:SUBJECT`.
    #[must_use]
    pub fn matches(&self, finding: &Finding) -> bool {
        let whole = format!("{}:{}", finding.kind.word(), finding.subject);
        [&finding.subject, &finding.text, &whole]
            .into_iter()
            .any(|text| matches(&self.0, text))
    }
}

impl FromStr for Pattern {
    type Err = Infallible;

    fn from_str(pattern: &str) -> Result<Self, Infallible> {
        Ok(Self(pattern.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Compares all of `text` with a pattern. Takes at most the product of their lengths in steps,
/// because only the last `*` is ever tried again: one before it has taken as little as it can.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut place) = (0, 0);
    let mut star = None;
    while place < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(c) if *c == '?' || *c == text[place] => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    at = star_at + 1;
                    place = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn a_pattern_is_for_all_of_a_text() {
        for (pattern, text, expected) in [
            ("a.service", "a.service", true),
            ("a.service", "aa.service", false),
            ("*.service", "a.service", true),
            ("a*", "a", true),
            ("a?", "a", false),
            ("a?c", "abc", true),
            ("*b*c", "abbc", true),
            ("*b*c", "abcb", false),
            ("**", "", true),
            ("", "", true),
            ("", "a", false),
            ("ä*", "äöü", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} for {text}");
        }
        let stars = "*a".repeat(50);
        assert!(!matches(&stars, &"b".repeat(100_000)));
    }

    #[test]
    fn a_finding_is_known_by_its_subject_its_text_or_its_kind() {
        let finding = Finding {
            kind: Kind::FailedUnit,
            subject: "web.service".to_owned(),
            text: "exit code 3".to_owned(),
            lines: vec!["last words".to_owned()],
        };
        for (pattern, expected) in [
            ("web.service", true),
            ("exit code ?", true),
            ("failed-unit:*", true),
            ("failed-unit:web.service", true),
            ("restart-loop:web.service", false),
            ("web", false),
            ("last words", false),
        ] {
            let pattern: Pattern = pattern.parse().expect("a pattern");
            assert_eq!(pattern.matches(&finding), expected, "{pattern}");
        }
    }
}
