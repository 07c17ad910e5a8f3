//! pytest-bcvk and the programs in `examples/` that use it, as users run them.

use std::fs;
use std::path::{Path, PathBuf};

use bcvk_testkit::{Checks, Cmd, Process, Sandbox, Signal, images, limit, until};

/// Directories whose Python is run, in the repository.
const PARTS: [&str; 4] = [
    "examples/pytest",
    "examples/ansible",
    "python/src/pytest_bcvk",
    "python/tests",
];

/// Copies [`PARTS`], because Python and pytest write beside what they run.
fn copy(sandbox: &Sandbox) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for part in PARTS {
        let to = sandbox.path().join(part);
        fs::create_dir_all(&to).expect("make a directory");
        for entry in fs::read_dir(source.join(part)).expect("read a directory") {
            let from = entry.expect("an entry").path();
            if from.is_file() {
                fs::copy(&from, to.join(from.file_name().expect("a name"))).expect("copy");
            }
        }
    }
    let project = "python/pyproject.toml";
    fs::copy(source.join(project), sandbox.path().join(project)).expect("copy");
    let readme = "python/README.md";
    fs::copy(source.join(readme), sandbox.path().join(readme)).expect("copy");
}

/// `python3 -m MODULE`, which writes no file beside what it runs.
fn python(sandbox: &Sandbox, module: &str) -> Cmd {
    sandbox
        .command("python3")
        .args(["-m", module])
        .env("PYTHONDONTWRITEBYTECODE", "1")
}

/// Runs pytest on `tests` with the plugin of this repository.
fn pytest(sandbox: &Sandbox, tests: &str, image: &str, options: &str) -> Cmd {
    python(sandbox, "pytest")
        .arg(sandbox.path().join(tests))
        .args(["-v", "-p", "no:cacheprovider", "-p", "pytest_bcvk.plugin"])
        .arg("--basetemp")
        .arg(sandbox.path().join("basetemp"))
        .arg(format!("--bcvk-image={image}"))
        .arg(format!("--bcvk-options=--pull never {options}"))
        .env("PYTHONPATH", sandbox.path().join("python/src"))
}

/// One VM serves both: a test of the pytest example plays the Ansible example.
#[test]
fn pytest_and_ansible_share_a_vm() {
    let sandbox = Sandbox::new().resuming();
    sandbox.install_bcvk();
    copy(&sandbox);
    let name = format!("--name {}", sandbox.name("vm"));
    let output = pytest(&sandbox, "examples/pytest", images::trixie(), &name)
        .limit(limit::BOOT)
        .run()
        .expect_success();
    let text = output.stdout();
    assert!(text.contains("6 passed"), "{output}");
    assert!(!text.contains("skipped"), "{output}");
    sandbox.finish();
}

#[test]
fn the_plugin_does_what_its_manual_says() {
    let sandbox = Sandbox::new().resuming();
    sandbox.install_bcvk();
    copy(&sandbox);
    let output = pytest(&sandbox, "python/tests", images::trixie(), "")
        .limit(3 * limit::BOOT)
        .run()
        .expect_success();
    assert!(!output.stdout().contains("skipped"), "{output}");
    sandbox.finish();
}

/// A wheel is what users install: pytest finds the plugin in it by itself.
#[test]
fn a_wheel_has_the_plugin() {
    let sandbox = Sandbox::new();
    copy(&sandbox);
    let wheels = sandbox.make_dir("wheels");
    let wheel = [
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
    ];
    let _ = python(&sandbox, "pip")
        .args(wheel)
        .arg(&wheels)
        .arg(sandbox.path().join("python"))
        .run()
        .expect_success();
    let site: PathBuf = sandbox.make_dir("site");
    let install = [
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--find-links",
    ];
    let _ = python(&sandbox, "pip")
        .args(install)
        .arg(&wheels)
        .arg("--target")
        .arg(&site)
        .arg("pytest-bcvk")
        .run()
        .expect_success();
    assert!(site.join("pytest_bcvk/py.typed").exists());
    let _ = python(&sandbox, "pytest")
        .args(["--fixtures", "-p", "no:cacheprovider"])
        .env("PYTHONPATH", &site)
        .run()
        .expect_stdout("vm_factory -- ");
    sandbox.finish();
}

#[test]
fn a_fixture_that_cannot_boot_says_why_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    sandbox.install_bcvk();
    copy(&sandbox);
    let mut checks = Checks::new();
    checks.check("an image that is not there", || {
        let output = pytest(&sandbox, "examples/pytest", "localhost/none", "").run();
        let output = output.expect_code(1);
        let output = output.expect_stdout("image localhost/none does not exist here");
        let _ = output.expect_stdout("hint: ");
    });
    checks.check("Ctrl-C while it boots", || {
        let name = sandbox.name("interrupted");
        let options = format!("--name {name}");
        let run = pytest(&sandbox, "examples/pytest", images::trixie(), &options).spawn();
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
