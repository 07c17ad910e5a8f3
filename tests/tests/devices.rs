//! Devices and files that a VM is given besides the image: disks, swap, units, ports, a
//! configuration for Ignition.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use bcvk_testkit::{Checks, Sandbox, Vm, images};

#[test]
fn a_vm_has_what_it_was_given() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("given");
    let at = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
    let _ = sandbox
        .command("qemu-img")
        .args(["create", "-q", "-f", "qcow2", &at("old, one.qcow2"), "64M"])
        .run()
        .expect_success();
    // QEMU runs as nobody in particular, and may not open another user's file.
    std::os::unix::fs::chown(dir.join("old, one.qcow2"), Some(12_345), None).expect("chown");
    fs::set_permissions(dir.join("old, one.qcow2"), PermissionsExt::from_mode(0o600))
        .expect("chmod");
    units(&dir.join("units/system"));
    fs::write(at("results.txt"), "of an earlier run").expect("write");
    let vm = sandbox.boot(
        "vm",
        &[
            "--rm",
            &format!("--mount-disk-file={}", at("new.img")),
            &format!("--mount-disk-file={}:data", at("old, one.qcow2")),
            &format!("--mount-disk-file={}:fresh", at("new.qcow2")),
            "--add-swap=96M",
            "--var-disk=1G",
            "--karg=systemd.mask=ssh.service",
            "--karg=systemd.mask=sshd.service",
            &format!("--systemd-units={}", at("units")),
            &format!("--virtio-serial-out=results:{}", at("results.txt")),
        ],
        images::trixie(),
    );
    let mut checks = Checks::new();
    check_disks(&mut checks, &vm, &dir);
    checks.check("what tells a VM from a host", || {
        vm.sh("test -d /run/bcvk && ! grep rootfstype=virtiofs /proc/cmdline");
    });
    checks.check("an image's sshd that is masked is not needed", || {
        assert_eq!(
            vm.sh("systemctl is-active ssh.service sshd.service || true"),
            "inactive\ninactive"
        );
    });
    checks.check("swap", || {
        let swaps = vm.sh("tail -n +2 /proc/swaps");
        let columns: Vec<&str> = swaps.split_whitespace().collect();
        // The size is all but the page with the header, in KiB.
        assert_eq!(columns[1..3], ["partition", "98300"], "{swaps}");
    });
    check_var(&mut checks, &vm);
    checks.check("units", || {
        assert_eq!(vm.sh("systemctl is-active linked"), "active");
        assert_eq!(vm.sh("cat /run/bcvk-test-linked"), "linked dropped-in");
        let _ = vm
            .run_sh("systemctl is-active alone")
            .expect_code(3)
            .expect_stdout("inactive");
        assert_eq!(vm.sh("findmnt -n -o FSTYPE /run/bcvk-test-mount"), "tmpfs");
    });
    checks.check("a port of one's own", || {
        vm.sh("echo from the guest >/dev/virtio-ports/results; sleep 1");
        let text = fs::read_to_string(at("results.txt")).expect("read");
        assert_eq!(text, "from the guest\n");
    });
    checks.check("the system is none the worse for it", || {
        assert_eq!(vm.sh("systemctl is-system-running --wait"), "running");
    });
    vm.stop();
    checks.finish();
    assert!(dir.join("new.img").exists(), "a disk stays");
    sandbox.finish();
}

fn check_disks(checks: &mut Checks, vm: &Vm<'_>, dir: &Path) {
    checks.check("disks are found by their names, in their order", || {
        for (name, device, bytes) in [
            ("output", "vda", 4_u64 << 30),
            ("data", "vdb", 64 << 20),
            ("fresh", "vdc", 4 << 30),
        ] {
            let found = vm.sh(&format!(
                "d=$(readlink -f /dev/disk/by-id/virtio-{name}); echo $d; \
                 cat /sys/block/${{d##*/}}/size"
            ));
            assert_eq!(found, format!("/dev/{device}\n{}", bytes / 512), "{name}");
        }
    });
    checks.check("what is written to a disk is in its file", || {
        vm.sh(
            "for n in output data fresh; do echo kept-$n | dd of=/dev/disk/by-id/virtio-$n \
             conv=fsync status=none; done",
        );
        let raw = fs::read(dir.join("new.img").as_path()).map(|bytes| bytes[..11].to_vec());
        assert_eq!(raw.expect("read"), b"kept-output");
        for file in ["old, one.qcow2", "new.qcow2"] {
            let content = fs::read(dir.join(file)).expect("read");
            let found = content.windows(5).any(|bytes| bytes == b"kept-");
            assert!(found, "{file}");
        }
    });
    checks.check("new disks take up no more than what is in them", || {
        for file in ["new.img", "new.qcow2"] {
            let meta = fs::metadata(dir.join(file)).expect("metadata");
            assert!(meta.blocks() * 512 < 2 << 20, "{file}: {meta:?}");
            assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{file}");
        }
    });
}

fn check_var(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("/var is on the last disk, with the image's content", || {
        let found = vm.sh(
            "readlink -f /dev/disk/by-id/virtio-bcvk-var; findmnt -no SOURCE,FSTYPE /var; \
             dpkg -l bash | grep -c ^ii; stat -c %a:%U /var",
        );
        let [disk, mount, content, owner] = found.lines().collect::<Vec<_>>()[..] else {
            panic!("{found}");
        };
        assert_eq!(disk, "/dev/vde");
        let columns: Vec<&str> = mount.split_whitespace().collect();
        assert_eq!(columns, ["/dev/vde[/content]", "ext4"]);
        assert_eq!((content, owner), ("1", "755:root"));
    });
    checks.check("overlays, names and links work there", || {
        vm.sh(
            "mkdir -p /var/tmp/o && cd /var/tmp/o && mkdir lower upper work merged && \
             mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged && \
             echo x >merged/x && test -s upper/x && umount merged && \
             ln upper/x hard && ln -s hard soft && mkdir many && cd many && touch $(seq 3000) && \
             cd .. && mv many more && test $(ls more | wc -l) = 3000 && rm -r /var/tmp/o",
        );
    });
    checks.check(
        "a full disk is an error in the guest, which goes on",
        || {
            let full = vm.sh(
                "dd if=/dev/zero of=/var/fill bs=1M 2>&1 | grep -o 'No space left'; \
             echo $(($(stat -c %s /var/fill) >> 20)); rm /var/fill; sync; \
             dd if=/dev/zero of=/var/again bs=1M count=8 conv=fsync status=none; rm /var/again; \
             dmesg | grep -i 'ext4.*error' || echo in order",
            );
            let [error, mib, last] = full.lines().collect::<Vec<_>>()[..] else {
                panic!("{full}");
            };
            assert_eq!((error, last), ("No space left", "in order"));
            let mib: u32 = mib.parse().expect("a number");
            assert!((900..1024).contains(&mib), "{mib}");
        },
    );
}

fn units(dir: &Path) {
    for part in ["multi-user.target.wants", "linked.service.d"] {
        fs::create_dir_all(dir.join(part)).expect("make a directory");
    }
    let service = "[Service]\nType=oneshot\nRemainAfterExit=yes\nEnvironment=WORD=\n\
                   ExecStart=/bin/sh -c 'echo linked $WORD >/run/bcvk-test-linked'\n";
    for (file, text) in [
        ("linked.service", service),
        ("alone.service", service),
        (
            "linked.service.d/50-word.conf",
            "[Service]\nEnvironment=WORD=dropped-in\n",
        ),
        (
            "run-bcvk\\x2dtest\\x2dmount.mount",
            "[Mount]\nWhat=tmpfs\nWhere=/run/bcvk-test-mount\nType=tmpfs\n",
        ),
    ] {
        fs::write(dir.join(file), text).expect("write");
    }
    symlink(
        "../linked.service",
        dir.join("multi-user.target.wants/linked.service"),
    )
    .expect("link");
}

/// Debian has no Ignition: this image only looks as if it had, and the guest reads what Ignition
/// would read.
#[test]
fn a_configuration_reaches_ignition() {
    let sandbox = Sandbox::new();
    let image = sandbox.build_image(
        "FROM BASE\nRUN mkdir -p /usr/lib/dracut/modules.d/30ignition && \
         echo qemu_fw_cfg >/etc/modules-load.d/fw_cfg.conf\n",
    );
    let config = r#"{"ignition": {"version": "3.4.0"}, "passwd": {"users": []}}"#;
    let file = sandbox.path().join("config.ign");
    fs::write(&file, config).expect("write");
    let options = ["--rm", "--ignition", file.to_str().expect("UTF-8")];
    let vm = sandbox.boot("vm", &options, &image);
    let mut checks = Checks::new();
    checks.check("the configuration", || {
        let found = vm.sh("cat /sys/firmware/qemu_fw_cfg/by_name/opt/com.coreos/config/raw");
        assert_eq!(found, config);
    });
    checks.check(
        "the kernel arguments that make Ignition look for it",
        || {
            let cmdline = vm.sh("cat /proc/cmdline");
            for word in ["ignition.firstboot", "ignition.platform.id=qemu"] {
                assert!(cmdline.split(' ').any(|w| w == word), "{cmdline}");
            }
        },
    );
    checks.check("podman's words do not give it away", || {
        let inspected = sandbox.podman(["inspect", vm.name()]).run();
        assert!(!inspected.stdout().contains("passwd"));
    });
    vm.stop();
    sandbox.remove_image(&image);
    checks.finish();
    sandbox.finish();
}
