//! Every example of bcvk-ephemeral(8), as printed but for the image, the names and the path.

use bcvk_testkit::{Cmd, Sandbox, images, limit};
use bcvk_tests::stage::Translation;

/// A command line of the manual, run in a shell.
fn example(sandbox: &Sandbox, line: &str) -> Cmd {
    let line = translation(sandbox).to_test(line);
    sandbox.command("sh").args(["-c", &line]).limit(limit::BOOT)
}

fn translation(sandbox: &Sandbox) -> Translation {
    Translation::new(sandbox, &sandbox.path().display().to_string())
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.install_bcvk();
    sandbox
}

/// Uses the shell that an example ends in, and leaves it.
fn use_shell(command: Cmd, line: &str, answer: &str) {
    let mut shell = command.at_a_terminal().spawn();
    shell.await_stdout("# ", limit::BOOT);
    shell.type_in(line);
    shell.type_in("\n");
    shell.await_stdout(answer, limit::QUICK);
    shell.type_in("exit\n");
    let _ = shell.wait(limit::QUICK).expect_success();
}

/// The quick interactive session is the second half of this, on another image.
#[test]
fn build_and_test_workflow_and_quick_session() {
    let sandbox = sandbox();
    let containerfile = format!(
        "FROM {}\nCOPY motd /usr/share/bcvk-test-motd\n",
        images::trixie()
    );
    std::fs::write(sandbox.path().join("Containerfile"), containerfile).expect("write");
    std::fs::write(sandbox.path().join("motd"), "built\n").expect("write");
    let mut shell = example(
        &sandbox,
        "podman build -t localhost/mybootc . && bcvk ephemeral run-ssh localhost/mybootc",
    )
    .at_a_terminal()
    .spawn();
    shell.await_stdout("# ", limit::BOOT);
    shell.type_in("echo motd=$(cat /usr/share/bcvk-test-motd) name=$(hostname).; exit\n");
    let output = shell
        .wait(limit::QUICK)
        .expect_success()
        .expect_stdout("motd=built");
    // The VM chose its own name, which nothing else knows to look for.
    let stdout = output.stdout();
    let name = stdout
        .split("name=")
        .last()
        .and_then(|rest| rest.split('.').next());
    let name = name
        .filter(|name| name.starts_with("bcvk-"))
        .unwrap_or_else(|| panic!("{output}"));
    let _ = sandbox
        .podman(["container", "exists", name])
        .run()
        .expect_code(1);
    sandbox.remove_image(translation(&sandbox).own_image());
    sandbox.finish();
}

#[test]
fn background_vm_with_ssh_access() {
    let sandbox = sandbox().resuming();
    let run = |line: &str| example(&sandbox, line).run().expect_success();
    let id = run("bcvk ephemeral run -d --rm -K --name testvm quay.io/fedora/fedora-bootc:42");
    assert_eq!(id.text().len(), 64, "{id}");
    use_shell(
        example(&sandbox, "bcvk ephemeral ssh testvm"),
        "echo shell=$((1 + 1))",
        "shell=2",
    );
    let _ = run("bcvk ephemeral ssh testvm 'systemctl status'").expect_stdout("State: ");
    let _ = run("podman stop testvm");
    sandbox.finish();
}

#[test]
fn development_vm_with_host_directory_access() {
    let sandbox = sandbox().resuming();
    let project = sandbox.make_dir("project");
    std::fs::write(project.join("main.rs"), "fn main() {}\n").expect("write");
    let line = "bcvk ephemeral run -d --rm -K \\\n        --bind /home/user/project:project \\\n        --name devvm localhost/mybootc"
        .replace("localhost/mybootc", images::trixie());
    let _ = example(&sandbox, &line).run().expect_success();
    use_shell(
        example(&sandbox, "bcvk ephemeral ssh devvm"),
        "cd /run/virtiofs-mnt-project && ls && touch built",
        "main.rs",
    );
    assert!(project.join("built").exists());
    let _ = example(&sandbox, "podman stop devvm")
        .run()
        .expect_success();
    sandbox.finish();
}

#[test]
fn resource_customization_by_numbers() {
    let sandbox = sandbox();
    let line = "bcvk ephemeral run-ssh --memory 8G --vcpus 4 localhost/mybootc"
        .replace("localhost/mybootc", images::trixie());
    use_shell(
        example(&sandbox, &line),
        "echo cpus=$(nproc) gib=$(awk '/MemTotal/ { print int($2 / 1024 / 1024 + 0.5) }' /proc/meminfo)",
        "cpus=4 gib=8",
    );
    sandbox.finish();
}

#[test]
fn resource_customization_by_instance_type() {
    let sandbox = sandbox();
    let line = "bcvk ephemeral run-ssh --itype u1.medium localhost/mybootc"
        .replace("localhost/mybootc", images::trixie());
    use_shell(
        example(&sandbox, &line),
        "echo cpus=$(nproc) gib=$(awk '/MemTotal/ { print int($2 / 1024 / 1024 + 0.5) }' /proc/meminfo)",
        "cpus=1 gib=4",
    );
    sandbox.finish();
}
