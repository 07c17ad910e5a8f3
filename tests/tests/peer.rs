//! Command lines that users of bootc-dev/bcvk have in their scripts: those of its tests and of its
//! guide for ephemeral VMs, but for the names. What differs is in docs/guide/differences.md.

use std::fs;
use std::path::Path;

use bcvk_testkit::{Checks, Cmd, Sandbox, images, limit};

/// Command lines that start a VM, with IMAGE and DIR in the places of an image and a directory.
const STARTS: [&str; 39] = [
    // Its tests.
    "run --rm --label bcvk.integration-test=1 IMAGE --karg systemd.unit=poweroff.target",
    "run --rm --label bcvk.integration-test=1 --memory 1024 --karg systemd.unit=poweroff.target IMAGE",
    "run --rm --label bcvk.integration-test=1 --vcpus 2 --karg systemd.unit=poweroff.target IMAGE",
    "run --rm --execute '/bin/sh -c \"echo Hello; date\"' IMAGE",
    "run --rm --itype u1.micro --execute 'grep -c ^processor /proc/cpuinfo' IMAGE",
    "run --rm --execute 'findmnt -n -o FSTYPE,OPTIONS /' IMAGE",
    "run --rm --execute 'journalctl -b --no-pager -o json -g cycle' --systemd-units DIR/units IMAGE",
    "run --ssh-keygen --label bcvk.integration-test=1 --detach --name NAME IMAGE",
    "run --rm --console -K --bind DIR:testmount --systemd-units DIR/units --karg systemd.unit=check.service --karg systemd.journald.forward_to_console=1 IMAGE",
    "run --rm --console -K --ro-bind DIR:romount --systemd-units DIR/units --karg systemd.unit=check.service --karg systemd.journald.forward_to_console=1 IMAGE",
    "run --rm --ignition DIR/config.ign --execute 'grep -q ignition /proc/cmdline' IMAGE",
    "run-ssh --label bcvk.integration-test=1 IMAGE -- echo 'hello world from SSH'",
    "run-ssh --name NAME --label bcvk.integration-test=1 IMAGE -- echo 'testing cleanup'",
    "run-ssh IMAGE -- /bin/sh -c 'systemctl is-system-running || true'",
    "run-ssh IMAGE -- exit 42",
    "run-ssh --bind DIR:testscripts IMAGE -- /run/virtiofs-mnt-testscripts/check.sh",
    "run-ssh --karg systemd.mask=sshd.service IMAGE -- echo reached",
    "run-ssh IMAGE -- ping -c1 -W10 192.0.2.1",
    // Its guide and manual pages.
    "run --rm IMAGE",
    "run -d --name NAME IMAGE",
    "run -d --rm -K --name NAME IMAGE",
    "run -d --rm -K --bind DIR:src --name NAME IMAGE",
    "run -d --rm -K --ro-bind DIR:config --name NAME IMAGE",
    "run -d --rm -K --memory 8G --vcpus 4 --name NAME IMAGE",
    "run -d --rm -K --itype u1.small --name NAME IMAGE",
    "run -d --rm -K --mount-disk-file DIR/disk.raw:testdisk --name NAME IMAGE",
    "run -d --rm -K --network slirp4netns:port_handler=slirp4netns,allow_host_loopback=true --name NAME IMAGE",
    "run -d --console --name NAME IMAGE",
    "run --console -it --name NAME IMAGE",
    "run --memory 4096 --cpus 4 --name NAME IMAGE",
    "run -d --rm --output journal --log-dir console,journal=DIR --virtio-serial-out results:DIR/results IMAGE",
    "run -d --rm --add-swap 1G --bind-storage-ro -e NAME=value IMAGE",
    "run-ssh IMAGE",
    "run-ssh IMAGE 'systemctl list-units --type=service --state=running'",
    "run-ssh --console IMAGE",
    "run-ssh --bind .:src IMAGE",
    "run-ssh --mount-disk-file DIR/disk.raw:data IMAGE -- sh -c 'mount /dev/disk/by-id/virtio-data-part3 /mnt && ls /mnt'",
    "run-ssh --karg systemd.volatile=overlay IMAGE",
    "run-ssh --itype u1.medium IMAGE",
];

/// A command line of bcvk's, run in a shell.
fn typed(sandbox: &Sandbox, line: &str, dir: &Path) -> Cmd {
    let line = line
        .replace("IMAGE", images::trixie())
        .replace("NAME ", &format!("{} ", sandbox.name("vm")))
        .replace("DIR", dir.to_str().expect("text"));
    let line = format!("bcvk ephemeral {line}");
    sandbox.command("sh").args(["-c", &line])
}

#[test]
fn command_lines_that_start_a_vm_are_understood() {
    let sandbox = Sandbox::new();
    sandbox.install_bcvk();
    let dir = sandbox.make_dir("files");
    fs::create_dir_all(dir.join("units/system")).expect("a directory");
    fs::write(dir.join("units/system/check.service"), "[Service]\n").expect("a unit");
    let config = r#"{"ignition": {"version": "3.3.0"}}"#;
    fs::write(dir.join("config.ign"), config).expect("a configuration");
    fs::write(dir.join("disk.raw"), [0; 512]).expect("a disk");
    let mut checks = Checks::new();
    for line in STARTS {
        checks.check(line, || {
            let (verb, rest) = line.split_once(' ').expect("a verb");
            let line = format!("{verb} --dry-run {rest}");
            let output = typed(&sandbox, &line, &dir).run();
            let _ = output.expect_success().expect_stdout("qemu-system-");
        });
    }
    for (line, words) in [
        ("run --rm --itype invalid.type IMAGE", &["invalid.type"][..]),
        (
            "run --rm --ignition DIR/none.ign --karg systemd.unit=poweroff.target IMAGE",
            &["none.ign", "not found"],
        ),
        // Options and commands that it has besides.
        (
            "run-ssh --network-isolation --bind-storage-ro IMAGE -- make test",
            &["--network-isolation", "--network none"],
        ),
        ("scp NAME DIR/units NAME:/tmp", &["scp"]),
        ("test-basic IMAGE", &["test-basic"]),
    ] {
        checks.check(line, || {
            let _ = typed(&sandbox, line, &dir).run().expect_error(2, words);
        });
    }
    checks.finish();
    sandbox.finish();
}

#[test]
fn a_guest_that_only_powers_off_is_a_success() {
    let sandbox = Sandbox::new();
    sandbox.install_bcvk();
    let line = "run --rm --label bcvk.integration-test=1 --memory 1024 --vcpus 2 --name NAME IMAGE \
                --karg systemd.unit=poweroff.target";
    let output = typed(&sandbox, line, sandbox.path())
        .limit(limit::BOOT)
        .run()
        .expect_code(0)
        .expect_empty_stdout();
    let notices = output.stderr().matches("powered off by itself").count();
    assert_eq!(notices, 1, "{output}");
    sandbox.finish();
}
