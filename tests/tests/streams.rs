//! Console and journal: shown, and kept from their first word to their last.

use std::fs;
use std::path::Path;

use bcvk_testkit::{Checks, Sandbox, images, limit};

fn log_dir(streams: &str, dir: &Path) -> String {
    format!("--log-dir={streams}={}", dir.display())
}

/// Messages with their time of arrival, in microseconds since the kernel's start.
fn messages(file: &Path) -> Vec<(u64, String)> {
    let text = fs::read_to_string(file).expect("read a journal");
    text.lines()
        .map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).expect("an entry");
            let time = entry["__MONOTONIC_TIMESTAMP"].as_str().expect("a time");
            let message = entry["MESSAGE"].as_str().unwrap_or_default();
            (time.parse().expect("a number"), message.to_owned())
        })
        .collect()
}

fn says(messages: &[(u64, String)], text: &str) -> bool {
    messages.iter().any(|(_, message)| message.contains(text))
}

#[test]
fn logs_are_complete_when_the_guest_dies() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path().join("logs/of, this run");
    let _ = sandbox
        .bcvk(["run", "--rm", "--name", &sandbox.name("vm")])
        .arg(log_dir("journal,console", &dir))
        .args(["--karg=panic=-1", "--execute"])
        .arg("logger bcvk-test-marker; sleep 2; echo c >/proc/sysrq-trigger; sleep 600")
        .arg(images::trixie())
        .limit(limit::BOOT)
        .run()
        .expect_code(1)
        .expect_stderr("panicked");
    let mut checks = Checks::new();
    checks.check(
        "the console, from the kernel's first line to its last",
        || {
            let console = fs::read_to_string(dir.join("console.txt")).expect("read");
            assert!(console.contains("Linux version "), "{console}");
            assert!(console.contains("Kernel panic - not syncing: sysrq"));
        },
    );
    checks.check("the initramfs's journal", || {
        let journal = messages(&dir.join("journal-initrd.json"));
        assert!(
            journal[0].1.starts_with("Linux version "),
            "{:?}",
            journal[0]
        );
        assert!(says(&journal, "bcvk-sysroot.service"), "{journal:#?}");
    });
    checks.check("the journal", || {
        let journal = messages(&dir.join("journal.json"));
        assert!(
            journal[0].1.starts_with("Linux version "),
            "{:?}",
            journal[0]
        );
        assert!(says(&journal, "bcvk-test-marker"));
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn the_journal_can_take_the_consoles_place() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path().join("logs");
    let mut run = sandbox
        .bcvk(["run", "--name", &sandbox.name("vm"), "--output=journal"])
        .arg(log_dir("journal", &dir))
        .arg(images::bookworm())
        .limit(limit::BOOT)
        .spawn();
    run.await_stderr("ready;", limit::BOOT);
    // sshd answers before all jobs are done.
    let _ = sandbox
        .bcvk([
            "ssh",
            &sandbox.name("vm"),
            "systemctl is-system-running --wait",
        ])
        .limit(limit::BOOT)
        .run();
    let _ = sandbox
        .bcvk(["stop", &sandbox.name("vm")])
        .limit(limit::SHUTDOWN)
        .run()
        .expect_success();
    let output = run
        .wait(limit::QUICK)
        .expect_success()
        .expect_stdout("kernel: Linux version")
        .expect_stdout("systemd[1]: Startup finished");
    let first = output
        .stdout()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    assert!(first.starts_with("[    0.000000] kernel: "), "{first}");
    let podmans = sandbox.podman(["logs", &sandbox.name("vm")]).run();
    assert_eq!(podmans.stdout(), output.stdout());
    assert!(!dir.join("console.txt").exists(), "nobody asked for it");
    let journal = messages(&dir.join("journal.json"));
    assert!(says(&journal, "Startup finished"));
    // journald's last message is about its own end.
    let (last, _) = journal.last().expect("a message");
    assert!(journal.iter().all(|(time, _)| time <= last));
    let _ = sandbox.bcvk(["rm", &sandbox.name("vm")]).run();
    sandbox.finish();
}
