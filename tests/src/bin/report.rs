//! Says after a run of the tests which took longer than before, and which were left out.
//!
//!     cargo run -p bcvk-tests --bin report [-- --keep]
//!
//! The run is the last one of a CI profile of nextest's. With `--keep`, its times become those that
//! later runs are compared with (`tests/times.txt`).

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use bcvk_tests::page::root;
use bcvk_tests::times;
use serde_json::Value;

#[allow(clippy::print_stdout, reason = "it is a report")]
fn main() -> Result<(), Box<dyn Error>> {
    let profile = last_profile().ok_or("no CI profile has run")?;
    let now = times::parse_junit(&fs::read_to_string(junit(profile))?)?;
    let kept = root().join("tests/times.txt");
    if env::args().nth(1).as_deref() == Some("--keep") {
        fs::write(kept, times::write(&now))?;
        return Ok(());
    }
    for line in times::changes(&times::parse(&fs::read_to_string(kept)?), &now) {
        println!("{line}");
    }
    let (left_out, all) = left_out(profile)?;
    for name in &left_out {
        println!("left out: {name}");
    }
    println!(
        "{} of {all} tests were left out{}",
        left_out.len(),
        if left_out.is_empty() {
            ""
        } else {
            ": the machine is slow (tests/pace.sh)"
        }
    );
    Ok(())
}

/// Returns the profile that ran last.
fn last_profile() -> Option<&'static str> {
    let ended = |profile: &&str| {
        fs::metadata(junit(profile))
            .and_then(|file| file.modified())
            .ok()
    };
    let profiles = ["ci", "ci-slow"].into_iter();
    profiles
        .filter(|profile| ended(profile).is_some())
        .max_by_key(ended)
}

fn junit(profile: &str) -> PathBuf {
    root().join(format!("target/nextest/{profile}/junit.xml"))
}

/// Returns the tests that a profile leaves out, and the number of all tests.
fn left_out(profile: &str) -> Result<(Vec<String>, usize), Box<dyn Error>> {
    let listed = Command::new("cargo")
        .args(["nextest", "list", "--workspace", "--profile", profile])
        .args(["--message-format", "json"])
        .current_dir(root())
        .output()?;
    let listed: Value = serde_json::from_slice(&listed.stdout)?;
    let (mut names, mut all) = (Vec::new(), 0);
    for suite in listed["rust-suites"].as_object().into_iter().flatten() {
        for (test, case) in suite.1["testcases"].as_object().into_iter().flatten() {
            all += 1;
            // `make test-packages` runs those that are marked as ignored.
            if case["ignored"] != true && case["filter-match"]["status"] != "matches" {
                names.push(format!(
                    "{}::{test}",
                    suite.1["binary-name"].as_str().unwrap_or_default()
                ));
            }
        }
    }
    names.sort();
    Ok((names, all))
}
