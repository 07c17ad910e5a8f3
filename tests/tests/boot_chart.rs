//! `boot-chart` for a VM that it boots itself. Charts of VMs that others boot are in `verbs.rs`,
//! `guest.rs` and `warm.rs`.

use std::fs;

use bcvk_testkit::{Checks, FakeTools, Output, Sandbox, images, limit};

/// Runs `boot-chart --run IMAGE`, with a name that the sandbox looks after.
fn of_new_vm(sandbox: &Sandbox, options: &[&str], command: &[&str]) -> Output {
    sandbox
        .bcvk(["boot-chart", "--name", &sandbox.name("vm")])
        .args(options)
        .args(["--run", images::trixie()])
        .arg("--")
        .args(command)
        .limit(limit::BOOT)
        .run()
}

/// Fails unless `words` are in `text`, in this order; returns their places.
#[track_caller]
fn expect_in_order(text: &str, words: &[&str]) {
    let mut rest = text;
    for word in words {
        let Some((_, after)) = rest.split_once(word) else {
            panic!("{word:?} is not there, or not in its place, in:\n{text}");
        };
        rest = after;
    }
}

#[test]
fn a_picture_from_the_command_line_to_the_commands_result() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("pictures");
    let file = dir.join("boot.svg");
    fs::write(&file, "an older one").expect("write");
    let picture = file.to_str().expect("UTF-8");
    let output = of_new_vm(
        &sandbox,
        &["-o", picture, "--memory=1G"],
        &["sh", "-c", "echo in the guest; exit 7"],
    );
    let mut checks = Checks::new();
    checks.check("the command's output and exit code are its own", || {
        assert_eq!(output.code(), Some(7), "{output}");
        assert_eq!(output.stdout(), "in the guest\n");
    });
    checks.check(
        "nothing is left of the VM, and nothing beside the picture",
        || {
            sandbox.expect_nothing_left();
            let names: Vec<_> = fs::read_dir(&dir)
                .expect("the directory")
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            assert_eq!(names, ["boot.svg"]);
        },
    );
    checks.check("the picture has all of it", || {
        let svg = fs::read_to_string(&file).expect("the picture");
        expect_in_order(
            &svg,
            &[
                "<svg ",
                images::trixie(),
                "bcvk plans: ",
                "podman starts the container: ",
                "supervisor prepares: ",
                "QEMU starts the kernel: ",
                "kernel: ",
                "initramfs: ",
                "systemd reads its units: ",
                "bcvk-answers.socket: ",
                "a session is possible: ",
                "a login is answered: ",
                "sh -c echo in the guest; exit 7: ",
                "ready ",
                "result ",
                "</svg>",
            ],
        );
        // The last unit that a login waits for, the network or the rest of the system, differs from
        // boot to boot.
        let before = ["network.target: ", "basic.target: "];
        assert!(before.iter().any(|target| svg.contains(target)), "{svg}");
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn what_cannot_become_a_chart_boots_nothing() {
    let sandbox = Sandbox::new();
    let tools = FakeTools::new(&sandbox);
    for program in ["ssh", &format!("qemu-system-{}", std::env::consts::ARCH)] {
        tools.link(program);
    }
    tools.podman("exit 1");
    let dir = sandbox.make_dir("pictures");
    let nowhere = dir.join("no/boot.svg");
    let nowhere = nowhere.to_str().expect("UTF-8");
    let mut checks = Checks::new();
    for (args, code, words) in [
        (
            &["nobody"][..],
            1,
            &["no VM named nobody", "hint: ", "ps -a"][..],
        ),
        (&[], 2, &["NAME"]),
        (&["nobody", "--run", "image"], 2, &["cannot be used"]),
        (&["nobody", "--memory=1G"], 2, &["cannot be used"]),
        (&["nobody", "--bind=/tmp"], 2, &["cannot be used"]),
        (&["nobody", "--", "true"], 2, &["cannot be used"]),
        (&["nobody", "--json", "-o", "x.svg"], 2, &["cannot be used"]),
        (
            &["--run", "image", "-o", nowhere],
            2,
            &["the picture cannot go to", "no/boot.svg", "caused by: "],
        ),
        (
            &["--run", "image", "-o", "/"],
            2,
            &["the picture cannot go to /", "not a regular file"],
        ),
        (
            &["--run", "image", "--no-ssh-keygen"],
            2,
            &["boot-chart logs in over SSH", "hint: "],
        ),
        (
            &["--run", "image", "--execute=true"],
            2,
            &["boot-chart runs its command over SSH", "IMAGE -- CMD"],
        ),
        (&["--run", "image", "--memory=banana"], 2, &["banana"]),
    ] {
        checks.check(&format!("{args:?}"), || {
            let command = sandbox.bcvk(["boot-chart"]).args(args);
            let _ = tools.only(command).run().expect_error(code, words);
        });
    }
    assert!(
        fs::read_dir(&dir).expect("the directory").next().is_none(),
        "something was written"
    );
    checks.finish();
    sandbox.finish();
}
