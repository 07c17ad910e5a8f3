//! `bcvk doctor`: machines that lack something, and the printed command that mends them.

use std::fs;
use std::os::unix::fs::chown;

use bcvk_testkit::{Checks, Cmd, FakeTools, Output, Sandbox, schema};
use serde_json::Value;

/// Programs of the host that bcvk and podman run.
const PROGRAMS: [&str; 6] = [
    "podman",
    "ssh",
    "iptables",
    "ip6tables",
    "qemu-system-x86_64",
    "qemu-img",
];

fn doctor(sandbox: &Sandbox) -> Cmd {
    sandbox
        .command(sandbox.bcvk_path())
        .args(["doctor", "--json"])
}

/// Status, message with causes, and hint of one check.
fn finding(output: &Output, check: &str) -> (String, String, String) {
    let findings: Value = serde_json::from_str(&output.stdout()).expect("JSON");
    schema::expect_valid("doctor", std::slice::from_ref(&findings));
    let findings = findings.as_array().expect("an array");
    let found = findings.iter().find(|finding| finding["Check"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check} in {findings:?}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let causes = found["Causes"].as_array().expect("causes");
    let said = causes.iter().map(text);
    let said: Vec<String> = std::iter::once(text(&found["Message"]))
        .chain(said)
        .collect();
    (
        text(&found["Status"]),
        said.join("\n"),
        text(&found["Hint"]),
    )
}

/// Returns the command in a hint.
fn command_in(hint: &str) -> &str {
    hint.split('`')
        .nth(1)
        .unwrap_or_else(|| panic!("no command in {hint:?}"))
}

#[test]
fn a_machine_that_runs_vms_has_no_error() {
    let sandbox = Sandbox::new();
    let text = sandbox
        .command(sandbox.bcvk_path())
        .arg("doctor")
        .run()
        .expect_success()
        .stdout();
    for line in ["ok       podman", "ok       containers", "ok       QEMU"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("error"), "{text}");
    sandbox.finish();
}

#[test]
fn an_ordinary_user_is_told_of_what_is_theirs() {
    let Some(sandbox) = Sandbox::rootless() else {
        return;
    };
    let output = doctor(&sandbox).run().expect_success();
    let (status, message, _) = finding(&output, "subordinate IDs");
    assert_eq!(
        (status.as_str(), message.as_str()),
        ("ok", "enough for rootless containers")
    );
    assert_eq!(finding(&output, "containers").0, "ok");
    sandbox.finish();
}

/// A program that makes the missing one appear stands in for Debian's package manager.
#[test]
fn a_missing_program_is_named_with_the_command_that_installs_it() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    for (check, program, package, status) in [
        ("podman", "podman", "podman", "error"),
        ("ssh", "ssh", "openssh-client", "error"),
        ("QEMU", "qemu-system-x86_64", "qemu-system-x86", "error"),
        ("qemu-img", "qemu-img", "qemu-utils", "warning"),
    ] {
        checks.check(program, || {
            let machine = FakeTools::named(&sandbox, &format!("without-{program}"));
            PROGRAMS
                .iter()
                .filter(|other| **other != program)
                .for_each(|other| machine.link(other));
            let examine = || machine.only(doctor(&sandbox)).run();
            let before = examine();
            let (found, message, hint) = finding(&before, check);
            assert_eq!(found, status, "{message}");
            assert!(message.contains(&format!("{program} is not installed")), "{message}");
            assert_eq!(before.code(), Some(i32::from(status == "error")));
            machine.script(
                "apt-get",
                &format!(
                    "[ \"$*\" = 'install {package}' ] && exec /usr/bin/ln -s /usr/bin/{program} '{}'",
                    machine.path().display()
                ),
            );
            let _ = machine
                .only(sandbox.command("sh"))
                .args(["-c", command_in(&hint)])
                .run()
                .expect_success();
            let (found, message, _) = finding(&examine().expect_success(), check);
            assert_eq!(found, "ok", "{message}");
        });
    }
    checks.finish();
    sandbox.finish();
}

#[test]
fn what_keeps_podman_from_starting_containers_is_told() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("conf");
    let with = |name: &str, conf: &str| {
        let path = dir.join(name);
        fs::write(&path, conf).expect("write");
        doctor(&sandbox).env("CONTAINERS_CONF", path).run()
    };
    let mut checks = Checks::new();
    checks.check("limits above the user's own do not", || {
        let conf = "[containers]\ndefault_ulimits = [\"nofile=999999999:999999999\"]\n";
        let (status, said, _) = finding(&with("limits.conf", conf), "containers");
        assert_eq!(status, "ok", "{said}");
    });
    checks.check("a runtime that is not there", || {
        let conf = "[engine]\nruntime = \"crun\"\n[engine.runtimes]\ncrun = [\"/nowhere/crun\"]\n";
        let (status, said, hint) =
            finding(&with("runtime.conf", conf).expect_code(1), "containers");
        assert_eq!(status, "error", "{said}");
        assert!(
            said.starts_with("podman could not start a container\n"),
            "{said}"
        );
        assert!(hint.contains("install crun"), "{said}: {hint}");
    });
    checks.check("too few open files", || {
        let script = format!(
            "ulimit -n 512 && exec {} doctor --json",
            sandbox.bcvk_path().display()
        );
        let output = sandbox.command("sh").args(["-c", &script]).run();
        let (status, said, hint) = finding(&output.expect_code(1), "open files");
        assert_eq!(status, "error");
        assert!(said.contains("512"), "{said}");
        assert!(hint.contains("prlimit --nofile=4096"), "{hint}");
    });
    checks.check("QEMU where no container sees it", || {
        let tools = FakeTools::in_front(&sandbox);
        tools.script("qemu-system-x86_64", "exit 0");
        let (status, said, hint) = finding(&doctor(&sandbox).run().expect_code(1), "QEMU");
        assert_eq!(status, "error");
        assert!(said.contains("only the host's /usr"), "{said}");
        assert!(hint.contains("first in PATH"), "{hint}");
    });
    checks.finish();
    sandbox.finish();
}

/// The user `nobody` has no subordinate IDs anywhere.
#[test]
fn users_without_subordinate_ids_are_told_how_to_get_some() {
    const NOBODY: u32 = 65_534;

    let Some(sandbox) = Sandbox::root() else {
        return;
    };
    let machine = FakeTools::new(&sandbox);
    let bcvk = sandbox.bin().join("bcvk");
    fs::copy(sandbox.bcvk_path(), &bcvk).expect("copy bcvk to where everybody can read it");
    let runtime_dir = sandbox.make_dir("runtime");
    chown(&runtime_dir, Some(NOBODY), Some(NOBODY)).expect("chown");
    let user = format!("--reuid={NOBODY}");
    let output = machine
        .only(sandbox.command("/usr/bin/setpriv"))
        .env("XDG_RUNTIME_DIR", runtime_dir)
        .args([&user, "--clear-groups", "--"])
        .arg(bcvk)
        .args(["doctor", "--json"])
        .run();
    let (status, said, hint) = finding(&output, "subordinate IDs");
    assert_eq!(status, "error", "{said}");
    assert!(
        said.contains("nobody has too few subordinate IDs in /etc/subuid"),
        "{said}"
    );
    assert_eq!(
        command_in(&hint),
        "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 nobody"
    );
    sandbox.finish();
}
