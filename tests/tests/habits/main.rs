//! Command lines that a podman user would type: each is understood, or leads to a line that says what to
//! use.

mod lines;
mod vm;

use std::fs;

use bcvk_testkit::{Checks, Cmd, Output, Sandbox, images};

use lines::{LINES, Leads};

/// A command line as it is typed in a shell. One that would start a VM only shows what it would do.
fn typed(sandbox: &Sandbox, line: &str) -> Cmd {
    let dir = sandbox.path().join("files");
    let line = filled(sandbox, line)
        .replacen("run-ssh ", "run-ssh --dry-run ", 1)
        .replacen(" run ", " run --dry-run ", 1);
    sandbox
        .command("sh")
        .args(["-c", &format!("cd {} && {line}", dir.display())])
}

/// Puts names in their places.
fn filled(sandbox: &Sandbox, text: &str) -> String {
    text.replace("IMAGE", images::trixie())
        .replace("NOBODY", &sandbox.name("nobody"))
        .replace("DIR", sandbox.path().join("files").to_str().expect("text"))
}

#[test]
fn lines_of_podmans_users_are_understood_or_say_what_to_use() {
    assert!(LINES.len() > 190, "{} lines", LINES.len());
    let sandbox = Sandbox::new();
    sandbox.install_bcvk();
    let _ = sandbox.make_dir("files");
    let mut checks = Checks::new();
    for (line, leads) in LINES {
        checks.check(line, || {
            let output = typed(&sandbox, line).run();
            let said = output.stderr();
            assert!(!said.contains("as a value, use"), "{output}");
            if !said.contains("tip: ") {
                assert!(!said.contains("unrecognized subcommand"), "{output}");
                assert!(!said.contains("unexpected argument"), "{output}");
            }
            expect(&sandbox, output, leads);
        });
    }
    checks.finish();
    sandbox.finish();
}

fn expect(sandbox: &Sandbox, output: Output, leads: &Leads) {
    match leads {
        Leads::Boots(words) => {
            let output = output.expect_success().expect_stdout("qemu-system-");
            for word in *words {
                let word = filled(sandbox, word);
                assert!(output.stdout().contains(&word), "{word} in {output}");
            }
        }
        Leads::Succeeds => drop(output.expect_success()),
        Leads::FindsNobody => drop(output.expect_error(1, &["no VM named", "hint: "])),
        Leads::Advises(words) => drop(output.expect_error(2, words)),
    }
}

#[test]
fn variables_that_stand_for_no_option_are_named_once() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    let run = |variable: &str| {
        let run = sandbox.bcvk(["run", "--dry-run", images::trixie()]);
        run.env(variable, "1G").run().expect_success().stderr()
    };
    checks.check("a slip", || {
        let said = run("BCVK_MEMROY");
        assert_eq!(said.matches("BCVK_MEMROY").count(), 1, "{said}");
        assert!(said.contains("BCVK_MEMORY does"), "{said}");
    });
    checks.check("a switch", || {
        let said = run("BCVK_RM");
        assert!(
            said.contains("BCVK_RM in the environment stands for no option"),
            "{said}"
        );
        assert!(said.contains("man bcvk-config"), "{said}");
    });
    checks.check("an option", || {
        let said = run("BCVK_MEMORY");
        assert!(!said.contains("BCVK_"), "{said}");
    });
    checks.check("no VM is started", || {
        let ps = sandbox.bcvk(["ps"]).env("BCVK_MEMROY", "1G").run();
        assert_eq!(ps.expect_success().stderr(), "");
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn what_podman_has_works_on_a_vm() {
    let sandbox = Sandbox::new();
    sandbox.install_bcvk();
    let dir = sandbox.make_dir("files");
    fs::write(dir.join("a file"), "of the host").expect("write");
    let volumes = ["/srv/rw", "/srv/ro:ro"].map(|to| format!("--volume={}:{to}", dir.display()));
    let [rw, ro] = &volumes;
    let options = [
        "-m=1g",
        "--hostname=web.example.org",
        "-l=tier=front",
        "-p=80",
        rw,
        ro,
    ];
    let web = sandbox.boot("web", &options, images::trixie());
    let other = sandbox.boot(
        "other",
        &["-m=512m", "--initramfs=direct"],
        images::trixie(),
    );
    let mut checks = Checks::new();
    checks.check("--replace starts another VM in its place", || {
        let run = [
            "run",
            "-d",
            "--replace",
            "-m=512m",
            "--initramfs=direct",
            "--name",
        ];
        let run = sandbox
            .bcvk(run)
            .args([other.name(), images::trixie()])
            .run();
        let id = run.expect_success().text();
        assert_ne!(id, other.id());
        assert_eq!(other.inspect("{{.ID}}"), id);
    });
    vm::check_lists(&mut checks, &sandbox, &web, &other);
    vm::check_guest(&mut checks, &sandbox, &web);
    vm::check_sessions(&mut checks, &sandbox, &web);
    vm::check_copies(&mut checks, &sandbox, &web);
    vm::check_logs(&mut checks, &sandbox, &web, &other);
    vm::check_ports(&mut checks, &sandbox, &web);
    vm::check_end(&mut checks, &sandbox, &web, &other);
    checks.finish();
    sandbox.finish();
}
