//! The programs in `examples/`, as users run them.

use std::fs;
use std::path::Path;

use bcvk_testkit::{Checks, Cmd, Process, Sandbox, Signal, images, limit, until};

/// Copies the examples, because Python and pytest write beside what they run.
fn copy(sandbox: &Sandbox) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for part in ["pytest", "ansible"] {
        let to = sandbox.path().join(part);
        fs::create_dir(&to).expect("make a directory");
        for entry in fs::read_dir(source.join(part)).expect("read the examples") {
            let from = entry.expect("an entry").path();
            if from.is_file() {
                fs::copy(&from, to.join(from.file_name().expect("a name"))).expect("copy");
            }
        }
    }
}

/// Runs `pytest` in its directory, with a VM of this name.
fn pytest(sandbox: &Sandbox, image: &str, name: &str) -> Cmd {
    let dir = sandbox.path().join("pytest");
    sandbox
        .command("python3")
        .args(["-m", "pytest"])
        // The directory comes first: pytest knows the options of its conftest.py only after that.
        .arg(&dir)
        .args(["-v", "-p", "no:cacheprovider", "--basetemp"])
        .arg(sandbox.path().join("basetemp"))
        .arg(format!("--bcvk-options=--name {name} --pull never"))
        .args(["--image", image])
        .env("PYTHONDONTWRITEBYTECODE", "1")
}

/// One VM serves both: a test of the pytest example plays the Ansible example.
#[test]
fn pytest_and_ansible_share_a_vm() {
    let sandbox = Sandbox::new().resuming();
    sandbox.install_bcvk();
    copy(&sandbox);
    let output = pytest(&sandbox, images::trixie(), &sandbox.name("vm"))
        .limit(limit::BOOT)
        .run()
        .expect_success();
    let text = output.stdout();
    assert!(text.contains("5 passed"), "{output}");
    assert!(!text.contains("skipped"), "{output}");
    sandbox.finish();
}

#[test]
fn a_fixture_that_cannot_boot_says_why_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    sandbox.install_bcvk();
    copy(&sandbox);
    let mut checks = Checks::new();
    checks.check("an image that is not there", || {
        let output = pytest(&sandbox, "localhost/none", &sandbox.name("none")).run();
        let output = output.expect_code(1);
        let output = output.expect_stdout("image localhost/none does not exist here");
        let _ = output.expect_stdout("hint: ");
    });
    checks.check("Ctrl-C while it boots", || {
        let name = sandbox.name("interrupted");
        let run = pytest(&sandbox, images::trixie(), &name).spawn();
        until("QEMU runs", limit::QUICK, || {
            Process::qemu_of(&name).is_some()
        });
        run.signal_group(Signal::INT);
        let output = run.wait(limit::SHUTDOWN).expect_code(2);
        assert!(output.stdout().contains("KeyboardInterrupt"), "{output}");
        sandbox.expect_nothing_left();
    });
    checks.finish();
    sandbox.finish();
}
