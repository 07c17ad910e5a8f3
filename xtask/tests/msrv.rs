//! Checks that the oldest Rust that Cargo.toml promises is enough for every dependency. Clippy
//! looks at our own code (`incompatible_msrv`).

use std::env;
use std::process::Command;

use serde_json::Value;

/// Systems that bcvk is built for; crates for other systems are never compiled.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

#[test]
fn no_dependency_needs_a_newer_rust() {
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    for target in TARGETS {
        let packages = packages(target);
        assert!(
            packages.len() > 100,
            "{target}: {} packages",
            packages.len()
        );
        let newer: Vec<String> = packages
            .iter()
            // Some crates do not say; nothing can be known of those but by building with that Rust.
            .filter_map(|package| Some((package, package["rust_version"].as_str()?)))
            .filter(|(_, needed)| version(needed) > ours)
            .map(|(package, needed)| {
                format!("{} {} needs {needed}", package["name"], package["version"])
            })
            .collect();
        assert!(newer.is_empty(), "{target}: {}", newer.join(", "));
    }
}

fn packages(target: &str) -> Vec<Value> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked"])
        .arg(format!("--filter-platform={target}"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("run cargo");
    assert!(output.status.success(), "{output:?}");
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    match metadata["packages"].take() {
        Value::Array(packages) => packages,
        other => panic!("not a list of packages: {other}"),
    }
}

/// Parses a version: `1.91` is `1.91.0`.
fn version(text: &str) -> [u32; 3] {
    let mut parts = [0; 3];
    for (part, word) in parts.iter_mut().zip(text.split('.')) {
        *part = word.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    }
    parts
}
