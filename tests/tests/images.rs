//! Every kind of image boots, or is refused in one clear sentence.

use std::time::Duration;

use bcvk_testkit::{Checks, Sandbox, Vm, images, limit};

/// Builds the image, boots it, checks the guest, and that nothing in it has failed.
fn on_a_guest(containerfile: &str, checks_of: impl Fn(&mut Checks, &Vm<'_>)) {
    let sandbox = Sandbox::new();
    on_guests(&sandbox, containerfile, &[&[]], checks_of);
    sandbox.finish();
}

/// Options of a VM that is saved, and of one that is resumed then.
const SAVED_AND_RESUMED: [&[&str]; 2] = [&["--warm=auto"], &["--warm=require"]];

/// Builds the image, and has a VM of it with each of these options. Checks each, that nothing in it has
/// failed, and that it powers off when it is asked to.
fn on_guests(
    sandbox: &Sandbox,
    containerfile: &str,
    ways: &[&[&str]],
    checks_of: impl Fn(&mut Checks, &Vm<'_>),
) {
    let image = sandbox.build_image(containerfile);
    let mut checks = Checks::new();
    for (number, options) in ways.iter().enumerate() {
        let name = format!("vm{number}");
        let vm = sandbox.boot(&name, &[&["--memory=2G"], *options].concat(), &image);
        vm.sh("true");
        checks_of(&mut checks, &vm);
        check_health(&mut checks, &vm);
        checks.check("it powers off in good order", || {
            vm.stop();
            let described = vm.described();
            assert!(!described.contains("was killed"), "{described}");
        });
        vm.discard();
    }
    sandbox.remove_image(&image);
    checks.finish();
}

fn check_health(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("the system is up, and no unit has failed", || {
        let output = vm.run_sh(
            "systemctl is-system-running --wait; systemctl --failed --no-legend --plain; \
             for u in $(systemctl --failed --no-legend --plain | cut -d' ' -f1); do journalctl -n 20 -u $u; done",
        );
        assert_eq!(output.text(), "running", "{output}");
    });
}

fn check_cmdline_of_uki(checks: &mut Checks, vm: &Vm<'_>, karg: &str) {
    checks.check("the UKI's kernel arguments, without its root", || {
        let cmdline = vm.sh("cat /proc/cmdline");
        assert!(cmdline.split(' ').any(|word| word == karg), "{cmdline}");
        assert!(!cmdline.contains("root="), "{cmdline}");
    });
}

/// The image also has an initramfs that ends in a boot configuration, a large `/var`, and a socket for
/// sshd on a port of its own, through which the sessions go.
#[test]
fn an_initramfs_without_the_modules_of_a_vm() {
    let image = include_str!("fixtures/Containerfile.no-modules");
    let sandbox = Sandbox::new();
    on_guests(&sandbox, image, &[&["--login=image"]], |checks, vm| {
        checks.check("all of /var is there", || {
            assert_eq!(
                vm.sh("cd /var && stat -f -c %T . lib lib/containers && \
                       stat -c %s lib/large lib/containers/x/f && ls many | wc -l && \
                       dpkg -l bash | grep -c ^ii"),
                format!(
                    "{}\n{}\n{}\n2000\n1",
                    ["tmpfs"; 3].join("\n"),
                    80 << 20,
                    70 << 20
                )
            );
        });
        checks.check(
            "container engines find a file system for their overlays",
            || {
                for dir in [
                    "lib/containers/storage/overlay/b",
                    "lib/docker/overlay2/b",
                    "tmp/b",
                ] {
                    vm.sh(&format!(
                        "mkdir -p /var/{dir} && cd /var/{dir} && mkdir diff work merged && \
                     mount -t overlay -o lowerdir=/var/lib/containers/storage/overlay/a/diff,\
                     upperdir=diff,workdir=work overlay merged && \
                     test -f merged/f && echo x >merged/x && test -s diff/x && umount merged"
                    ));
                }
            },
        );
        checks.check("directories of the image can be renamed", || {
            for dir in ["etc/ssh", "var/lib/dpkg/info", "root/.ssh", "var/lib/systemd"] {
                vm.sh(&format!(
                    "perl -e 'rename $ARGV[0], \"$ARGV[0].x\" and rename \"$ARGV[0].x\", $ARGV[0] or die $!' /{dir}"
                ));
            }
        });
        checks.check(
            "a full file system is an error and no end of the guest",
            || {
                let full = vm.sh("for dir in var etc root tmp; do \
                     dd if=/dev/zero of=/$dir/fill bs=1M 2>&1 | grep -o 'No space left'; \
                 done; rm /*/fill; echo x >/etc/x && echo alive");
                assert_eq!(full, format!("{}alive", "No space left\n".repeat(4)));
            },
        );
        checks.check(
            "sshd was started by its socket, on the port of that",
            || {
                assert_eq!(
                    vm.sh(
                        "systemctl is-active ssh.socket; systemctl is-enabled ssh.service || true"
                    ),
                    "active\ndisabled"
                );
                vm.sh("! grep -q ':0016 ' /proc/net/tcp /proc/net/tcp6");
                let described = vm.described();
                let named = "the image's sshd listens on port 2222";
                assert!(described.contains(named), "{described}");
            },
        );
    });
    sandbox.finish();
}

/// The image also has an initramfs without overlayfs, which this image has compressed; a plain `/root`.
#[test]
fn a_uki_for_boot_loaders_and_networkmanager() {
    let image = include_str!("fixtures/Containerfile.uki-networkmanager");
    on_a_guest(image, |checks, vm| {
        check_cmdline_of_uki(checks, vm, "bcvk_test.uki=boot");
        checks.check("NetworkManager configured the network", || {
            let devices = vm.sh("nmcli -t -f TYPE,STATE device");
            assert!(devices.contains("ethernet:connected"), "{devices}");
        });
        checks.check("/root is the image's, and writable", || {
            let file = "/root/of-the-image";
            assert_eq!(
                vm.sh(&format!("echo more >>{file} && cat {file}")),
                "hello\nmore"
            );
        });
    });
}

/// The image's sshd unit is `sshd.service`, and its `/root` leads to where nothing can be written.
#[test]
fn a_uki_of_bootcs_and_nothing_that_configures_a_network() {
    let image = include_str!("fixtures/Containerfile.uki-no-network");
    on_a_guest(image, |checks, vm| {
        check_cmdline_of_uki(checks, vm, "bcvk_test.uki=bootc");
        checks.check("the network is there, with names", || {
            vm.sh("systemctl is-active bcvk-network.service && grep -q 10.0.2.3 /run/systemd/resolve/resolv.conf");
        });
        checks.check("/root is writable behind its link", || {
            assert_eq!(
                vm.sh("echo x >/root/x && readlink -f /root/x"),
                "/usr/share/roothome/x"
            );
        });
        checks.check("sshd is the image's own", || {
            assert_eq!(vm.sh("systemctl is-active sshd.service"), "active");
        });
    });
}

#[test]
fn a_uki_beside_its_modules_and_cloud_init() {
    let image = include_str!("fixtures/Containerfile.uki-cloud-init");
    let image = &format!(
        "{image}\nRUN mkdir -p /etc/selinux && echo SELINUX=enforcing >/etc/selinux/config\n"
    );
    on_a_guest(image, |checks, vm| {
        check_cmdline_of_uki(checks, vm, "bcvk_test.uki=modules");
        checks.check("that SELinux is off is said", || {
            vm.sh("! grep -qw selinuxfs /proc/mounts");
            let status = vm.dir().join("shared/status.json");
            let status = std::fs::read_to_string(status).expect("the status");
            assert!(status.contains("the image enforces SELinux"), "{status}");
        });
        checks.check("cloud-init stays out of it", || {
            let state = vm.sh("systemctl show -p ActiveState --value cloud-init-main.service; test -e /var/lib/cloud || echo untouched");
            assert_eq!(state, "inactive\nuntouched");
        });
    });
}

/// NetworkManager, a firewall that drops, dbus-broker, chrony, presets that the first boot applies,
/// SELinux enforcing by arguments that `selinux=0` does not undo.
#[test]
fn an_image_like_those_of_the_field() {
    let image = include_str!("fixtures/Containerfile.field");
    let sandbox = Sandbox::new();
    on_guests(&sandbox, image, &SAVED_AND_RESUMED, |checks, vm| {
        checks.check(
            "SELinux is off, although the image's arguments say on",
            || {
                vm.sh("grep -q selinux=0 /proc/cmdline && ! grep -qw selinuxfs /proc/mounts");
            },
        );
        checks.check("the presets were applied", || {
            // The session is there before the last of them.
            vm.sh("systemctl is-system-running --wait || true");
            let services = "NetworkManager chrony dbus-broker nftables online sshd";
            let active = vm.sh(&format!("systemctl is-active {services} || true"));
            assert_eq!(active, ["active"; 6].join("\n"));
            let off = vm.sh("systemctl is-active systemd-networkd systemd-resolved || true");
            assert_eq!(off, "inactive\ninactive");
        });
        checks.check("the firewall is as the image wants it", || {
            vm.sh("nft list ruleset | grep -q 'policy drop'");
        });
        checks.check(
            "a link without carrier is named, and not waited for",
            || {
                let described = vm.described();
                let named = "does not have: a carrier for uplink (bond)";
                assert!(described.contains(named), "{described}");
                vm.sh("! nmcli -t -f NAME,STATE connection show | grep uplink:activated");
                // It fails when it has waited in vain.
                vm.sh("systemctl is-active NetworkManager-wait-online.service");
            },
        );
    });
    sandbox.finish();
}

/// Nothing listens to the power button of an image without logind, and nobody greets its user.
#[test]
fn an_image_with_hardly_more_than_systemd() {
    let image = format!("FROM {}\n", images::minimal());
    let ways = SAVED_AND_RESUMED.map(|way| [&["--initramfs=direct"], way].concat());
    let ways: Vec<&[&str]> = ways.iter().map(Vec::as_slice).collect();
    let sandbox = Sandbox::new();
    on_guests(&sandbox, &image, &ways, |checks, vm| {
        checks.check("it has hardly anything", || {
            vm.sh("! command -v ip dbus-daemon sshd && ! test -e /run/dbus");
            vm.sh("for unit in dbus systemd-logind systemd-networkd; do \
                 ! systemctl cat $unit.service || exit 1; done");
        });
        checks.check("its network is configured", || {
            vm.sh("systemctl is-active bcvk-network.service");
            vm.sh("grep -q 'nameserver 10.0.2.3' /etc/resolv.conf");
            vm.sh("grep -q 10.0.2.15 /proc/net/fib_trie");
            let gateway = "grep -qi '00000000[[:space:]]*0202000A' /proc/net/route";
            vm.sh(gateway);
        });
    });
    sandbox.finish();
}

/// sshd is disabled, and the display manager finds no display.
#[test]
fn a_desktop() {
    let image = include_str!("fixtures/Containerfile.desktop");
    let sandbox = Sandbox::new();
    sandbox.install_bcvk();
    on_guests(&sandbox, image, &SAVED_AND_RESUMED, |checks, vm| {
        checks.check("its display manager runs, and its sshd does not", || {
            vm.sh("systemctl is-system-running --wait || true");
            let started =
                vm.sh("systemctl is-active graphical.target display-manager.service first.service");
            assert_eq!(started, ["active"; 3].join("\n"));
            let ssh = vm.sh("systemctl is-active ssh.service ssh.socket || true");
            assert_eq!(ssh, "inactive\ninactive");
        });
        checks.check("rsync, there and back", || {
            let script = "bcvk ephemeral ssh-config $1 >config && mkdir -p tree/inner && \
                head -c 1000000 /dev/urandom >tree/inner/file && \
                rsync -a -e 'ssh -F config' tree $1:/tmp/ && \
                rsync -a -e 'ssh -F config' $1:/tmp/tree/ back && \
                cmp tree/inner/file back/inner/file && rm -r tree back";
            let rsync = sandbox
                .command("sh")
                .args(["-euc", script, "sh", vm.name()]);
            let _ = rsync.limit(limit::BOOT).run().expect_success();
        });
    });
    sandbox.finish();
}

#[test]
fn an_initramfs_of_systemds_own_without_dracut() {
    let image = include_str!("fixtures/Containerfile.systemd-initrd");
    on_a_guest(image, |checks, vm| {
        checks.check("the root can be written to, as the image wants it", || {
            let alone = "mount -o remount,bind,rw / && mkdir /nix && echo new | tee /nix/x /usr/x";
            let root = vm.sh(&format!(
                "! touch /x && unshare --mount sh -ec '{alone}' && cat /nix/x && ! touch /x && \
                 findmnt -no FSTYPE /"
            ));
            assert_eq!(root, "new\nnew\noverlay");
            let seen = vm.exec("ls -d /bcvk-*/run/bcvk-image/nix");
            assert_ne!(seen.code(), Some(0), "{seen}");
        });
        checks.check("directories that are links into /var", || {
            for dir in ["opt", "srv", "mnt", "home", "usr/local"] {
                vm.sh(&format!("cd /{dir} && pwd -P | grep ^/var/ && touch x"));
            }
        });
    });
}

#[test]
fn the_newest_systemd_and_a_network_left_to_networkd() {
    let image = include_str!("fixtures/Containerfile.newest");
    on_a_guest(image, |checks, vm| {
        checks.check("systemd's version", || {
            let version = vm.sh("systemctl --version");
            let number = version.split(' ').nth(1).expect("systemd NUMBER");
            assert!(number.parse::<u32>().expect("a number") > 257, "{version}");
        });
        checks.check("systemd-networkd has the address", || {
            vm.sh(
                "systemctl is-active systemd-networkd && ip -4 address show | grep -q 10.0.2.15/24",
            );
        });
    });
}

/// Words of the notice of the image in `Containerfile.absent`.
const ABSENT: [&str; 15] = [
    "/ on LABEL=root",
    "swap on UUID=33333333-2222-1111-0000-000000000000",
    "/boot on LABEL=boot",
    "/srv on /dev/mapper/vg-data",
    "/opt on /srv/opt",
    "home.mount (/dev/disk/by-uuid/4)",
    "dev-sdb3.swap (/dev/sdb3)",
    "late.service (/dev/nvme0n1)",
    "systemd-firstboot, which asks",
    "initial-setup.service, which asks",
    "a carrier for br0 (bridge)",
    "kernel argument resume=UUID=1",
    "kernel argument rd.luks.uuid=luks-2",
    "kernel argument rd.lvm.lv=vg/root",
    "does not wait for what this VM does not have",
];

#[test]
fn a_boot_does_not_wait_for_what_a_vm_does_not_have() {
    let image = include_str!("fixtures/Containerfile.absent");
    on_a_guest(image, |checks, vm| {
        checks.check(
            "nothing was waited for until systemd's limit of 90 s",
            || {
                let times = vm.sh(
                "systemctl is-system-running --wait >/dev/null; \
                 systemctl show --value -p UserspaceTimestampMonotonic -p FinishTimestampMonotonic",
            );
                let times: Vec<u64> = times.lines().map(|t| t.parse().expect("a time")).collect();
                assert!(times[1] - times[0] < 80_000_000, "{times:?}");
                let late = "journalctl -b -o cat | grep -i 'timeout occurred' || true";
                assert_eq!(vm.sh(late), "");
                let active = "local-fs.target network-online.target swap.target tmp.mount";
                assert_eq!(
                    vm.sh(&format!("systemctl is-active {active} late.service")),
                    ["active"; 5].join("\n")
                );
            },
        );
        checks.check("what needs no disk is mounted, and the files are the image's", || {
            assert_eq!(vm.sh("stat -f -c %T /mnt"), "tmpfs");
            assert_eq!(vm.sh("wc -l </etc/fstab"), "7");
            assert_eq!(
                vm.sh("findmnt -no FSTYPE /boot /srv /opt /home || true; systemctl daemon-reload && systemctl start swap.target local-fs.target"),
                ""
            );
            let cmdline = vm.sh("cat /proc/cmdline");
            assert!(cmdline.contains("bcvk_test.kept=1") && !cmdline.contains("resume="), "{cmdline}");
        });
        checks.check("a notice names all of it", || {
            let shown = vm.described();
            for words in ABSENT {
                assert!(shown.contains(words), "{words}: {shown}");
            }
        });
    });
}

/// Images that cannot boot: a name, the lines after `FROM` the base image, and the words of the
/// refusal.
const UNBOOTABLE: [(&str, &str, &[&str]); 8] = [
    (
        "several kernels",
        "RUN cd /usr/lib/modules && mkdir 6.0.0 && cp */vmlinuz 6.0.0",
        &[
            "2 kernels",
            "/6.0.0/vmlinuz",
            "cloud",
            "hint: remove all but one",
        ],
    ),
    (
        "several UKIs",
        "RUN cd /boot && mkdir -p EFI/Linux/bootc && echo a >EFI/Linux/a.efi && echo b >EFI/Linux/bootc/b.efi",
        &[
            "2 unified kernel images",
            "/Linux/a.efi",
            "/bootc/b.efi",
            "hint: remove all but one",
        ],
    ),
    (
        "a UKI that is none",
        "RUN cd /boot && mkdir -p EFI/Linux && echo a >EFI/Linux/a.efi",
        &["/boot/EFI/Linux/a.efi", "not a 64-bit EFI program"],
    ),
    (
        "no initramfs",
        "RUN rm /usr/lib/modules/*/initramfs.img",
        &["no initramfs", "/initramfs.img", "hint: ", "dracut"],
    ),
    (
        "a kernel without virtiofs",
        "RUN sed -i /virtiofs/d /usr/lib/modules/*/modules.builtin",
        &["has no virtiofs", "hint: ", "CONFIG_VIRTIO_FS"],
    ),
    (
        "an sshd that is masked",
        "RUN systemctl mask ssh.service",
        &[
            "masks its sshd, ssh.service",
            "hint: ",
            "leave out --login image",
        ],
    ),
    (
        "an sshd that is disabled",
        "RUN systemctl disable ssh.service ssh.socket",
        &["ssh.service is disabled", "hint: ", "systemctl enable"],
    ),
    (
        "no home for the key",
        "RUN rm /root",
        &["no directory /root", "hint: ", "mkdir -m 0700 /root"],
    ),
];

#[test]
fn what_cannot_boot_is_refused_before_the_start() {
    let at_once = Duration::from_secs(10);
    let mut checks = Checks::new();
    for (name, steps, words) in UNBOOTABLE {
        checks.check(name, || {
            let sandbox = Sandbox::new();
            let image = sandbox.build_image(&format!("FROM BASE\n{steps}\n"));
            // The image's own way in needs the most.
            let output = sandbox
                .bcvk(["run-ssh", "--login=image", "--name", &sandbox.name("vm")])
                .args([&*image, "true"])
                .run();
            sandbox.remove_image(&image);
            let _ = output
                .expect_error(125, words)
                .expect_stderr(&image)
                .expect_within(at_once);
            sandbox.finish();
        });
    }
    checks.finish();
}

#[test]
fn an_image_for_another_machine_is_refused() {
    let sandbox = Sandbox::new();
    let image = sandbox.name("image");
    let _ = sandbox
        .command("sh")
        .args([
            "-c",
            "echo nothing >readme && tar -c readme | podman import --quiet --arch s390x - \"$0\"",
            &image,
        ])
        .run()
        .expect_success();
    let image = format!("localhost/{image}");
    let output = sandbox.bcvk(["run-ssh", &image, "true"]).run();
    sandbox.remove_image(&image);
    let _ = output.expect_error(125, &[&image, "is for s390x", "x86_64 or aarch64"]);
    sandbox.finish();
}
