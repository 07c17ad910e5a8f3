//! `run --output json`: events of a VM, for programs.

use bcvk_testkit::{Checks, FakeTools, Output, Sandbox, Signal, Vm, images, limit, schema};
use serde_json::Value;

/// Parses the lines of a command's stdout, each of which has to be valid.
fn events(output: &Output) -> Vec<Value> {
    let lines = output.stdout();
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let events: Vec<Value> = lines.lines().map(parse).collect();
    schema::expect_valid("ephemeral-run-events", &events);
    let last = events
        .last()
        .unwrap_or_else(|| panic!("no events: {output}"));
    assert_eq!(last["Event"], "Ended", "{output}");
    assert_eq!(last["ExitCode"].as_i64(), output.code().map(i64::from));
    events
}

fn kinds(events: &[Value]) -> Vec<String> {
    events
        .iter()
        .map(|event| match event["Phase"].as_str() {
            Some(phase) if event["Event"] == "Phase" => phase.to_owned(),
            _ => event["Event"].as_str().unwrap_or_default().to_owned(),
        })
        .collect()
}

fn find<'a>(events: &'a [Value], kind: &str) -> &'a Value {
    let found = events.iter().find(|event| event["Event"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {events:#?}"))
}

fn text_of(events: &[Value], stream: &str) -> String {
    let of_stream = events.iter().filter(|event| event["Stream"] == stream);
    of_stream
        .filter_map(|event| event["Text"].as_str())
        .collect()
}

#[test]
fn a_command_from_start_to_end() {
    let sandbox = Sandbox::new();
    let image = sandbox.build_image(
        "FROM BASE\nRUN echo 'LABEL=swap none swap sw 0 0' >>/etc/fstab && mkdir -p /usr/lib/repart.d && \
         printf '[Partition]\\nType=var\\n' >/usr/lib/repart.d/50-var.conf\n",
    );
    let name = sandbox.name("vm");
    let output = sandbox
        .bcvk(["run", "--rm", "--output=json", "--name", &name])
        .args([
            "--execute",
            "echo out; printf '\\303'; sleep 1; printf '\\244\\377\\033[1m'",
        ])
        .args(["--execute", "echo err >&2; exit 3"])
        .arg(&image)
        .limit(limit::BOOT)
        .run()
        .expect_code(3)
        .expect_no_stderr("err\n");
    let events = events(&output);
    let mut checks = Checks::new();
    checks.check("the order of things", || {
        let all = kinds(&events);
        let boot = [
            "preparing",
            "qemu",
            "kernel",
            "initrd",
            "userspace",
            "ready",
            "Ready",
        ];
        let mut rest = all.iter();
        for step in boot.iter().chain(&["stopping", "exited", "Ended"]) {
            assert!(rest.any(|kind| kind == step), "{step} in {all:?}");
        }
        let seconds: Vec<_> = events.iter().map(|e| e["Seconds"].as_f64()).collect();
        assert!(seconds.first() < seconds.last(), "{seconds:?}");
    });
    checks.check("who it is, and the way in", || {
        let started = find(&events, "Started");
        assert_eq!(started["Name"], name.as_str());
        assert_eq!(started["Id"].as_str().map(str::len), Some(64));
        assert_eq!(started["Image"]["Name"], image.as_str());
        let ready = find(&events, "Ready");
        assert_eq!(ready["Ssh"], format!("bcvk ephemeral ssh {name}"));
        let config = ready["SshConfig"].as_str().unwrap_or_default();
        assert!(config.ends_with("/ssh_config"), "{config}");
    });
    checks.check("what the boot does not wait for", || {
        let warnings: Vec<&str> = events
            .iter()
            .filter_map(|event| {
                event["Message"]
                    .as_str()
                    .filter(|_| event["Event"] == "Warning")
            })
            .collect();
        for words in ["swap on LABEL=swap", "a disk for systemd-repart.service"] {
            let mut named = warnings.iter().filter(|warning| warning.contains(words));
            assert!(named.next().is_some(), "{words}: {warnings:?}");
        }
    });
    checks.check("what the command wrote", || {
        assert_eq!(text_of(&events, "stdout"), "out\nä\u{fffd}\u{1b}[1m");
        assert_eq!(text_of(&events, "stderr"), "err\n");
        assert!(!output.stdout().contains('\u{1b}'), "{output}");
    });
    sandbox.remove_image(&image);
    checks.finish();
    sandbox.finish();
}

/// Also: with `-d`, the events are all that happened until QEMU ran.
#[test]
fn a_vm_that_is_left_running_and_one_that_is_interrupted() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    let left = sandbox.name("left");
    checks.check("-d", || {
        let output = sandbox
            .bcvk(["run", "-d", "--rm", "--name", &left, images::trixie()])
            .env("BCVK_OUTPUT", "json")
            .run()
            .expect_success();
        let events = events(&output);
        let all = kinds(&events);
        assert!(all.contains(&"qemu".to_owned()), "{all:?}");
        assert_eq!(find(&events, "Ended")["Running"], true);
        let vm = Vm::of(&sandbox, &left, find(&events, "Started")["Id"].as_str());
        assert_eq!(vm.inspect("{{.Id}}"), vm.id());
        vm.discard();
    });
    checks.check("Ctrl-C while the kernel boots", || {
        let mut run = sandbox
            .bcvk(["run", "--rm", "--output=json", "--name"])
            .args([&sandbox.name("interrupted"), images::trixie()])
            .spawn();
        run.await_stdout("\"Phase\":\"kernel\"", limit::BOOT);
        run.signal(Signal::INT);
        // The kernel does not hear of the power button yet, so the second signal ends the VM.
        run.await_stdout("\"Phase\":\"stopping\"", limit::QUICK);
        run.signal(Signal::INT);
        let output = run.wait(limit::SHUTDOWN).expect_code(130);
        assert_eq!(find(&events(&output), "Ended")["Running"], false);
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn a_guest_that_fails_is_explained() {
    let sandbox = Sandbox::new();
    let output = sandbox
        .bcvk(["run", "--rm", "--output=json", "--name"])
        .args([&sandbox.name("vm"), "--karg=systemd.unit=emergency.target"])
        .arg(images::trixie())
        .limit(limit::BOOT)
        .run()
        .expect_code(126)
        .expect_stderr("error: ");
    let events = events(&output);
    let failed = find(&events, "Failed");
    assert_eq!(failed["Kind"], "guest");
    // The sentence depends on the units that had failed by then; the console tells in any case.
    assert!(failed.to_string().contains("emergency"), "{failed}");
    assert!(failed["Hint"].is_string(), "{failed}");
    let console = failed["ConsoleTail"].as_array().map(Vec::len);
    assert!(console > Some(0), "{failed}");
    assert!(failed["Phase"].is_string(), "{failed}");
    sandbox.finish();
}

/// Without a VM, the failure is the same as without events.
#[test]
fn what_fails_before_there_is_a_vm() {
    let sandbox = Sandbox::new();
    let tools = FakeTools::new(&sandbox);
    for program in ["ssh", &format!("qemu-system-{}", std::env::consts::ARCH)] {
        tools.link(program);
    }
    tools.podman("echo 'Error: database is locked' >&2; exit 125");
    let run = |args: &[&str]| tools.only(sandbox.bcvk(["run"]).args(args)).run();
    let mut checks = Checks::new();
    for (name, args, code, kind, word) in [
        (
            "podman",
            &["localhost/any"][..],
            125,
            "host",
            "podman could not start",
        ),
        (
            "a share",
            &["--bind=/nowhere:x", "localhost/any"],
            2,
            "usage",
            "/nowhere",
        ),
    ] {
        checks.check(name, || {
            let without = run(args).expect_error(code, &[word]);
            let with = run(&[&["--output=json"], args].concat()).expect_code(code);
            assert_eq!(with.stderr(), without.stderr());
            let events = events(&with);
            let failed = find(&events, "Failed");
            assert_eq!(failed["Kind"], kind);
            assert!(failed["Message"].to_string().contains(word), "{failed}");
        });
    }
    checks.check(
        "an image that does not say that it can boot is a warning",
        || {
            tools.podman_with_plain_image("exit 1");
            let output = run(&["--output=json", "localhost/any"]);
            let events = events(&output);
            let warning = find(&events, "Warning")["Message"].to_string();
            assert!(
                warning.contains("does not say that it is bootable"),
                "{warning}"
            );
        },
    );
    checks.finish();
    sandbox.finish();
}

#[test]
fn only_one_can_have_standard_output() {
    let sandbox = Sandbox::new();
    let tools = FakeTools::new(&sandbox);
    for program in ["ssh", &format!("qemu-system-{}", std::env::consts::ARCH)] {
        tools.link(program);
    }
    tools.podman("exit 1");
    let mut checks = Checks::new();
    for args in [
        &["run", "--output=json", "-i"][..],
        &["run", "--output=json", "-t"],
        &["run", "--output=json", "--debug"],
        &["run", "--output=json", "--dry-run"],
        &["run-ssh", "--output=json"],
        &["kube", "--output=json"],
    ] {
        checks.check(&format!("{args:?}"), || {
            let command = sandbox.bcvk(args).arg("localhost/any");
            let words = ["--output json", "standard output", "hint: "];
            let _ = tools.only(command).run().expect_error(2, &words);
        });
    }
    for args in [
        &["run", "--dry-run"][..],
        &["run-ssh", "--dry-run"],
        &["kube"],
    ] {
        checks.check(&format!("a default gives way to {args:?}"), || {
            let command = sandbox.bcvk(args).arg("localhost/any");
            let output = tools.only(command.env("BCVK_OUTPUT", "json")).run();
            let stdout = output.expect_success().stdout();
            assert!(!stdout.contains("\"Event\""), "{stdout}");
        });
    }
    checks.finish();
    sandbox.finish();
}
