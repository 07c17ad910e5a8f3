//! `logs`, `inspect`, `wait` and `images`.

use std::fs;
use std::time::Duration;

use bcvk_testkit::{Checks, Cmd, FakeTools, Sandbox, Signal, Vm, images, limit, schema};
use serde_json::Value;

/// Limit far above what looking at files takes, and far below any time-out.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Runs `bcvk ARGS`, for commands outside of `bcvk ephemeral`.
fn bcvk(sandbox: &Sandbox, args: &[&str]) -> Cmd {
    sandbox.command(sandbox.bcvk_path()).args(args)
}

#[test]
fn images_list_shows_what_can_boot() {
    let sandbox = Sandbox::new();
    let tools = FakeTools::new(&sandbox);
    tools.script(
        "podman",
        r#"test "$1" = images && cat <<'EOF'
[{"Id":"0123456789abcdef","Names":["localhost/os:1","localhost/os:latest"],"Size":1260000000,"Created":1,
  "CreatedAt":"1970-01-01T00:00:01Z","Labels":{"containers.bootc":"1"}},
 {"Id":"fedcba9876543210","Names":["docker.io/library/busybox:latest"],"Size":5,"Created":2,"Labels":null}]
EOF"#,
    );
    let mut checks = Checks::new();
    checks.check("for people", || {
        let output = tools.only(bcvk(&sandbox, &["images", "list"])).run();
        let stdout = output.expect_success().stdout();
        let lines: Vec<&str> = stdout.lines().collect();
        assert_eq!(lines.len(), 3, "{stdout}");
        for word in ["localhost/os:1 ", "0123456789ab ", "1.3 GB", " years ago"] {
            assert!(lines[1].contains(word), "{word:?} in {stdout}");
        }
        assert!(lines[2].starts_with("localhost/os:latest "), "{stdout}");
    });
    checks.check("for programs", || {
        let command = bcvk(&sandbox, &["images", "list", "--json"]);
        let stdout = tools.only(command).run().expect_success().stdout();
        let json: Value = serde_json::from_str(&stdout).expect("JSON");
        schema::expect_valid("images-list", std::slice::from_ref(&json));
        assert_eq!(json.as_array().map(Vec::len), Some(1), "{stdout}");
        assert_eq!(json[0]["Id"], "0123456789abcdef");
        assert_eq!(json[0]["Names"][1], "localhost/os:latest");
        assert_eq!(json[0]["Size"], 1_260_000_000_u64);
        assert_eq!(json[0]["CreatedAt"], "1970-01-01T00:00:01Z");
        assert_eq!(json[0]["Labels"]["containers.bootc"], "1");
    });
    checks.check("what podman says when it fails", || {
        tools.script("podman", "echo 'Error: database is locked' >&2; exit 125");
        let output = tools.only(bcvk(&sandbox, &["images", "list"])).run();
        let _ = output.expect_error(125, &["list images", "database is locked"]);
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn what_cannot_be_shown_or_waited_for() {
    let sandbox = Sandbox::new();
    let nobody = sandbox.name("nobody");
    let mut checks = Checks::new();
    for args in [
        &["logs"][..],
        &["logs", "-f"],
        &["logs", "--journal"],
        &["inspect"],
        &["wait"],
        &["wait", "--for=stopped"],
        &["wait", "--for=unit=x.service"],
    ] {
        checks.check(&format!("{args:?} of nobody"), || {
            let _ = sandbox
                .bcvk(args)
                .arg(&nobody)
                .run()
                .expect_error(1, &["no VM named", &nobody, "hint: ", "ps -a"])
                .expect_within(AT_ONCE);
        });
    }
    for (args, words) in [
        (&["wait", "--for=up"][..], &["'up'", "ready, stopped"][..]),
        (&["wait", "--for=unit="], &["''", "nginx.service"]),
        (&["wait", "--for=unit=a*"], &["'a*'", "nginx.service"]),
        (&["wait", "--timeout=soon"], &["soon"]),
        (&["logs", "--console", "--journal"], &["cannot be used"]),
    ] {
        checks.check(&format!("{args:?}"), || {
            let _ = sandbox.bcvk(args).arg(&nobody).run().expect_error(2, words);
        });
    }
    checks.finish();
    sandbox.finish();
}

#[test]
fn logs_inspect_and_wait_from_boot_to_end() {
    let sandbox = Sandbox::new();
    let vm = sandbox.boot(
        "vm",
        &["--memory=1G", "--vcpus=1", "--env=A=b"],
        images::trixie(),
    );
    let mut checks = Checks::new();
    let mut follower = sandbox.bcvk(["logs", "-f", vm.name()]).spawn();
    check_boot(&mut checks, &sandbox, &vm);
    check_description(&mut checks, &sandbox, &vm);
    check_units(&mut checks, &sandbox, &vm);
    check_console(&mut checks, &sandbox, &vm);
    check_journal(&mut checks, &sandbox, &vm);
    check_chart(&mut checks, &sandbox, &vm);

    let stopped = sandbox.bcvk(["wait", "--for=stopped", vm.name()]).spawn();
    let unit = "--for=unit=emergency.service";
    let too_late = sandbox.bcvk(["wait", unit, vm.name()]).spawn();
    let journal = sandbox.bcvk(["logs", "--journal", "-f", vm.name()]);
    let mut journal = journal.spawn();
    journal.await_stdout("Linux version", limit::BOOT);
    vm.stop();
    checks.check("wait until it has stopped", || {
        let _ = stopped.wait(limit::SHUTDOWN).expect_success();
    });
    checks.check("what was waited for does not come any more", || {
        let _ = too_late
            .wait(limit::SHUTDOWN)
            .expect_error(126, &[vm.name(), "ended before", "emergency.service"]);
    });
    checks.check("followers of its logs end with it", || {
        let _ = journal.wait(limit::SHUTDOWN).expect_success();
        follower.await_stdout("Power down", limit::QUICK);
        let all = follower.wait(limit::SHUTDOWN).expect_success();
        let log = fs::read(vm.dir().join("shared/console.log")).expect("the console's log");
        assert!(
            all.stdout_bytes() == log,
            "{} and {} bytes",
            all.stdout_bytes().len(),
            log.len()
        );
    });
    check_ended(&mut checks, &sandbox, &vm);
    checks.finish();
    sandbox.finish();
}

fn inspect(sandbox: &Sandbox, vm: &Vm<'_>) -> Value {
    let output = sandbox.bcvk(["inspect", vm.name()]).run().expect_success();
    let json = serde_json::from_str(&output.stdout()).unwrap_or_else(|e| panic!("{e} in {output}"));
    schema::expect_valid("ephemeral-inspect", std::slice::from_ref(&json));
    json
}

/// Checks a VM while it boots, until it is ready.
fn check_boot(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    checks.check("what does not come in time", || {
        let _ = sandbox
            .bcvk(["wait", "--timeout=500ms", vm.name()])
            .run()
            .expect_error(124, &[vm.name(), "not ready", "500ms", "hint: ", "logs"]);
    });
    checks.check("inspect while it boots", || {
        let json = inspect(sandbox, vm);
        assert_eq!(json["State"], "booting");
        assert!(
            json["Timings"]["Preparing"].as_f64() > Some(0.0),
            "{json:#}"
        );
        assert!(json["Timings"]["Boot"].is_null(), "{json:#}");
    });
    checks.check("no chart of a boot that is not over", || {
        let booting = sandbox.bcvk(["boot-chart", vm.name()]).run();
        let _ = booting.expect_error(1, &[vm.name(), "is not ready", "hint: ", "wait"]);
    });
    checks.check("wait until it is ready", || {
        let ready = sandbox.bcvk(["wait", vm.name()]).limit(limit::BOOT).run();
        let _ = ready.expect_success().expect_empty_stdout();
        // A VM that is ready already gives nothing to say.
        let ready = sandbox.bcvk(["wait", &vm.id()[..12]]).run();
        assert_eq!(ready.expect_success().stderr(), "");
    });
}

fn check_description(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    checks.check("inspect", || {
        let json = inspect(sandbox, vm);
        assert_eq!(json["Id"], vm.id());
        assert_eq!(json["Name"], vm.name());
        assert_eq!(json["Image"]["Name"], images::trixie());
        assert_eq!(json["Image"]["Id"], vm.inspect("{{.Image}}"));
        assert_eq!(json["State"], "ready");
        assert_eq!(json["Spec"]["memory"], 1024);
        assert_eq!(json["Spec"]["vcpus"], 1);
        assert_eq!(json["Status"]["phase"], "ready");
        let seconds = |key: &str| {
            let value = json["Timings"][key].as_f64();
            value.unwrap_or_else(|| panic!("{key} in {json:#}"))
        };
        let phases = ["Preparing", "Qemu", "Kernel", "Initrd", "Userspace"];
        let sum: f64 = phases.into_iter().map(seconds).sum();
        assert!((sum - seconds("Boot")).abs() < 0.001, "{json:#}");
        assert!(seconds("Total") >= sum, "{json:#}");
        assert!(json["Timings"]["Stopping"].is_null(), "{json:#}");
    });
    checks.check("inspect shows no private key", || {
        let text = inspect(sandbox, vm).to_string();
        let spec = fs::read_to_string(vm.dir().join("spec.json")).expect("the spec");
        assert!(
            spec.contains("PRIVATE KEY"),
            "what must not be shown is there"
        );
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    });
}

fn check_units(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    let wait = |unit: &str, timeout: &str| {
        sandbox
            .bcvk(["wait", "--for", &format!("unit={unit}"), vm.name()])
            .args(["--timeout", timeout])
            .limit(limit::BOOT)
            .run()
    };
    checks.check("a unit that is or becomes active", || {
        let _ = wait("multi-user.target", "4m").expect_success();
        // The unit has not begun when the wait begins.
        vm.sh("systemd-run --unit=late --on-active=5 --service-type=exec sleep 1000");
        let _ = wait("late", "4m").expect_success();
        assert_eq!(vm.sh("systemctl is-active late"), "active");
    });
    checks.check("a unit that does not", || {
        let _ = wait("emergency.service", "3s").expect_error(
            124,
            &[
                vm.name(),
                "did not have unit emergency.service active",
                "3s",
            ],
        );
        let left = vm.run_sh("sleep 2; pgrep -f 'systemctl show --property=[L]oadState'");
        assert_eq!(
            left.code(),
            Some(1),
            "nothing is left of it in the guest: {left}"
        );
    });
    checks.check("a unit that will not", || {
        let _ = wait("no-such.service", "4m")
            .expect_error(1, &["no-such.service", "not there", "hint: "]);
        let _ = vm.run_sh("systemd-run --wait --unit=bad false");
        let _ = wait("bad", "4m").expect_error(1, &["unit bad", "failed", "systemctl status bad"]);
    });
}

fn check_console(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    checks.check("the console, byte for byte, to a program", || {
        vm.sh("printf 'a\\033[31mred\\033[0m\\tx\\nanother line\\n' >/dev/console");
        let output = sandbox.bcvk(["logs", vm.name()]).run().expect_success();
        assert!(output.stdout().contains("Linux version"), "{output}");
        assert!(
            output.stdout().contains("a\u{1b}[31mred\u{1b}[0m"),
            "{output}"
        );
    });
    checks.check("and without control characters to a terminal", || {
        let output = sandbox.bcvk(["logs", vm.name()]).at_a_terminal().run();
        let output = output.expect_success();
        assert!(
            output.stdout().contains("ared x\r\nanother line\r\n"),
            "{output}"
        );
        assert!(!output.stdout().contains('\u{1b}'), "{output}");
    });
    checks.check("Ctrl-C ends a follower, which says nothing", || {
        let mut follower = sandbox.bcvk(["logs", "--follow", vm.name()]).spawn();
        follower.await_stdout("another line", limit::QUICK);
        vm.sh("echo one more >/dev/console");
        follower.await_stdout("one more", limit::QUICK);
        follower.signal_group(Signal::INT);
        let output = follower.wait(limit::GONE).expect_code(130);
        assert_eq!(output.stderr(), "");
    });
}

fn check_journal(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    vm.sh("systemd-cat -t bcvk-test echo a message");
    checks.check("the journal", || {
        let command = sandbox.bcvk(["logs", "--journal", vm.name()]);
        let output = command.limit(limit::BOOT).run().expect_success();
        let stdout = output.stdout();
        assert!(stdout.starts_with('['), "{output}");
        assert!(stdout.contains("Linux version"), "{output}");
        assert!(stdout.contains("a message"), "{output}");
    });
    checks.check("Ctrl-C ends one who follows it", || {
        let mut follower = sandbox.bcvk(["logs", "--journal", "-f", vm.name()]).spawn();
        // The log is followed from its beginning.
        follower.await_stdout("Linux version", limit::BOOT);
        vm.sh("systemd-cat -t bcvk-test echo something new");
        follower.await_stdout("something new", limit::QUICK);
        follower.signal_group(Signal::INT);
        let output = follower.wait(limit::GONE).expect_code(130);
        assert_eq!(output.stderr(), "");
    });
}

fn check_chart(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    let chart = |args: &[&str]| {
        let chart = sandbox.bcvk(["boot-chart"]).args(args).arg(vm.name());
        chart.limit(limit::BOOT).run().expect_success()
    };
    checks.check("the chart of its boot, as text", || {
        let text = chart(&[]).stdout();
        assert!(!text.contains('\u{1b}'), "{text}");
        let columns = text.lines().skip(3).take_while(|line| !line.is_empty());
        let longest = columns.map(|line| line.chars().count()).max();
        assert!(longest <= Some(80), "{text}");
        for words in [
            "Boot of",
            "podman starts",
            "* network.target",
            "* bcvk-answers.socket",
            "█",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
    });
    checks.check("the chart of its boot, for programs", || {
        let json: Value = serde_json::from_str(&chart(&["--json"]).stdout()).expect("JSON");
        let timings = inspect(sandbox, vm)["Timings"].clone();
        let [ready, boot] =
            [&json["Ready"], &timings["Boot"]].map(|v| v.as_f64().expect("seconds"));
        // podman's part comes before the supervisor's first word.
        assert!(ready > boot && ready < boot + 60.0, "{ready} and {boot}");
        let spans = json["Spans"].as_array().expect("spans");
        let critical: Vec<&Value> = spans.iter().filter(|s| s["Critical"] == true).collect();
        // A phase begins where another ends, or later; none goes back.
        let mut before = 0.0;
        for span in &critical {
            let from = span["From"].as_f64().expect("seconds");
            assert!(from >= before, "{span} in {json:#}");
            before = from;
        }
        let last = critical.last().expect("a critical path");
        assert_eq!(
            (&last["Name"], &last["To"]),
            (&Value::from("a login is answered"), &json["Ready"])
        );
        let short = |s: &&Value| s["Place"] == "unit" && s["From"] == s["To"];
        assert!(
            spans.iter().any(|s| short(&s)),
            "units of no time: {json:#}"
        );
    });
    checks.check("the chart of its boot, as a picture", || {
        let svg = chart(&["-o", "-"]).stdout();
        assert!(
            svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
            "{svg}"
        );
        let all = chart(&["-o", "-", "--all"]).stdout();
        assert!(all.len() > svg.len(), "--all shows more");
    });
}

fn check_ended(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    checks.check("an ended VM that is kept has its logs", || {
        for args in [&["logs"][..], &["logs", "-f"]] {
            let output = sandbox.bcvk(args).arg(vm.name()).run().expect_success();
            let _ = output
                .expect_stdout("Linux version")
                .expect_stdout("Power down");
        }
        let _ = sandbox
            .bcvk(["logs", "--journal", vm.name()])
            .run()
            .expect_error(1, &["is not running", "hint: "]);
        let chart = sandbox.bcvk(["boot-chart", vm.name()]).run();
        let _ = chart.expect_error(1, &["is not running", "hint: "]);
    });
    checks.check("an ended VM can be inspected", || {
        let json = inspect(sandbox, vm);
        assert_eq!(json["State"], "exited");
        assert!(json["Timings"]["Stopping"].as_f64() > Some(0.0), "{json:#}");
        assert_eq!(
            inspect(sandbox, vm)["Timings"],
            json["Timings"],
            "nothing grows"
        );
    });
    checks.check("an ended VM has stopped and is not ready", || {
        let stopped = sandbox.bcvk(["wait", "--for=stopped", vm.name()]).run();
        let _ = stopped.expect_success().expect_within(AT_ONCE);
        let _ = sandbox
            .bcvk(["wait", vm.name()])
            .run()
            .expect_error(126, &["ended before it was ready"])
            .expect_within(AT_ONCE);
    });
    checks.check("podman start, and wait for the end at once", || {
        let _ = sandbox.podman(["start", vm.name()]).run().expect_success();
        let ready = sandbox.bcvk(["wait", "--timeout=100ms", vm.name()]).run();
        let _ = ready.expect_error(124, &["not ready"]);
        let waiting = sandbox.bcvk(["wait", "--for=stopped", vm.name()]).spawn();
        let _ = sandbox.podman(["kill", vm.name()]).run().expect_success();
        let _ = waiting.wait(limit::QUICK).expect_success();
        // podman knows too, or this command would be refused.
        let _ = sandbox.bcvk(["rm", vm.name()]).run().expect_success();
    });
}
