//! VMs whose QEMU and supervisor come from a runner image: on hosts without QEMU, and in Pods.

use std::fs;
use std::path::Path;

use bcvk_testkit::{Checks, FakeTools, Sandbox, expect_sshd, images, limit, until};

/// Builds a runner as users build theirs, with the binary under test.
fn build_runner(sandbox: &Sandbox) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runner/build.sh");
    sandbox
        .command(script)
        .arg(sandbox.bcvk_path())
        .arg(format!("localhost/{}", sandbox.name("runner")))
        .arg(format!("BASE={}", images::trixie()))
        .limit(limit::BOOT)
        .run()
        .expect_success()
        .text()
}

#[test]
fn a_host_without_qemu_boots_by_a_runner() {
    let sandbox = Sandbox::new();
    let runner = build_runner(&sandbox);
    let host = FakeTools::new(&sandbox);
    for tool in ["podman", "ssh", "iptables", "ip6tables"] {
        host.link(tool);
    }
    let bcvk = |args: &[&str]| host.only(sandbox.bcvk(args));
    let mut checks = Checks::new();
    checks.check("without a runner there is no QEMU", || {
        let _ = bcvk(&["run-ssh", images::trixie(), "true"])
            .run()
            .expect_error(125, &["qemu-system-", "is not installed", "--runner"]);
    });
    checks.check("any image is no runner", || {
        let not = format!("--runner={}", images::minimal());
        let _ = bcvk(&["run-ssh", &not, images::trixie(), "true"])
            .run()
            .expect_error(125, &[images::minimal(), "is no runner", "make runner"]);
    });
    checks.check("a snapshot is of the host's own QEMU", || {
        let runner = format!("--runner={runner}");
        let _ = bcvk(&[
            "run-ssh",
            "--warm=require",
            &runner,
            images::trixie(),
            "true",
        ])
        .run()
        .expect_error(2, &["cannot be resumed", "--runner is given"]);
    });
    checks.check("a VM with a share boots, and has a shell", || {
        let shared = sandbox.make_dir("shared");
        let bind = format!("--bind={}:here", shared.display());
        let runner = format!("--runner={runner}");
        let output = bcvk(&["run-ssh", &runner, &bind, images::trixie(), "--"])
            .arg("echo from-$(hostname) >/run/virtiofs-mnt-here/said; exit 7")
            .limit(limit::BOOT)
            .run()
            .expect_code(7);
        let said = fs::read_to_string(shared.join("said"));
        let said = said.unwrap_or_else(|e| panic!("{e}: {}", output.stderr()));
        assert!(said.starts_with("from-bcvk-"), "{said}");
    });
    checks.finish();
    sandbox.remove_image(&runner);
    sandbox.finish();
}

/// A Pod that podman plays. It stands in for a kubelet but for two things: podman before 5.3 knows no
/// image volumes, so the image is mounted for it, and it grants no devices by a resource's name.
struct Pod<'a> {
    sandbox: &'a Sandbox,
    name: String,
    image: &'a str,
}

impl<'a> Pod<'a> {
    fn play(
        sandbox: &'a Sandbox,
        part: &str,
        runner: &str,
        options: &[&str],
        image: &'a str,
    ) -> Self {
        let name = sandbox.name(part);
        let manifest = sandbox
            .bcvk(["kube", "--accel=tcg", "--memory=1G", "--name", &name])
            .args(["--runner", runner])
            .args(options)
            .arg(image)
            .run()
            .expect_success()
            .stdout();
        let mounted = sandbox
            .podman(["image", "mount", image])
            .run()
            .expect_success()
            .text();
        let volume = format!("image:\n      reference: {image}");
        assert!(manifest.contains(&volume), "{manifest}");
        let played = manifest.replace(&volume, &format!("hostPath:\n      path: {mounted}"));
        let _ = sandbox
            .podman(["kube", "play", "-"])
            .stdin(played)
            .run()
            .expect_success();
        Self {
            sandbox,
            name,
            image,
        }
    }

    fn container(&self) -> String {
        format!("{}-vm", self.name)
    }

    fn inspect(&self, format: &str) -> String {
        self.sandbox
            .podman(["inspect", "--format", format, &self.container()])
            .run()
            .expect_success()
            .text()
    }

    /// Runs a command in the container, as `kubectl exec` would.
    fn exec(&self, words: &[&str]) -> bcvk_testkit::Output {
        self.sandbox
            .podman(["exec", &self.container()])
            .args(words)
            .run()
    }

    fn await_ready(&self) {
        until("the Pod to be ready", limit::BOOT, || {
            let running = self.inspect("{{.State.Running}}") == "true";
            assert!(running, "ended: {}", self.end().1);
            self.exec(&["/run/bcvk-exe", "internal", "ready"]).code() == Some(0)
        });
    }

    /// Waits for the VM's end; returns its exit code and all that it said.
    fn end(&self) -> (String, String) {
        let code = self
            .sandbox
            .podman(["wait", &self.container()])
            .limit(limit::BOOT)
            .run()
            .expect_success()
            .text();
        let logs = self.sandbox.podman(["logs", &self.container()]).run();
        (code, logs.stdout() + &logs.stderr())
    }

    fn remove(self) {
        let _ = self
            .sandbox
            .podman(["pod", "rm", "--force", "--time=0", &self.name])
            .run()
            .expect_success();
        let _ = self
            .sandbox
            .podman(["image", "unmount", self.image])
            .run()
            .expect_success();
    }
}

/// Makes an image of the test's own. podman counts who has an image mounted, and a container that
/// ends may give it back more than once: this would unmount the images of other tests.
fn own_image(sandbox: &Sandbox, part: &str, run: &str) -> String {
    sandbox.build_image_named(part, &format!("FROM BASE\nRUN {run}\n"))
}

#[test]
fn a_pod_is_a_vm() {
    let sandbox = Sandbox::new();
    let runner = build_runner(&sandbox);
    let image = own_image(&sandbox, "image", "touch /usr/lib/own");
    let mut checks = Checks::new();
    let options = ["--vcpus=1", "--publish=2222:22", "--env=GREETING=hello"];
    let pod = Pod::play(&sandbox, "pod", &runner, &options, &image);
    checks.check("it has no more rights than it needs", || {
        assert_eq!(
            pod.inspect(
                "{{.EffectiveCaps}} {{.HostConfig.SecurityOpt}} {{.HostConfig.ReadonlyRootfs}}"
            ),
            "[CAP_DAC_OVERRIDE CAP_SETGID CAP_SETPCAP CAP_SYS_CHROOT] [no-new-privileges] true"
        );
    });
    pod.await_ready();
    checks.check("whoever may exec in it gets a shell in the VM", || {
        let output = pod.exec(&["ssh", &pod.name, "hostname; echo $GREETING; exit 3"]);
        assert_eq!(output.text(), format!("{}\nhello", pod.name));
        assert_eq!(output.code(), Some(3));
    });
    checks.check("its port leads into the VM", || {
        let infra = sandbox
            .podman([
                "pod",
                "inspect",
                "--format",
                "{{.InfraContainerID}}",
                &pod.name,
            ])
            .run()
            .text();
        let address = sandbox
            .podman(["inspect", "--format"])
            .arg("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
            .arg(infra)
            .run()
            .text();
        expect_sshd((address.as_str(), 2222));
    });
    checks.check("SIGTERM shuts the VM down", || {
        let _ = sandbox
            .podman(["stop", "--time=30", &pod.container()])
            .limit(limit::SHUTDOWN)
            .run()
            .expect_success();
        assert_eq!(pod.inspect("{{.State.ExitCode}}"), "0");
    });
    pod.remove();
    checks.finish();
    sandbox.remove_image(&image);
    sandbox.remove_image(&runner);
    sandbox.finish();
}

#[test]
fn a_pod_that_runs_a_command_ends_as_the_command_does() {
    let sandbox = Sandbox::new();
    let runner = build_runner(&sandbox);
    let mut checks = Checks::new();
    let image = own_image(&sandbox, "image", "touch /usr/lib/own");
    let options = ["--execute=echo said in the VM; exit 7", "--add-swap=64M"];
    let pod = Pod::play(&sandbox, "command", &runner, &options, &image);
    checks.check("output and exit code are the command's", || {
        let (code, logs) = pod.end();
        assert_eq!(code, "7", "{logs}");
        assert!(logs.contains("said in the VM"), "{logs}");
    });
    pod.remove();
    let kernelless = own_image(&sandbox, "kernelless", "rm -r /usr/lib/modules");
    let pod = Pod::play(&sandbox, "kernelless", &runner, &[], &kernelless);
    checks.check("an image that cannot boot is told in the log", || {
        let (code, logs) = pod.end();
        assert_eq!(code, "125", "{logs}");
        let error = format!("error: image {kernelless} cannot boot");
        assert!(logs.contains(&error), "{logs}");
    });
    pod.remove();
    checks.finish();
    sandbox.remove_image(&image);
    sandbox.remove_image(&kernelless);
    sandbox.remove_image(&runner);
    sandbox.finish();
}
