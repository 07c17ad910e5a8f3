//! Tests without a boot: `--dry-run`, `--help`, `--version`.

use bcvk_testkit::{Checks, Sandbox, images};

#[test]
fn dry_run_prints_both_command_lines_and_starts_nothing() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("vm");
    let mut checks = Checks::new();
    for verb in ["run", "run-ssh"] {
        checks.check(verb, || {
            let output = sandbox
                .bcvk([
                    verb,
                    "--dry-run",
                    "--name",
                    &name,
                    "--memory=2G",
                    "--vcpus=3",
                ])
                .args([
                    "--label",
                    "a=b",
                    "-p",
                    "127.0.0.1:8080:80",
                    "--network=bridge",
                ])
                .arg(images::trixie())
                .run()
                .expect_success();
            let stdout = output.stdout();
            let lines: Vec<&str> = stdout.lines().collect();
            let [podman, qemu] = lines[..] else {
                panic!("two lines were expected: {output}");
            };
            for word in [
                &format!("--name={name}"),
                "a=b",
                "127.0.0.1:8080:",
                "--network=bridge",
            ] {
                assert!(podman.contains(word), "{word} in {podman}");
            }
            for word in [&format!("guest={name}"), "size=2048M", "cpus=3", "-:80"] {
                assert!(qemu.contains(word), "{word} in {qemu}");
            }
            // podman's own defaults are kept, and no option weakens them.
            let podman = podman.replace("--privileged=false", "");
            for word in ["--privileged", "--cap-add", "seccomp=unconfined"] {
                assert!(!podman.contains(word), "{word} in {podman}");
            }
        });
    }
    checks.finish();
    sandbox.finish();
}

/// The forwarded port of the image's sshd is open on a loopback that the VM shares with the host's users.
#[test]
fn the_hosts_network_opens_sshds_port_which_is_said() {
    let sandbox = Sandbox::new();
    let qemu = |options: &[&str]| {
        let output = sandbox
            .bcvk(["run", "--dry-run", "--network=host"])
            .args(options)
            .arg(images::trixie())
            .run()
            .expect_success();
        let is_told = output.stderr().contains("every user of this host");
        (output.stdout().contains("hostfwd="), is_told)
    };
    assert_eq!(qemu(&["--login=image"]), (true, true));
    assert_eq!(qemu(&[]), (false, false));
    assert_eq!(qemu(&["--no-ssh-keygen"]), (false, false));
    sandbox.finish();
}

/// The shell is in the container that the VM would be in, with the VM's things.
#[test]
fn debug_opens_a_shell_instead_of_a_vm() {
    let sandbox = Sandbox::new();
    let output = sandbox
        .bcvk(["run", "--debug", "--name", &sandbox.name("vm")])
        .arg(images::trixie())
        .stdin(
            "ls /run/bcvk-image/usr/lib/os-release; grep -c systemd /run/bcvk-spec.json; \
             /run/bcvk-exe --version; exit 6\n",
        )
        .run()
        .expect_code(6);
    let stdout = output.stdout();
    assert!(
        stdout.starts_with("/run/bcvk-image/usr/lib/os-release\n"),
        "{output}"
    );
    assert!(stdout.contains("bcvk "), "{output}");
    sandbox.expect_nothing_left();
    sandbox.finish();
}

#[test]
fn every_verb_explains_itself() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    for verb in [
        "run",
        "run-ssh",
        "ssh",
        "ps",
        "stop",
        "rm",
        "rm-all",
        "ssh-config",
    ] {
        checks.check(verb, || {
            let _ = sandbox
                .bcvk([verb, "--help"])
                .run()
                .expect_success()
                .expect_stdout("Usage: bcvk ephemeral");
        });
    }
    checks.check("--version", || {
        let _ = sandbox
            .command(sandbox.bcvk_path())
            .arg("--version")
            .run()
            .expect_success()
            .expect_stdout("bcvk 0");
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn options_may_follow_the_image() {
    let sandbox = Sandbox::new();
    let output = sandbox
        .bcvk([
            "run",
            images::trixie(),
            "--dry-run",
            "-d",
            "--rm",
            "-K",
            "--memory",
            "1G",
        ])
        .run()
        .expect_success()
        .expect_stdout("--rm ")
        .expect_stdout("--detach ");
    let _ = output.expect_stdout("size=1024M");
    sandbox.finish();
}

#[test]
fn what_comes_after_the_dashes_is_the_guests() {
    let sandbox = Sandbox::new();
    let _ = sandbox
        .bcvk([
            "run-ssh",
            "--dry-run",
            images::trixie(),
            "--",
            "ls",
            "--memory",
            "1G",
        ])
        .run()
        .expect_success()
        .expect_stdout("size=4096M");
    sandbox.finish();
}
