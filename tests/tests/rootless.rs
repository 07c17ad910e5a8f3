//! Tests as an ordinary user, whose podman has nothing of root's.
//!
//! Verbs that touch every VM are tested here: this user has none but the test's.

use std::fs;
use std::os::unix::fs::MetadataExt;

use bcvk_testkit::{Checks, Sandbox, Vm, images, limit, until};
use bcvk_tests::rights::{check_rights, members};
use bcvk_tests::stranger::Belongings;

#[test]
fn run_ssh_and_a_share() {
    let Some(sandbox) = Sandbox::rootless() else {
        return;
    };
    let dir = sandbox.make_dir("share");
    fs::write(dir.join("from-host"), "host\n").expect("write");
    let output = sandbox
        .bcvk(["run-ssh", "--name", &sandbox.name("vm")])
        .args(["--bind", &format!("{}:share", dir.display()), images::trixie()])
        .args(["--", "sh", "-c", "cd /run/virtiofs-mnt-share && cat from-host && echo guest >from-guest && id -u; exit 3"])
        .limit(limit::BOOT)
        .run()
        .expect_code(3);
    assert_eq!(output.stdout(), "host\n0\n", "{output}");
    let written = dir.join("from-guest");
    assert_eq!(fs::read_to_string(&written).expect("read"), "guest\n");
    let owner = fs::metadata(&dir).expect("metadata").uid();
    assert_eq!(fs::metadata(&written).expect("metadata").uid(), owner);
    sandbox.finish();
}

#[test]
fn a_command_with_a_disk_and_logs() {
    let Some(sandbox) = Sandbox::rootless() else {
        return;
    };
    let dir = sandbox.make_dir("given");
    let output = sandbox
        .bcvk(["run", "--rm", "--name", &sandbox.name("vm")])
        .arg(format!("--mount-disk-file={}/disk.img:d", dir.display()))
        .arg(format!("--log-dir=journal,console={}/logs", dir.display()))
        .args(["--add-swap=64M", "--publish=127.0.0.1::22"])
        .arg("--execute=echo disk >/dev/disk/by-id/virtio-d && tail -n 1 /proc/swaps; exit 5")
        .arg(images::trixie())
        .limit(limit::BOOT)
        .run()
        .expect_code(5);
    assert!(output.stdout().contains("partition"), "{output}");
    let owner = fs::metadata(&dir).expect("metadata").uid();
    for file in ["disk.img", "logs/console.txt", "logs/journal.json"] {
        let meta = fs::metadata(dir.join(file)).expect(file);
        assert_eq!(meta.uid(), owner, "{file}");
        assert!(meta.len() > 0, "{file}");
    }
    let disk = fs::read(dir.join("disk.img")).expect("read");
    assert!(disk.starts_with(b"disk\n"));
    sandbox.finish();
}

#[test]
fn a_background_vm() {
    let Some(sandbox) = Sandbox::rootless() else {
        return;
    };
    let vm = sandbox.boot("vm", &["--rm"], images::trixie());
    let mut checks = Checks::new();
    checks.check("ssh", || {
        assert_eq!(vm.sh("id -u"), "0");
    });
    checks.check("no unit has failed", || {
        assert_eq!(
            vm.sh("systemctl is-system-running --wait; systemctl --failed --no-legend"),
            "running"
        );
    });
    checks.check("files of the image have their owners", || {
        assert_eq!(
            vm.sh("stat -c '%u %g' /usr/bin/passwd /etc/shadow"),
            "0 0\n0 42"
        );
    });
    let members = members(&vm);
    check_rights(&mut checks, &members, 1, 0);
    checks.check("no process is root's, and QEMU is not this user's", || {
        let user = fs::metadata(vm.dir()).expect("metadata").uid();
        for member in &members {
            let of = fs::metadata(member.proc("")).expect("metadata").uid();
            assert_ne!(of, 0, "{:?}", member.process);
        }
        let qemu = fs::metadata(vm.qemu().proc("")).expect("metadata").uid();
        assert_ne!(qemu, user);
    });
    checks.check("another user of the host gets nothing", || {
        Belongings::default().of_vm(&vm).expect_closed(&sandbox);
    });
    checks.check("ps", || {
        let _ = sandbox
            .bcvk(["ps"])
            .run()
            .expect_success()
            .expect_stdout(vm.name());
    });
    checks.check("its directory is this user's, and private", || {
        let meta = fs::metadata(vm.dir()).expect("metadata");
        assert_eq!(meta.mode() & 0o777, 0o700);
        assert_ne!(meta.uid(), 0);
    });
    vm.stop();
    checks.finish();
    sandbox.finish();
}

#[test]
fn rm_all_removes_every_vm_and_nothing_else() {
    let Some(sandbox) = Sandbox::rootless() else {
        return;
    };
    let mut checks = Checks::new();
    checks.check("with nothing to remove", || {
        let _ = sandbox
            .bcvk(["rm-all"])
            .run()
            .expect_success()
            .expect_empty_stdout();
    });
    let one = sandbox.boot("one", &[], images::trixie());
    let two = sandbox.boot("two", &["--rm"], images::trixie());
    let other = sandbox.name("other");
    let _ = sandbox
        .podman(["create", "--name", &other, images::trixie(), "true"])
        .run()
        .expect_success();
    check_refusals(&mut checks, &sandbox, &one, &two);
    checks.check("-f removes them, running or not", || {
        let output = sandbox.bcvk(["rm-all", "-f"]).run().expect_success();
        let stdout = output.stdout();
        let mut names: Vec<&str> = stdout.lines().collect();
        names.sort_unstable();
        assert_eq!(names, [one.name(), two.name()], "{output}");
        let left = sandbox
            .podman(["ps", "-a", "--format={{.Names}}"])
            .run()
            .expect_success();
        assert_eq!(left.text(), other);
    });
    checks.check("a yes at the terminal does too", || {
        let three = sandbox.boot("three", &[], images::trixie());
        let mut rm_all = sandbox.bcvk(["rm-all"]).at_a_terminal().spawn();
        rm_all.await_stdout("[y/N]", limit::QUICK);
        rm_all.type_in("y\n");
        let _ = rm_all.wait(limit::QUICK).expect_success();
        until("the VM is gone", limit::GONE, || {
            sandbox
                .podman(["container", "exists", three.name()])
                .run()
                .code()
                == Some(1)
        });
    });
    check_all(&mut checks, &sandbox);
    let _ = sandbox.podman(["rm", &other]).run().expect_success();
    checks.finish();
    sandbox.finish();
}

/// Checks `stop --all` and `rm --all`, where no other test has VMs.
fn check_all(checks: &mut Checks, sandbox: &Sandbox) {
    checks.check("stop --all and rm --all leave no VM", || {
        let four = sandbox.boot("four", &[], images::trixie());
        let rm = || sandbox.bcvk(["rm", "--all"]).run();
        let _ = rm().expect_error(1, &[four.name(), "is running", "hint: "]);
        let stop = sandbox.bcvk(["stop", "--all", "--time=0"]);
        let stopped = stop.limit(limit::SHUTDOWN).run().expect_success();
        assert_eq!(stopped.text(), four.name());
        let again = sandbox.bcvk(["stop", "--all"]).run();
        let _ = again.expect_success().expect_empty_stdout();
        assert_eq!(rm().expect_success().text(), four.name());
    });
}

/// Checks that `rm-all` removes nothing unless its user says so.
fn check_refusals(checks: &mut Checks, sandbox: &Sandbox, one: &Vm<'_>, two: &Vm<'_>) {
    checks.check("without a terminal and without -f it does nothing", || {
        let _ = sandbox
            .bcvk(["rm-all"])
            .run()
            .expect_error(1, &["hint: ", "rm-all -f"]);
        assert_eq!(one.inspect("{{.State.Running}}"), "true");
        assert_eq!(two.inspect("{{.State.Running}}"), "true");
    });
    checks.check("at a terminal it asks, and takes no for an answer", || {
        let mut rm_all = sandbox.bcvk(["rm-all"]).at_a_terminal().spawn();
        rm_all.await_stdout("[y/N]", limit::QUICK);
        rm_all.type_in("n\n");
        let output = rm_all.wait(limit::QUICK).expect_code(1);
        let _ = output.expect_stdout(one.name()).expect_stdout(two.name());
        assert_eq!(one.inspect("{{.State.Running}}"), "true");
    });
}
