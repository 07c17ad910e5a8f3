//! Times of black-box tests, from one run to another.

use std::collections::BTreeMap;

use quick_junit::Report;

/// Seconds that each black-box test took, by `file::test`.
pub type Times = BTreeMap<String, f64>;

/// Smallest change that is told, as a factor beside that of the whole run, and in seconds.
const FACTOR: f64 = 1.5;
const SECONDS: f64 = 5.0;

/// Package whose tests boot VMs; nextest calls a suite `PACKAGE::BINARY`.
const SUITES: &str = "bcvk-tests::";

/// Reads the times out of a JUnit file of nextest's.
///
/// # Errors
/// If the text is no such file.
pub fn parse_junit(xml: &str) -> Result<Times, quick_junit::DeserializeError> {
    let report = Report::deserialize_from_str(xml)?;
    let mut times = Times::new();
    for suite in &report.test_suites {
        let Some(file) = suite.name.as_str().strip_prefix(SUITES) else {
            continue;
        };
        for case in &suite.test_cases {
            let seconds = case.time.unwrap_or_default().as_secs_f64();
            times.insert(format!("{file}::{}", case.name.as_str()), seconds);
        }
    }
    Ok(times)
}

/// Reads a file of times: a line for each test, with seconds and name.
#[must_use]
pub fn parse(text: &str) -> Times {
    let line = |line: &str| {
        let (seconds, name) = line.split_once(' ')?;
        Some((name.to_owned(), seconds.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// Writes times as [`parse`] reads them.
#[must_use]
pub fn write(times: &Times) -> String {
    let line = |(name, seconds): (&String, &f64)| format!("{seconds:.1} {name}\n");
    times.iter().map(line).collect()
}

/// Describes what has changed between two runs: the whole, and each test that has become faster or
/// slower than the whole has.
#[must_use]
pub fn changes(before: &Times, now: &Times) -> Vec<String> {
    let both = || {
        now.iter()
            .filter_map(|(name, now)| Some((name, *before.get(name)?, *now)))
    };
    let (sum_before, sum_now) = both().fold((0.0, 0.0), |(a, b), (_, x, y)| (a + x, b + y));
    let pace = if sum_before > 0.0 {
        sum_now / sum_before
    } else {
        1.0
    };
    let mut told = vec![format!(
        "{} tests took {sum_now:.0} s, {pace:.2} times what they took before",
        both().count()
    )];
    for (name, before, now) in both() {
        let expected = before * pace;
        let far = (now - expected).abs() > SECONDS;
        if far && (now > expected * FACTOR || now * FACTOR < expected) {
            told.push(format!("  {name}: {before:.1} s before, {now:.1} s now"));
        }
    }
    let new = now.keys().filter(|name| !before.contains_key(*name));
    told.extend(new.map(|name| format!("  {name}: new, {:.1} s", now[name])));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_junit_file_has_the_time_of_each_black_box_test() {
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="2" failures="0" errors="0" time="9.000">
  <testsuite name="bcvk-tests::warm" tests="1" disabled="0" errors="0" failures="0">
    <testcase name="a_vm" classname="bcvk-tests::warm" time="7.500"></testcase>
  </testsuite>
  <testsuite name="bcvk-host" tests="1" disabled="0" errors="0" failures="0">
    <testcase name="a_unit" classname="bcvk-host" time="0.010"></testcase>
  </testsuite>
</testsuites>"#;
        let times = parse_junit(xml).expect("a report");
        assert_eq!(write(&times), "7.5 warm::a_vm\n");
        assert_eq!(parse("7.5 warm::a_vm\n"), times);
    }

    #[test]
    fn a_test_is_named_if_it_has_changed_more_than_the_run() {
        let times = |text| parse(text);
        let before = times("10 a\n10 b\n80 c\n1 d\n");
        // On a machine half as fast, only `b` is slower than the others.
        let now = times("20 a\n60 b\n160 c\n3 d\n4 e\n");
        let told = changes(&before, &now);
        assert_eq!(
            told[1..],
            [
                "  b: 10.0 s before, 60.0 s now".to_owned(),
                "  e: new, 4.0 s".to_owned()
            ]
        );
        assert_eq!(changes(&before, &before).len(), 1);
    }
}
