//! Checks of a VM for which a podman user has typed something.

use std::fs;

use bcvk_testkit::{Checks, Sandbox, Vm, images, limit};
use serde_json::Value;

/// Runs `bcvk ephemeral` and returns what it prints, which has to succeed.
#[track_caller]
fn said(sandbox: &Sandbox, args: &[&str]) -> String {
    let run = sandbox.bcvk(args).limit(limit::BOOT).run();
    run.expect_success().text()
}

pub(crate) fn check_lists(checks: &mut Checks, sandbox: &Sandbox, web: &Vm<'_>, other: &Vm<'_>) {
    let short = &web.id()[..12];
    // Other tests have VMs too.
    let named = format!("name=^{}", sandbox.name(""));
    let list = |args: &[&str]| {
        let all: Vec<&str> = ["ps", "--filter", &named]
            .iter()
            .chain(args)
            .copied()
            .collect();
        said(sandbox, &all)
    };
    checks.check("ps -q prints IDs", || {
        assert_eq!(list(&["-q"]).lines().count(), 2);
        assert_eq!(list(&["-q", "--filter=label=tier=front"]), short);
        assert_eq!(list(&["-q", "--no-trunc", "-f=label=tier"]), web.id());
        assert_eq!(list(&["-q", "--filter=label=tier=back"]), "");
    });
    checks.check("-q before the command leaves the table", || {
        let ps = sandbox
            .command(sandbox.bcvk_path())
            .args(["-q", "ps", "-f", &named])
            .run();
        let _ = ps
            .expect_success()
            .expect_stdout("NAME ")
            .expect_stdout(web.name());
    });
    checks.check("ps --filter finds by image, ID and state", || {
        let image = format!("--filter=ancestor={}", images::trixie());
        assert_eq!(list(&["-q", &image]).lines().count(), 2);
        assert_eq!(list(&["-q", &format!("--filter=id={short}")]), short);
        assert_eq!(list(&["-q", "--filter=status=exited"]), "");
        assert_eq!(list(&["-q", "--filter=status=running"]).lines().count(), 2);
    });
    checks.check("ps --format lays lines out", || {
        let front = "--filter=label=tier=front";
        let line = list(&[front, "--format={{.ID}} {{.Names}} {{json .State}}"]);
        let expected = format!("{short} {} \"running\"", web.name());
        assert_eq!(line, expected);
        let table = list(&[front, r"--format=table {{.Names}}\t{{.Status}}\t{{.Ports}}"]);
        let (heading, line) = table.split_once('\n').expect("two lines");
        let headings: Vec<&str> = heading.split_whitespace().collect();
        assert_eq!(headings, ["NAMES", "STATUS", "PORTS"]);
        assert!(
            line.starts_with(web.name()) && line.contains("  Up "),
            "{line}"
        );
        assert!(line.ends_with("->80/tcp"), "{line}");
        assert!(!list(&["--noheading"]).contains("UPTIME"));
    });
    checks.check("inspect describes several", || {
        let both = said(sandbox, &["inspect", web.name(), other.name()]);
        let both: Value = serde_json::from_str(&both).expect("JSON");
        let described = [&both[0]["Name"], &both[1]["Name"]];
        assert_eq!(described, [web.name(), other.name()]);
        let lines = [
            "inspect",
            "-f={{.Name}} {{.Spec.memory}}",
            web.name(),
            other.name(),
        ];
        let expected = format!("{} 1024\n{} 512", web.name(), other.name());
        assert_eq!(said(sandbox, &lines), expected);
        let wrong = sandbox
            .bcvk(["inspect", "-f={{.NetworkSettings}}", web.name()])
            .run();
        let _ = wrong.expect_error(2, &["'NetworkSettings'", "Timings"]);
    });
}

pub(crate) fn check_guest(checks: &mut Checks, sandbox: &Sandbox, web: &Vm<'_>) {
    checks.check("--hostname and --volume", || {
        assert_eq!(web.sh("hostname"), "web.example.org");
        assert_eq!(web.sh("cat '/srv/ro/a file'"), "of the host");
        web.sh("echo of the guest >/srv/rw/new && ! touch /srv/ro/x");
        let new = fs::read_to_string(sandbox.path().join("files/new"));
        assert_eq!(new.expect("a file"), "of the guest\n");
    });
}

pub(crate) fn check_sessions(checks: &mut Checks, sandbox: &Sandbox, web: &Vm<'_>) {
    let exec = |options: &[&str], words: &[&str]| {
        let exec = sandbox
            .bcvk(["exec"])
            .args(options)
            .arg(web.name())
            .args(words);
        exec.stdin("typed").limit(limit::BOOT)
    };
    checks.check(
        "exec runs a command, with its input only if that is asked for",
        || {
            let echo = exec(&[], &["printf", "<%s>", "a b", "-c"]).run();
            assert_eq!(echo.expect_success().stdout(), "<a b><-c>");
            assert_eq!(exec(&[], &["cat"]).run().expect_success().stdout(), "");
            assert_eq!(
                exec(&["-i"], &["cat"]).run().expect_success().stdout(),
                "typed"
            );
            let user = exec(&["--user=daemon"], &["id", "-un"]).run();
            assert_eq!(user.expect_success().text(), "daemon");
            let _ = exec(&[], &["exit 7"]).run().expect_code(7);
        },
    );
    checks.check("exec -it has a terminal", || {
        let tty = exec(&["-it"], &["tty"]).at_a_terminal().run();
        let _ = tty.expect_success().expect_stdout("/dev/pts/");
    });
    checks.check("top shows the guest's processes", || {
        let _ = sandbox
            .bcvk(["top", web.name()])
            .run()
            .expect_success()
            .expect_stdout("systemd");
        let columns = said(sandbox, &["top", web.name(), "pid", "comm"]);
        let mut lines = columns.lines();
        let heading: Vec<&str> = lines
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        assert_eq!(heading, ["PID", "COMMAND"], "{columns}");
        let first: Vec<&str> = lines
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        assert_eq!(first, ["1", "systemd"], "{columns}");
    });
}

pub(crate) fn check_copies(checks: &mut Checks, sandbox: &Sandbox, web: &Vm<'_>) {
    let dir = sandbox.make_dir("copies");
    let cp = |from: &str, to: &str| {
        let script = format!("cd {} && bcvk cp \"$1\" \"$2\"", dir.display());
        let cp = sandbox.command("sh").args(["-c", &script, "sh", from, to]);
        cp.limit(limit::BOOT).run()
    };
    checks.check("cp carries files and directories both ways", || {
        fs::create_dir_all(dir.join("tree/below")).expect("directories");
        fs::write(dir.join("tree/below/a: file"), "text").expect("write");
        let _ = cp("tree", &format!("{}:/root/", web.name())).expect_success();
        assert_eq!(web.sh("cat '/root/tree/below/a: file'"), "text");
        let _ = cp("./tree/below/a: file", &format!("{}:x", &web.id()[..8])).expect_success();
        assert_eq!(web.sh("cat /root/x"), "text");
        web.sh("echo back >'/root/tree/b c'");
        let _ = cp(&format!("{}:/root/tree", web.name()), "got").expect_success();
        assert_eq!(
            fs::read_to_string(dir.join("got/b c")).expect("a file"),
            "back\n"
        );
        let none = cp(&format!("{}:/none", web.name()), ".");
        let _ = none.expect_code(1).expect_stderr("/none");
    });
}

pub(crate) fn check_logs(checks: &mut Checks, sandbox: &Sandbox, web: &Vm<'_>, other: &Vm<'_>) {
    checks.check("logs --tail shows the last lines", || {
        assert_eq!(said(sandbox, &["logs", "--tail=0", web.name()]), "");
        let tail = said(sandbox, &["logs", "--tail=3", web.name()]);
        assert!((1..=3).contains(&tail.lines().count()), "{tail}");
        let all = said(sandbox, &["logs", web.name()]);
        assert!(all.contains("Linux version") && !tail.contains("Linux version"));
    });
    checks.check("logs shows several", || {
        let both = said(sandbox, &["logs", "--tail=all", web.name(), other.name()]);
        assert_eq!(both.matches("Linux version").count(), 2);
    });
    checks.check("logs --journal --tail and --since", || {
        web.sh("logger -t habits written-now && journalctl --sync");
        let journal = ["logs", "--journal"];
        let show = |options: &[&str]| {
            let words: Vec<&str> = journal.iter().chain(options).copied().collect();
            said(sandbox, &[words.as_slice(), &[web.name()]].concat())
        };
        assert_eq!(show(&["--tail=2"]).lines().count(), 2);
        assert!(show(&["--since=1h"]).contains("written-now"));
        let future = show(&["--since=2099-01-01T00:00:00Z"]);
        assert!(!future.contains("written-now"), "{future}");
    });
}

pub(crate) fn check_ports(checks: &mut Checks, sandbox: &Sandbox, web: &Vm<'_>) {
    checks.check("port shows where ports lead in", || {
        let host = said(sandbox, &["port", web.name(), "80"]);
        let (address, port) = host.split_once(':').expect("an address");
        assert_eq!(address, "0.0.0.0");
        assert!(port.parse::<u16>().is_ok(), "{host}");
        assert_eq!(
            said(sandbox, &["port", web.name()]),
            format!("80/tcp -> {host}")
        );
        let none = sandbox.bcvk(["port", web.name(), "81"]).run();
        let _ = none.expect_error(1, &["81/tcp", "hint: ", "-L 8080:localhost:80"]);
    });
}

pub(crate) fn check_end(checks: &mut Checks, sandbox: &Sandbox, web: &Vm<'_>, other: &Vm<'_>) {
    checks.check("stop -t 0 ends a VM at once, start boots it again", || {
        let stopped = said(
            sandbox,
            &["stop", "-t", "0", other.name(), "--ignore", "nobody"],
        );
        assert_eq!(stopped, other.name());
        let named = format!("--filter=name={}", other.name());
        let listed = said(
            sandbox,
            &[
                "ps",
                &named,
                "--filter=status=exited",
                "--format={{.Status}}",
            ],
        );
        assert!(listed.starts_with("Exited (137) "), "{listed}");
        assert_eq!(said(sandbox, &["start", other.name()]), other.name());
        assert_eq!(said(sandbox, &["wait", web.name(), other.name()]), "");
        assert_eq!(
            said(sandbox, &["exec", other.name(), "echo", "again"]),
            "again"
        );
    });
    checks.check("rm removes both", || {
        let removed = said(sandbox, &["rm", "-f", web.name(), other.name()]);
        assert_eq!(removed, format!("{}\n{}", web.name(), other.name()));
    });
}
