//! Selection of the VM directories that a command removes as left over.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bcvk_testkit::{Cmd, FakeTools, Sandbox, images, limit, until};

/// A command that uses another storage of podman's does not see the VM's container.
#[test]
fn a_vm_in_another_storage_keeps_its_directory() {
    let sandbox = Sandbox::new();
    let vm = sandbox.boot("vm", &[], images::trixie());
    let dir = vm.dir();
    let at = |name: &str| sandbox.path().join("elsewhere").join(name);
    fs::create_dir(at("")).expect("make a directory");
    let storage = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = {:?}\nrunroot = {:?}\n",
        at("graph"),
        at("run"),
    );
    fs::write(at("storage.conf"), storage).expect("write");
    let engine = format!("[engine]\ntmp_dir = {:?}\n", at("tmp"));
    fs::write(at("containers.conf"), engine).expect("write");
    let elsewhere = |cmd: Cmd| {
        cmd.env("CONTAINERS_STORAGE_CONF", at("storage.conf"))
            .env("CONTAINERS_CONF", at("containers.conf"))
    };
    let sweep = || {
        let listed = elsewhere(sandbox.bcvk(["ps", "--all", "--json"])).run();
        assert_eq!(listed.expect_success().text(), "[]");
    };

    let _ = sandbox.podman(["kill", vm.name()]).run().expect_success();
    let _ = sandbox
        .podman(["wait", vm.name()])
        .limit(limit::QUICK)
        .run()
        .expect_success();
    sweep();
    assert!(dir.join("spec.json").exists(), "its container is there");

    let _ = sandbox.podman(["rm", vm.name()]).run().expect_success();
    until("what is left of it is removed", limit::GONE, || {
        sweep();
        !dir.exists()
    });
    let _ = elsewhere(sandbox.podman(["system", "reset", "--force"])).run();
    sandbox.finish();
}

/// podman 4.3 itself may remove a container of `--rm` while it restarts it.
#[test]
fn a_restart_of_a_vm_that_is_to_be_removed_leaves_nothing() {
    let sandbox = Sandbox::new();
    for time in ["--time=0", "--time=30"] {
        let vm = sandbox.boot("vm", &["--rm"], images::trixie());
        let _ = sandbox
            .podman(["restart", time, vm.name()])
            .limit(limit::SHUTDOWN)
            .run()
            .expect_code(125);
        // podman alone removes the container, in a race of two of its processes, and promises no time.
        sandbox.expect_nothing_left_within(limit::SHUTDOWN);
    }
    sandbox.finish();
}

/// Tests rely on it: whatever else runs, a mount that a VM leaves is found, and no other.
#[test]
fn a_mount_that_is_left_is_found_beside_a_running_vm() {
    let Some(sandbox) = Sandbox::apart() else {
        return;
    };
    sandbox.load_image(images::trixie());
    let vm = sandbox.boot("vm", &[], images::trixie());
    let point = sandbox
        .home()
        .join(".local/share/containers/storage/overlay/left/merged");
    let in_podmans_namespace = |script: &str| {
        let unshare = sandbox.podman(["unshare", "sh", "-ec", script, "sh"]);
        let _ = unshare.arg(&point).run().expect_success();
    };
    let mounts_found = |limit| {
        in_podmans_namespace("mkdir -p \"$1\"; mount -t tmpfs left \"$1\"");
        let found = AssertUnwindSafe(|| sandbox.expect_nothing_left_within(limit));
        let found = catch_unwind(found).expect_err("the VM is there");
        let found = found.downcast_ref::<String>().expect("a message").clone();
        let lines = found.lines().filter(|line| line.contains("mount "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let left = format!("  mount {}", point.display());
    assert_eq!(mounts_found(limit::GONE), [left]);
    in_podmans_namespace("umount \"$1\"");

    // Another's container may end, and its mount go away, between the look at mounts and that at
    // containers, which is the second one.
    let script = format!(
        "if [ $1 = ps ]; then if [ -e $0.asked ]; then /usr/bin/podman unshare umount '{}'; else : >$0.asked; fi; fi\n\
         exec /usr/bin/podman \"$@\"",
        point.display()
    );
    FakeTools::in_front(&sandbox).script("podman", &script);
    assert_eq!(mounts_found(Duration::ZERO), [""; 0]);
    fs::remove_file(sandbox.bin().join("podman")).expect("removed");
    in_podmans_namespace("rmdir \"$1\" \"${1%/*}\"");
    vm.discard();
    sandbox.finish();
}
