//! The packages: their content, their dependencies, and that nothing of them stays.
//!
//! `make test-packages` runs these: cargo-deb is no part of the set-up, and a Debian with podman and
//! QEMU takes a while to install.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bcvk_testkit::{Checks, Cmd, Sandbox, schema};
use serde_json::Value;

/// Limit for some two hundred packages from a mirror that may be slow.
const INSTALL: Duration = Duration::from_secs(550);

/// Files that users look for.
const FILES: [&str; 9] = [
    "/usr/bin/bcvk",
    "/usr/share/man/man8/bcvk-ephemeral-run.8.gz",
    "/usr/share/bash-completion/completions/bcvk",
    "/usr/share/zsh/vendor-completions/_bcvk",
    "/usr/share/fish/vendor_completions.d/bcvk.fish",
    "/usr/share/bcvk/schemas/ephemeral-run-events.json",
    "/usr/share/doc/bcvk/bcvk.cdx.json",
    "/usr/share/doc/bcvk/copyright",
    "/usr/share/doc/bcvk/LICENSE-APACHE",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A command with the caller's cargo, which a sandbox has not.
fn with_cargo(sandbox: &Sandbox, program: PathBuf) -> Cmd {
    let mut command = sandbox
        .command(program)
        .env("BCVK_BIN", sandbox.bcvk_path())
        .limit(INSTALL);
    for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"] {
        if let Some(value) = std::env::var_os(name) {
            command = command.env(name, value);
        }
    }
    command
}

fn package(sandbox: &Sandbox, kind: &str, extension: &str) -> PathBuf {
    let dir = root().join("target/packages");
    let _ = fs::remove_dir_all(&dir);
    let _ = with_cargo(sandbox, root().join("setup/packages.sh"))
        .arg(kind)
        .run()
        .expect_success();
    let files = fs::read_dir(dir).expect("the packages");
    files
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|found| found == extension))
        .expect("a package")
}

/// The package lists the crates that the program is made of, and nothing of the machine that made it.
fn check_sbom(sandbox: &Sandbox, deb: &Path) {
    let dir = sandbox.make_dir("unpacked");
    let _ = sandbox
        .command("dpkg-deb")
        .arg("--extract")
        .arg(deb)
        .arg(&dir)
        .run()
        .expect_success();
    let file = dir.join("usr/share/doc/bcvk/bcvk.cdx.json");
    let text = fs::read_to_string(file).expect("a list of crates");
    let sbom: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(sbom["bomFormat"], "CycloneDX");
    assert_eq!(sbom["metadata"]["component"]["name"], "bcvk");
    let components = sbom["components"].as_array().expect("components");
    let virtiofsd = components.iter().find(|found| found["name"] == "virtiofsd");
    let virtiofsd = virtiofsd.expect("virtiofsd");
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let locked = format!("name = \"virtiofsd\"\nversion = {}\n", virtiofsd["version"]);
    assert!(lock.contains(&locked), "{virtiofsd:#}");
    let licence = &virtiofsd["licenses"][0]["expression"];
    assert_eq!(licence, "Apache-2.0 AND BSD-3-Clause");
    let root = root().canonicalize().expect("the source");
    for own in [
        root.to_str().expect("text"),
        "/tmp/",
        "\"timestamp\"",
        "serialNumber",
    ] {
        assert!(!text.contains(own), "{own} in {text}");
    }
}

#[test]
#[ignore = "make test-packages"]
fn a_deb_brings_all_that_it_needs_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let deb = package(&sandbox, "deb", "deb");
    let results = sandbox.make_dir("results");
    let _ = with_cargo(&sandbox, root().join("tests/clean-root.sh"))
        .arg(&deb)
        .arg(&results)
        .run()
        .expect_success();
    let read = |name: &str| fs::read_to_string(results.join(name)).expect("a result");
    let mut checks = Checks::new();
    checks.check("it runs", || {
        assert_eq!(
            read("version"),
            format!("bcvk {}\n", env!("CARGO_PKG_VERSION"))
        );
    });
    checks.check("what a VM needs is there", || {
        let findings: Value = serde_json::from_str(&read("doctor.json")).expect("JSON");
        schema::expect_valid("doctor", std::slice::from_ref(&findings));
        for check in ["podman", "ssh", "QEMU"] {
            let all = findings.as_array().expect("an array");
            let found = all.iter().find(|finding| finding["Check"] == check);
            let message = found.expect(check)["Message"].to_string();
            assert!(!message.contains("not installed"), "{findings:#}");
        }
    });
    checks.check("its files", || {
        let files = read("files");
        for file in FILES {
            assert!(files.lines().any(|line| line == file), "{file} in {files}");
        }
    });
    checks.check("what it is made of", || check_sbom(&sandbox, &deb));
    checks.check("nothing is left of it", || assert_eq!(read("left"), ""));
    checks.finish();
    sandbox.finish();
}
