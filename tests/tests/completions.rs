//! Completion in shells. VMs are directories here, and podman a script: completion asks no more of
//! them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bcvk_testkit::{Checks, FakeTools, Running, Sandbox, limit};

/// A podman that has two images, of which one can boot, and can do nothing else.
const PODMAN: &str = r#"case "$*" in
'images '*) echo '[
    {"Id":"a","Names":["localhost/os:1","quay.io/me/os:2"],"Size":1300000000,"Labels":{"containers.bootc":"1"}},
    {"Id":"b","Names":["localhost/app:1"],"Size":5,"Labels":null}]' ;;
*) echo "podman was asked for $*" >>"$HOME/asked"; exit 125 ;;
esac"#;

/// A machine with a VM `alpha`, which runs, and `beta`, which has ended.
struct Machine {
    sandbox: Sandbox,
    tools: FakeTools,
    /// Process that holds the lock of a VM that runs.
    alpha: Running,
}

impl Machine {
    /// Makes the machine; `None` if no user can be had whose VMs are apart from all others.
    fn new() -> Option<Self> {
        let sandbox = Sandbox::apart()?;
        sandbox.install_bcvk();
        let tools = FakeTools::in_front(&sandbox);
        let spec = a_spec(&sandbox, &tools);
        tools.script("podman", PODMAN);
        for (id, name) in [("0123456789abcdef", "alpha"), ("fedcba9876543210", "beta")] {
            let dir = vms(&sandbox).join(id);
            fs::create_dir(&dir).expect("make a VM's directory");
            let spec = spec.replace("\"template\"", &format!("\"{name}\""));
            fs::write(dir.join("spec.json"), spec).expect("write a spec");
            fs::create_dir(dir.join("shared")).expect("make the shared directory");
            fs::write(dir.join("shared/supervisor.lock"), "").expect("make a lock");
            // Files of another user count for nothing.
            for path in ["spec.json", "shared", "shared/supervisor.lock", ""] {
                sandbox.give(&dir.join(path));
            }
        }
        let lock = vms(&sandbox).join("0123456789abcdef/shared/supervisor.lock");
        let mut alpha = sandbox
            .command("flock")
            .arg(lock)
            .args(["sh", "-c", "echo held; exec sleep 600"])
            .spawn();
        alpha.await_stdout("held", limit::QUICK);
        Some(Self {
            sandbox,
            tools,
            alpha,
        })
    }

    /// Returns bash's completions of a line, each with a `|` behind it.
    fn bash(&self, line: &str) -> String {
        let script = "source <(bcvk completions bash)
            compopt() { :; }
            COMP_LINE=$1 COMP_POINT=${#1}
            _bcvk
            printf '%s|' \"${COMPREPLY[@]}\"";
        let command = self.sandbox.command("bash");
        let output = command.args(["-euc", script, "bash", line]).run();
        let text = output.expect_success().expect_no_stderr("e").stdout();
        text.trim_start_matches('|').to_owned()
    }

    /// Checks that `shell` completes `line` to `whole` at TAB, at a terminal.
    fn types(&self, shell: &[&str], set_up: &str, line: &str, whole: &str) {
        let command = self.sandbox.command(shell[0]).args(&shell[1..]);
        let mut shell = command.env("PS1", "> ").at_a_terminal().spawn();
        shell.type_in(set_up);
        shell.type_in("; echo set''up\n");
        shell.await_stdout("setup", limit::QUICK);
        shell.type_in(line);
        shell.type_in("\t");
        shell.await_stdout(whole, limit::QUICK);
        // Ctrl-U throws the line away.
        shell.type_in("\u{15}exit\n");
        let _ = shell.wait(limit::QUICK);
    }
}

fn vms(sandbox: &Sandbox) -> PathBuf {
    sandbox
        .runtime_dir()
        .expect("a runtime directory")
        .join("bcvk/vms")
}

/// Returns the spec of a VM called `template`, which `run` has written before podman failed.
fn a_spec(sandbox: &Sandbox, tools: &FakeTools) -> String {
    let copy = sandbox.home().join("spec");
    let save = format!(
        "cat '{}'/*/spec.json >'{}'; exit 1",
        vms(sandbox).display(),
        copy.display()
    );
    tools.podman(&save);
    let run = sandbox.bcvk(["run", "-d", "--name", "template", "localhost/any"]);
    let _ = run.run().expect_code(125);
    fs::read_to_string(copy).expect("the spec")
}

/// Command lines, and what bash completes the last word of each to.
const BASH: [(&str, &str); 28] = [
    ("bcvk ep", "ephemeral|"),
    ("bcvk int", ""),
    ("bcvk ephemeral insp", "inspect|"),
    ("bcvk ephemeral ssh ", "alpha|"),
    ("bcvk ephemeral ssh -N ", "alpha|"),
    ("bcvk ephemeral ssh alpha al", ""),
    ("bcvk ephemeral stop alpha a", ""),
    ("bcvk ephemeral rm ", "alpha|beta|"),
    ("bcvk ephemeral rm alpha b", "beta|"),
    ("bcvk ephemeral logs b", "beta|"),
    ("bcvk ephemeral ssh-config a", "alpha|"),
    ("bcvk ephemeral run ", "localhost/os:1|quay.io/me/os:2|"),
    ("bcvk ephemeral run-ssh -t lo", "localhost/os:1|"),
    ("bcvk ephemeral run o", "os:1|"),
    // readline replaces what follows the colon.
    ("bcvk ephemeral run quay.io/me/os:", "2|"),
    ("bcvk ephemeral run --vcp", "--vcpus|"),
    ("bcvk ephemeral run --itype u1.m", "u1.micro|u1.medium|"),
    ("bcvk ephemeral run --itype=u1.n", "u1.nano|"),
    ("bcvk ephemeral kube --warm", ""),
    ("bcvk ephemeral run --warm ", "auto|off|require|"),
    ("bcvk ephemeral run --accel=k", "kvm|"),
    ("bcvk ephemeral wait --for s", "stopped|"),
    ("bcvk ephemeral ps --format j", "json|"),
    ("bcvk completions f", "fish|"),
    ("bcvk ephemeral run --ignition 'a f", "a file|"),
    ("bcvk ephemeral run --ignition a\\ f", "a\\ file|"),
    ("bcvk ephemeral run --bind some", "some\\ dir/|"),
    ("bcvk ephemeral run --log-dir journal=some", "some\\ dir/|"),
];

#[test]
fn shells_complete_vms_images_and_values() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let mut checks = Checks::new();
    for (line, expected) in BASH {
        checks.check(line, || {
            fs::write(machine.sandbox.path().join("a file"), "").expect("write");
            fs::create_dir_all(machine.sandbox.path().join("some dir")).expect("make");
            assert_eq!(machine.bash(line), expected);
        });
    }
    checks.check("fish", || {
        let script = "bcvk completions fish | source
            complete -C 'bcvk ephemeral rm '
            complete -C 'bcvk ephemeral run --itype u1.n'
            complete -C 'bcvk ephemeral run localhost/'";
        let fish = machine
            .sandbox
            .command("fish")
            .args(["--no-config", "-c", script]);
        let text = fish.run().expect_success().text();
        assert_eq!(
            text,
            "alpha\tlocalhost/any\nbeta\tlocalhost/any, ended\n\
             u1.nano\t1 vCPU, 512 MiB\nlocalhost/os:1\t1.3 GB"
        );
    });
    checks.check("bash at a terminal", || {
        let bash = ["bash", "--norc", "-i"];
        let set_up = "source <(bcvk completions bash)";
        machine.types(&bash, set_up, "bcvk ephemeral ssh al", "ssh alpha ");
        machine.types(&bash, set_up, "bcvk ephemeral run quay.io/me/os:", "os:2 ");
    });
    checks.check("zsh at a terminal", || {
        let zsh = ["zsh", "-f", "-i"];
        let set_up = "autoload -U compinit; compinit -u -D; source <(bcvk completions zsh)";
        machine.types(&zsh, set_up, "bcvk ephemeral ssh al", "alpha");
        machine.types(&zsh, set_up, "bcvk ephemeral run quay.io/me/os:", "os:2");
    });
    checks.check("podman was asked for images alone", || {
        let asked = machine.sandbox.home().join("asked");
        assert_eq!(fs::read_to_string(asked).unwrap_or_default(), "");
    });
    checks.finish();
    let Machine {
        sandbox,
        tools,
        alpha,
    } = machine;
    drop(alpha);
    // The search for leftovers asks podman.
    tools.podman("exit 1");
    fs::remove_dir_all(vms(&sandbox)).expect("remove the VMs");
    sandbox.finish();
}

/// Lists all files that the user has.
fn files(sandbox: &Sandbox) -> Vec<String> {
    let runtime_dir = sandbox.runtime_dir().expect("a runtime directory");
    let find = sandbox.command("find").args([sandbox.home(), runtime_dir]);
    let found = find.run().expect_success().stdout();
    let mut files: Vec<String> = found.lines().map(str::to_owned).collect();
    files.sort();
    files
}

/// Limit that is longer than completion waits for podman, on a machine that is busy.
const SOON: Duration = Duration::from_secs(8);

#[test]
fn completion_is_silent_and_leaves_no_trace() {
    let Some(sandbox) = Sandbox::apart() else {
        return;
    };
    sandbox.install_bcvk();
    let before = files(&sandbox);
    let mut checks = Checks::new();
    let asked = |verb: &str, tools: &FakeTools| {
        let command = sandbox
            .command(sandbox.bcvk_path())
            .env("_BCVK_COMPLETE", "fish")
            .args(["--", "bcvk", "ephemeral", verb, "x"]);
        let output = tools.only(command).run().expect_success();
        assert_eq!(output.stderr(), "", "{output}");
        assert_eq!(output.stdout(), "", "{output}");
        output
    };
    let none = FakeTools::named(&sandbox, "no-podman");
    for verb in ["ssh", "rm", "run", "run-ssh"] {
        checks.check(&format!("{verb} without podman and VMs"), || {
            let _ = asked(verb, &none);
        });
    }
    checks.check("a podman that fails", || {
        let tools = FakeTools::named(&sandbox, "failing");
        tools.script("podman", "echo 'Error: database is locked' >&2; exit 125");
        let _ = asked("run", &tools);
    });
    checks.check("a podman that hangs", || {
        let tools = FakeTools::named(&sandbox, "hanging");
        tools.link("sleep");
        tools.script("podman", "exec sleep 60");
        let _ = asked("run", &tools).expect_within(SOON);
    });
    checks.check("no such shell", || {
        let output = sandbox
            .command(sandbox.bcvk_path())
            .args(["completions", "tcsh"])
            .run();
        let _ = output.expect_error(2, &["tcsh", "bash"]);
        let output = sandbox
            .command(sandbox.bcvk_path())
            .env("_BCVK_COMPLETE", "tcsh");
        let output = output.args(["--", "bcvk", ""]).run().expect_success();
        assert_eq!(output.stdout() + &output.stderr(), "");
    });
    checks.check("nothing was made", || {
        assert!(!vms(&sandbox).exists());
        assert_eq!(files(&sandbox), before);
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn there_is_a_script_for_every_shell() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        checks.check(shell, || {
            let command = sandbox.command(sandbox.bcvk_path());
            let script = command
                .args(["completions", shell])
                .run()
                .expect_success()
                .stdout();
            for word in ["_BCVK_COMPLETE", "bcvk"] {
                assert!(script.contains(word), "{word} in {script}");
            }
            // Scripts are installed, so they must be the same wherever they are made.
            assert!(
                !script.contains(&sandbox.bcvk_path().display().to_string()),
                "{script}"
            );
        });
    }
    checks.finish();
    sandbox.finish();
}
