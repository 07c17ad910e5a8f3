//! `run --execute`: a command is the guest's whole life.

use bcvk_testkit::{Sandbox, Signal, images, limit};

#[test]
fn output_and_exit_code_are_the_commands() {
    let sandbox = Sandbox::new().resuming();
    let name = sandbox.name("vm");
    let output = sandbox
        .bcvk(["run", "--rm", "--name", &name, "--env=GREETING=hello"])
        .args([
            "--execute",
            "echo \"$GREETING\" from $(whoami) in \"$PWD\"; echo aside >&2; test -t 0 || echo none",
        ])
        // The command waits for the whole system, itself not included.
        .args(["--execute", "systemctl is-system-running --wait"])
        // The output has every byte, and is more than any buffer on the way holds.
        .args([
            "--execute",
            "head -c 3000000 /dev/zero | tr '\\0' '\\377'; printf end",
        ])
        .args(["--execute", "exit 42", "--execute", "echo never"])
        .arg(images::trixie())
        .limit(limit::BOOT)
        .run()
        .expect_code(42)
        .expect_stderr("aside\n");
    let mut expected = b"hello from root in /var/roothome\nnone\nrunning\n".to_vec();
    expected.extend(std::iter::repeat_n(0xff, 3_000_000));
    expected.extend(b"end");
    assert!(
        output.stdout_bytes() == expected,
        "{} bytes instead of {}, beginning with {:?}",
        output.stdout_bytes().len(),
        expected.len(),
        String::from_utf8_lossy(&output.stdout_bytes()[..output.stdout_bytes().len().min(200)])
    );
    sandbox.finish();
}

/// No command has to stay with the VM: podman has the output and the exit code.
#[test]
fn in_the_background_the_container_stands_for_the_command() {
    let sandbox = Sandbox::new().resuming();
    // The command needs no login.
    let vm = sandbox.boot(
        "vm",
        &["--execute", "echo out; echo err >&2; exit 3"],
        images::minimal(),
    );
    let code = sandbox
        .podman(["wait", vm.name()])
        .limit(limit::BOOT)
        .run()
        .expect_success();
    assert_eq!(code.text(), "3");
    let logs = sandbox.podman(["logs", vm.name()]).run().expect_success();
    assert_eq!(
        (logs.stdout(), logs.stderr()),
        ("out\n".into(), "err\n".into())
    );
    let console = sandbox.bcvk(["logs", vm.name()]).run().expect_success();
    let _ = console.expect_stdout("Linux version");
    vm.discard();
    sandbox.finish();
}

#[test]
fn a_guest_that_ends_before_its_command_is_a_failure() {
    let sandbox = Sandbox::new().resuming();
    for (does, did) in [("poweroff", "powered off"), ("reboot", "rebooted")] {
        let _ = sandbox
            .bcvk(["run", "--rm", "--name", &sandbox.name("vm")])
            .args([
                "--execute",
                &format!("echo begun; {does} --force; sleep 600"),
            ])
            .arg(images::trixie())
            .limit(limit::BOOT)
            .run()
            .expect_code(1)
            .expect_stdout("begun")
            .expect_stderr(&format!("{did} before its command had ended (phase: "));
    }
    sandbox.finish();
}

#[test]
fn without_its_user_a_command_is_not_run_to_its_end() {
    let sandbox = Sandbox::new().resuming();
    for (part, signal, code) in [("term", Signal::TERM, 143), ("kill", Signal::KILL, 137)] {
        let mut run = sandbox
            .bcvk(["run", "--rm", "--name", &sandbox.name(part)])
            .args(["--execute", "echo begun; sleep 600"])
            .arg(images::trixie())
            .limit(limit::BOOT)
            .spawn();
        run.await_stdout("begun", limit::BOOT);
        run.signal(signal);
        let output = run.wait(limit::SHUTDOWN);
        assert_eq!(output.shell_code(), code, "{output}");
        sandbox.expect_nothing_left();
    }
    sandbox.finish();
}
