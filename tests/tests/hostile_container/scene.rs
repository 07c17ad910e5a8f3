//! Two VMs, an attacker in one of them, and all that must stay as it was.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use bcvk_testkit::{Output, Sandbox, Vm, images};

/// Limit for a command, whatever a VM's directory contains. It asks podman at most.
pub(crate) const SECONDS: Duration = Duration::from_secs(10);

/// The exit code of ssh if it cannot connect.
pub(crate) const SSH_FAILED: i32 = 255;

/// Secret that no command may show, nor the container read.
pub(crate) const SECRET: &str = "a secret of the host";

/// The machine around the attacker: two VMs, and everything that must stay as it was.
pub(crate) struct Scene<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) vm: Vm<'a>,
    pub(crate) other: Vm<'a>,
    pub(crate) dir: PathBuf,
    pub(crate) others_dir: PathBuf,
    /// A directory of the host's with a secret and a socket.
    pub(crate) canary: PathBuf,
    pub(crate) listener: UnixListener,
    pub(crate) before: String,
}

impl<'a> Scene<'a> {
    pub(crate) fn set(sandbox: &'a Sandbox) -> Self {
        let canary = sandbox.make_dir("canary");
        fs::write(canary.join("secret"), format!("{SECRET}\n")).expect("write");
        let listener = UnixListener::bind(canary.join("socket")).expect("bind");
        listener.set_nonblocking(true).expect("a socket");
        let vm = sandbox.boot("vm", &["--memory=1G"], images::trixie());
        let other = sandbox.boot("other", &[], images::trixie());
        vm.sh("true");
        other.sh("echo mine >/run/mine");
        let mut scene = Self {
            sandbox,
            dir: vm.dir(),
            others_dir: other.dir(),
            vm,
            other,
            canary,
            listener,
            before: String::new(),
        };
        scene.before = scene.state();
        scene
    }

    /// Describes all that must not change: the host's files, what the host obeys for both VMs, and
    /// all of the other VM's.
    pub(crate) fn state(&self) -> String {
        let shared = self.dir.join("shared");
        let find = self.sandbox.command("find");
        let find = find.args([&self.canary, &self.dir, &self.others_dir]);
        let found = find
            .args(["-path"])
            .arg(shared)
            // Files that the other VM itself writes are left out.
            .args([
                "-prune",
                "-o",
                "-name",
                "*.log",
                "-o",
                "-name",
                "events.jsonl",
                "-o",
            ])
            .args(["-printf", "%p %y %m %U %G %s %n %T@ %l\n"])
            .run()
            .expect_success();
        found.stdout()
    }

    /// Fails if the host or the other VM has noticed.
    pub(crate) fn expect_unchanged(&self) {
        assert_eq!(self.state(), self.before);
        let secret = fs::read_to_string(self.canary.join("secret")).expect("read");
        assert_eq!(secret.trim(), SECRET);
        match self.listener.accept() {
            Ok(_) => panic!("somebody has connected with a socket of the host's"),
            Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
        }
        let (vm, other) = (self.vm.name(), self.other.name());
        let running = [
            "container",
            "inspect",
            "--format={{.Name}} {{.State.Running}}",
            vm,
            other,
        ];
        let running = self.sandbox.podman(running).run().expect_success();
        assert_eq!(running.text(), format!("{vm} true\n{other} true"));
    }

    /// Runs a script with the container's root in the directory that it shares with the host. `$1` is
    /// the canary's directory, `$2` the other VM's.
    #[track_caller]
    pub(crate) fn attack(&self, script: &str) -> Output {
        let prelude = format!(
            "set -- {} {}; cd /bcvk-*/run/bcvk || exit 99\n",
            self.canary.display(),
            self.others_dir.display()
        );
        self.vm.exec(&(prelude + script))
    }

    /// Runs a command of the host's that has to end in seconds, and that says nothing that it should
    /// not know. If it fails, it names the VM or its image, or is ssh, which speaks for itself.
    #[track_caller]
    pub(crate) fn ask(&self, words: &[&str]) -> Output {
        let name = self.vm.name();
        let words = words
            .iter()
            .map(|word| if *word == "VM" { name } else { word });
        let output = self.sandbox.bcvk(words).limit(SECONDS).run();
        assert!(!output.stdout().contains(SECRET), "{output}");
        let output = output
            .expect_no_stderr(SECRET)
            .expect_no_stderr("panicked at")
            .expect_no_stderr("\u{1b}");
        let said = output.stderr();
        let named =
            said.contains("error: ") && [name, images::trixie()].iter().any(|n| said.contains(n));
        assert!(
            named || matches!(output.code(), Some(0 | SSH_FAILED)),
            "{output}"
        );
        output
    }

    /// `ps -a` lists both, whatever one of them does.
    #[track_caller]
    pub(crate) fn expect_listed(&self) {
        let listed = self.ask(&["ps", "-a"]).expect_success();
        let _ = listed
            .expect_stdout(self.vm.name())
            .expect_stdout(self.other.name());
    }
}
