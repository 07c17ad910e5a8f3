//! `check`: an image that is healthy, one with a fault of each kind, and what boots nothing.

use std::fs;

use bcvk_testkit::schema::expect_valid;
use bcvk_testkit::{Checks, FakeTools, Output, Sandbox, images, limit};
use serde_json::Value;

/// Fails unless each of `words` is in `text`.
#[track_caller]
fn expect_all(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}

/// Faults of the image, by kind and subject, as each form names them.
const FAULTS: [(&str, &str); 8] = [
    ("failed unit", "broken.service"),
    ("restart loop", "looping.service"),
    ("invalid unit", "invalid.service"),
    ("endless job", "forever.service"),
    ("ordering cycle", "circle-"),
    ("missing module", "missing_at_boot"),
    ("missing module", "missing_later"),
    ("refused write", "writing.service"),
];

/// Checks that nothing of a guest's steers a terminal, a runner or a reader of XML.
#[track_caller]
fn expect_harmless(text: &str) {
    assert!(
        !text.contains(|c: char| c.is_control() && c != '\n'),
        "{text:?}"
    );
    assert!(!text.contains("owned"), "{text}");
    for line in text.lines() {
        assert!(!line.trim_start().starts_with("::stop"), "{line}");
    }
}

#[test]
fn a_healthy_image_has_no_fault() {
    let sandbox = Sandbox::new();
    let output = sandbox
        .bcvk(["check", "--memory=1G", "--name", &sandbox.name("vm")])
        .args(["--quiet", images::trixie()])
        .env("GITHUB_ACTIONS", "true")
        .limit(limit::BOOT)
        .run()
        .expect_success();
    let said = output.stdout();
    let verdict = format!("{} is healthy", images::trixie());
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with(&verdict), "{said}");
    assert!(last.contains("; ready after "), "{said}");
    for line in output.stderr().lines() {
        assert!(line.starts_with("::notice "), "{output}");
    }
    sandbox.expect_nothing_left();
    sandbox.finish();
}

/// One image has all faults, and two VMs show them in each form: text, JUnit and annotations, then JSON
/// of what is allowed.
#[test]
fn every_fault_is_named_in_every_form_and_may_be_allowed() {
    let sandbox = Sandbox::new();
    let image = sandbox.build_image(include_str!("fixtures/Containerfile.faulty"));
    let dir = sandbox.make_dir("reports");
    let (junit, summary) = (dir.join("check.xml"), dir.join("summary.md"));
    fs::write(&junit, "an older one").expect("written");
    fs::write(&summary, "before\n").expect("written");
    let check = |options: &[&str]| {
        sandbox
            .bcvk(["check", "--memory=1G", "--settle=20s", "--name"])
            .arg(sandbox.name("vm"))
            .args(options)
            .arg(&image)
            .limit(limit::BOOT)
    };
    let report = junit.to_str().expect("UTF-8");
    let unhealthy = check(&["--github", "--junit", report, "--keep-on-failure"])
        .args(["--allow=known.*", "--allow=of the past"])
        .env("GITHUB_STEP_SUMMARY", summary.to_str().expect("UTF-8"))
        .run();
    let mut checks = Checks::new();
    checks.check("what failed is kept, and can be entered", || {
        let vm = sandbox.name("vm");
        let ssh = format!("VM {vm} is kept; `bcvk ephemeral ssh {vm}` enters it");
        assert!(unhealthy.stderr().contains(&ssh), "{unhealthy}");
        let asked = sandbox.bcvk(["ssh", &vm, "systemctl is-failed broken.service"]);
        let _ = asked.run().expect_success().expect_stdout("failed");
        let _ = sandbox.bcvk(["rm", "-f", &vm]).run().expect_success();
    });
    sandbox.expect_nothing_left();
    let allowed = check(&["--json", "--allow=*", "--keep-on-failure"]).run();
    sandbox.expect_nothing_left();

    checks.check("the text", || expect_text(&unhealthy, &image));
    checks.check("annotations and notices", || {
        expect_annotations(&unhealthy.stderr());
        let summary = fs::read_to_string(&summary).expect("there");
        let begin = "before\n### bcvk check: unhealthy\n";
        assert!(summary.starts_with(begin), "{summary}");
        expect_all(&summary, &["broken.service", "```text\n"]);
    });
    checks.check("JUnit XML", || {
        expect_junit(&fs::read_to_string(&junit).expect("there"));
        let parse = "import sys, xml.dom.minidom as m; m.parse(sys.argv[1])";
        let python = sandbox.command("/usr/bin/python3");
        let _ = python.args(["-c", parse, report]).run().expect_success();
        let names = fs::read_dir(&dir).expect("the directory").count();
        assert_eq!(names, 2, "something is beside the reports");
    });
    checks.check("JSON of what is allowed", || {
        assert_eq!(allowed.code(), Some(0), "{allowed}");
        expect_json(&allowed.stdout(), &image);
    });
    checks.finish();
    sandbox.finish();
}

#[track_caller]
fn expect_text(output: &Output, image: &str) {
    assert_eq!(output.code(), Some(1), "{output}");
    let text = output.stdout();
    expect_harmless(&text);
    for (kind, subject) in FAULTS {
        let begin = format!("fault    {kind:<16}  {subject}");
        let is_there = text.lines().any(|line| line.starts_with(&begin));
        assert!(is_there, "{begin}: {text}");
    }
    expect_all(
        &text,
        &[
            "its process exited with code 3\n",
            " | broken: <b>&]]>%0A\n",
            " | broken: ::stop-commands::x\n",
            " | broken: ## [error]y\n",
            "allowed  failed unit       known.service: ",
            " | jobs wait: ",
            "it cannot write /usr/lib/wanted\n",
            "note     slow unit         slow.service: took ",
            &format!("{image} is unhealthy: 8 faults, 1 allowed, "),
        ],
    );
    let own = text.lines().any(|line| line.contains("  bcvk-"));
    assert!(!own, "bcvk's own units do not count: {text}");
}

#[track_caller]
fn expect_annotations(stderr: &str) {
    for (kind, subject) in FAULTS {
        expect_all(stderr, &[&format!("::error title={kind}%3A {subject}")]);
    }
    let bytes = "%0Abroken: <b>&]]>%250A%0A";
    expect_all(stderr, &[bytes, "--allow of the past matched nothing"]);
    expect_harmless(stderr);
    assert!(!stderr.contains("--allow known"), "{stderr}");
}

#[track_caller]
fn expect_junit(xml: &str) {
    expect_harmless(xml);
    for (kind, subject) in FAULTS {
        expect_all(xml, &[&format!("name=\"{kind}: {subject}")]);
    }
    expect_all(
        xml,
        &[
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
            "failures=\"8\" errors=\"0\" skipped=\"1\"",
            "&lt;b&gt;&amp;]]&gt;%0A\n",
            "<skipped message=\"allowed by known.*: ",
            "name=\"no kernel fault\" time=\"0\"/>",
        ],
    );
}

#[track_caller]
fn expect_json(text: &str, image: &str) {
    assert!(!text.contains("##["), "{text}");
    let json: Value = serde_json::from_str(text).expect("JSON");
    expect_valid("ephemeral-check", std::slice::from_ref(&json));
    assert_eq!(json["Healthy"], true);
    assert_eq!(json["State"], "starting");
    assert_eq!(json["Image"]["Name"], *image);
    for time in ["Ready", "LastReady"] {
        assert!(json[time].as_f64() > Some(0.0), "{time}: {text}");
    }
    let findings = json["Findings"].as_array().expect("a list");
    for (kind, subject) in FAULTS {
        let word = kind.replace(' ', "-");
        let is_it = |finding: &&Value| {
            let named = finding["Subject"].as_str().unwrap_or_default();
            finding["Kind"] == *word && named.starts_with(subject)
        };
        let finding = findings.iter().find(is_it).expect(subject);
        assert_eq!(finding["Weight"], "allowed");
        assert_eq!(finding["AllowedBy"], "*");
    }
}

#[test]
fn an_image_that_does_not_come_up_ends_as_it_does_with_run_ssh() {
    let sandbox = Sandbox::new();
    let _ = sandbox
        .bcvk(["check", "--memory=1G", "--name", &sandbox.name("vm")])
        .args(["--karg=init=/nonexistent", "--karg=rdinit=/nonexistent"])
        .args(["--json", "--keep-on-failure", images::trixie()])
        .limit(limit::BOOT)
        .run()
        .expect_error(126, &["kernel panicked", "Kernel panic", "hint: "])
        .expect_stderr("has ended and is kept; `bcvk ephemeral logs --console ")
        .expect_empty_stdout();
    let vm = sandbox.name("vm");
    let console = sandbox.bcvk(["logs", "--console", &vm]).run();
    let _ = console.expect_success().expect_stdout("Kernel panic");
    let _ = sandbox.bcvk(["rm", "-f", &vm]).run().expect_success();
    sandbox.finish();
}

#[test]
fn what_cannot_be_checked_boots_nothing() {
    let sandbox = Sandbox::new();
    let tools = FakeTools::new(&sandbox);
    for program in ["ssh", &format!("qemu-system-{}", std::env::consts::ARCH)] {
        tools.link(program);
    }
    tools.podman("exit 1");
    let dir = sandbox.make_dir("reports");
    let nowhere = dir.join("no/check.xml");
    let nowhere = nowhere.to_str().expect("UTF-8");
    let mut checks = Checks::new();
    for (args, code, words) in [
        (&[][..], 2, &["<IMAGE>"][..]),
        (
            &["image", "--junit", nowhere],
            2,
            &["the report cannot go to", "no/check.xml", "caused by: "],
        ),
        (&["image", "--settle=soon"], 2, &["soon"]),
        (
            &["image", "--warm=require"],
            2,
            &["cannot be resumed", "a check is of a boot"],
        ),
        (
            &["image", "--no-ssh-keygen"],
            2,
            &["check logs in over SSH", "hint: "],
        ),
        (
            &["image", "--execute=true"],
            2,
            &["check runs its command over SSH"],
        ),
        (
            &["image", "--output=json"],
            2,
            &["--output json does not go"],
        ),
    ] {
        checks.check(&format!("{args:?}"), || {
            let command = sandbox.bcvk(["check"]).args(args);
            let _ = tools.only(command).run().expect_error(code, words);
        });
    }
    checks.check("an image that cannot boot", || {
        let output = sandbox.bcvk(["check", images::nokernel()]).run();
        let _ = output.expect_error(125, &["kernel"]);
    });
    let left = fs::read_dir(&dir).expect("the directory").count();
    assert_eq!(left, 0, "something was written");
    checks.finish();
    sandbox.finish();
}
