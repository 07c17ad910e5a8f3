//! Properties of a guest: processors and memory as asked, kernel arguments, file systems, services.

mod guide;
mod keys;
mod root;
mod soft_reboot;

use std::net::UdpSocket;
use std::time::Duration;

use bcvk_testkit::{Checks, ReservedPort, Sandbox, Vm, expect_sshd, images, limit, until_some};

use guide::{check_listed_arguments, check_listed_masks};
use keys::check_private_key;
use root::{check_read_only, check_transient};
use soft_reboot::check_soft_reboot;

/// One VM has everything that one `run` can be asked for.
#[test]
fn a_trixie_guest_is_as_it_was_asked_for() {
    let sandbox = Sandbox::new();
    let (port, udp_port) = (ReservedPort::new(), ReservedPort::new());
    let vm = sandbox.boot(
        "vm",
        &[
            "--rm",
            "--memory=1536M",
            "--vcpus=2",
            "--nested",
            "--karg=bcvk_test.one=1",
            "--karg",
            "bcvk_test.two=\"a b\"",
            "--env=BCVK_TEST_PLAIN=plain",
            "--env=BCVK_TEST_ODD=a 'b' \"c\" $d \\e %f",
            "--label=bcvk-test.label=x=y",
            "--publish",
            &format!("127.0.0.1:{port}:22"),
            "--publish",
            &format!("127.0.0.1:{udp_port}:4711/udp"),
        ],
        images::trixie(),
    );
    let mut checks = Checks::new();

    vm.sh("true");
    checks.check("a published port answers", || {
        expect_sshd(("127.0.0.1", port.number()));
    });
    check_udp(&mut checks, &vm, udp_port.number());
    check_options(&mut checks, &vm);
    check_container(&mut checks, &vm);
    checks.check("the guest's name is the VM's", || {
        assert_eq!(vm.sh("hostname"), vm.name());
    });
    check_masks(&mut checks, &vm);
    check_listed_masks(&mut checks, &vm);
    check_listed_arguments(&mut checks, &vm);
    check_services(&mut checks, &vm);
    check_read_only(&mut checks, &vm);
    check_file_systems(&mut checks, &vm);
    check_api_mounts(&mut checks, &vm);
    check_private_key(&mut checks, &vm);
    check_chart(&mut checks, &sandbox, &vm, "* initramfs");
    checks.check("the image's own content is in /etc and /var", || {
        vm.sh("grep -q trixie /etc/os-release && test -L /var/lib/dpkg");
        assert_eq!(vm.sh("readlink -f /root"), "/var/roothome");
    });
    checks.check("the network", || {
        vm.sh("ip -4 route show default | grep -q via && getent hosts localhost");
    });
    check_image(&mut checks, &sandbox);
    check_soft_reboot(&mut checks, &vm);

    vm.stop();
    // --rm has removed the container.
    sandbox.expect_nothing_left();
    checks.finish();
    sandbox.finish();
}

/// Checks the processors, memory, kernel arguments and variables that were asked for.
fn check_options(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("processors", || {
        assert_eq!(vm.sh("nproc"), "2");
    });
    checks.check("memory", || assert_memory(vm, 1536));
    checks.check(
        "hardware virtualisation, which udev has loaded KVM for",
        || {
            vm.sh("udevadm settle; : <>/dev/kvm");
        },
    );
    checks.check("kernel arguments: the user's and the image's", || {
        let cmdline = vm.sh("cat /proc/cmdline");
        let words: Vec<&str> = cmdline.split(' ').collect();
        assert!(words.contains(&"bcvk_test.one=1"), "{cmdline}");
        assert!(cmdline.contains("bcvk_test.two=\"a b\""), "{cmdline}");
        assert!(words.contains(&"bcvk_test.image=trixie"), "{cmdline}");
        assert!(!cmdline.contains("wrong_arch"), "{cmdline}");
        let at = |word: &str| cmdline.find(word).expect(word);
        assert!(at("bcvk_test.image") < at("selinux=0"), "{cmdline}");
        assert!(at("systemd.gpt_auto=0") < at("bcvk_test.one"), "{cmdline}");
    });
    checks.check("--env in a session", || {
        assert_eq!(vm.sh("echo \"$BCVK_TEST_PLAIN\""), "plain");
        assert_eq!(vm.sh("printenv BCVK_TEST_ODD"), "a 'b' \"c\" $d \\e %f");
    });
    checks.check("--env in a service", || {
        let seen =
            vm.sh("systemd-run --quiet --wait --pipe printenv BCVK_TEST_PLAIN BCVK_TEST_ODD");
        assert_eq!(seen, "plain\na 'b' \"c\" $d \\e %f");
    });
}

fn check_image(checks: &mut Checks, sandbox: &Sandbox) {
    checks.check("what the guest writes is not in the image", || {
        let output = sandbox
            .podman([
                "run",
                "--rm",
                "--network=none",
                images::trixie(),
                "sh",
                "-c",
            ])
            .arg("ls /etc/bcvk-test-written /var/bcvk-test-written /root/.ssh 2>&1; true")
            .run()
            .expect_success();
        assert_eq!(
            output.stdout().matches("No such file").count(),
            3,
            "{output}"
        );
    });
}

/// The image has systemd 252, and a /var and /root of its own.
#[test]
fn a_bookworm_guest_boots_too() {
    let sandbox = Sandbox::new();
    // The VM has two processors and 4 GiB.
    let machine_id = "0123456789abcdef0123456789abcdef";
    let asked = format!("--machine-id={machine_id}");
    let options = ["--itype=u1.2xmedium", "--fidelity=full", &asked];
    let image = sandbox.build_image(&format!(
        "FROM {}\nRUN echo 'LABEL=swap none swap x-systemd.device-timeout=7s 0 0' >>/etc/fstab\n",
        images::bookworm()
    ));
    let vm = sandbox.boot("vm", &options, &image);
    let mut checks = Checks::new();
    checks.check("systemd's version", || {
        let version = vm.sh("systemctl --version");
        assert!(version.starts_with("systemd 252 "), "{version}");
    });
    checks.check("--fidelity full: nothing is masked", || {
        vm.sh("systemctl is-active systemd-random-seed.service");
        vm.sh("test ! -e /run/systemd/system-generators");
        vm.sh("systemd-detect-virt | grep -qx kvm || grep -qw smap /proc/cpuinfo");
    });
    checks.check(
        "--fidelity full: a disk that is not there is waited for",
        || {
            vm.sh("journalctl -b -o cat | grep 'Timed out waiting for device .*label-swap'");
        },
    );
    checks.check("no hardware virtualisation, which nobody asked for", || {
        vm.sh("! grep -qwE 'svm|vmx' /proc/cpuinfo");
    });
    checks.check("--machine-id", || {
        assert_eq!(vm.sh("cat /etc/machine-id"), machine_id);
    });
    checks.check("--itype", || {
        assert_eq!(vm.sh("nproc"), "2");
        assert_memory(&vm, 4096);
    });
    check_wait_and_journal(&mut checks, &sandbox, &vm);
    checks.check("kernel arguments of the image", || {
        let cmdline = vm.sh("cat /proc/cmdline");
        assert!(cmdline.contains("bcvk_test.image=bookworm"), "{cmdline}");
        assert!(!cmdline.contains("wrong_arch"), "{cmdline}");
    });
    check_services(&mut checks, &vm);
    check_read_only(&mut checks, &vm);
    check_file_systems(&mut checks, &vm);
    check_private_key(&mut checks, &vm);
    checks.check("the image's own content is in /etc and /var", || {
        vm.sh("grep -q bookworm /etc/os-release && test -f /var/lib/dpkg/status");
    });
    vm.stop();
    vm.discard();
    sandbox.remove_image(&image);
    checks.finish();
    sandbox.finish();
}

#[test]
fn a_guest_boots_without_the_images_initramfs() {
    let sandbox = Sandbox::new();
    let checks = boots_directly(
        &sandbox,
        images::trixie(),
        ("--var-size=600M", "tmpfs 600M"),
        check_read_only,
    );
    checks.finish();
    sandbox.finish();
}

/// The bookworm image has a `/var` and a `/root` of its own, and a kernel of another series. This one
/// also wants a root that can be written to, and has its `/var` on a disk.
#[test]
fn a_bookworm_guest_boots_without_its_initramfs_too() {
    let sandbox = Sandbox::new();
    let image = sandbox.build_image(&format!(
        "FROM {}\nRUN mkdir -p /usr/lib/composefs && \
         printf '[root]\\ntransient = true\\n' >/usr/lib/composefs/setup-root-conf.toml\n",
        images::bookworm()
    ));
    let checks = boots_directly(
        &sandbox,
        &image,
        ("--var-disk=2G", "ext4 2G"),
        check_transient,
    );
    sandbox.remove_image(&image);
    checks.finish();
    sandbox.finish();
}

/// Boots with an option for `/var`, which is then on a file system of this type and size.
fn boots_directly(
    sandbox: &Sandbox,
    image: &str,
    (var, on): (&str, &str),
    check_root: fn(&mut Checks, &Vm<'_>),
) -> Checks {
    let share = sandbox.make_dir("data");
    std::fs::write(share.join("in"), "in").expect("write");
    let options = [
        "--initramfs=direct",
        &format!("--bind={}:data", share.display()),
        "--env=GREETING=hello",
        var,
    ];
    let vm = sandbox.boot("vm", &options, image);
    let mut checks = Checks::new();
    checks.check("there was no initramfs of the image's", || {
        vm.sh("! journalctl --boot --grep 'initrd-root-fs.target'");
        vm.sh("journalctl --boot --dmesg --grep 'Run /init as init process'");
    });
    checks.check("--bind and --env", || {
        assert_eq!(
            vm.sh("cat /run/virtiofs-mnt-data/in; echo $GREETING"),
            "inhello"
        );
    });
    checks.check(&format!("/var with {var}"), || {
        assert_eq!(vm.sh("findmnt -no FSTYPE,SIZE /var | tr -s ' '"), on);
        assert_eq!(vm.sh("findmnt -no FSTYPE /tmp"), "tmpfs");
    });
    check_services(&mut checks, &vm);
    check_root(&mut checks, &vm);
    check_file_systems(&mut checks, &vm);
    check_private_key(&mut checks, &vm);
    check_chart(&mut checks, sandbox, &vm, "* kernel and initramfs");
    vm.stop();
    vm.discard();
    checks
}

fn check_chart(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>, boot: &str) {
    checks.check("boot-chart", || {
        let chart = sandbox.bcvk(["boot-chart", vm.name()]);
        let text = chart.limit(limit::BOOT).run().expect_success().stdout();
        for words in [boot, "* bcvk-answers.socket", "* a login is answered"] {
            assert!(text.contains(words), "{words} in {text}");
        }
        // The last unit that a login waits for, the network or the rest of the system, differs from
        // boot to boot.
        let before = ["* network.target", "* basic.target"];
        assert!(before.iter().any(|target| text.contains(target)), "{text}");
    });
}

fn check_container(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("--label on the container", || {
        assert_eq!(
            vm.inspect("{{index .Config.Labels \"bcvk-test.label\"}}"),
            "x=y"
        );
        assert_eq!(
            vm.inspect("{{index .Config.Labels \"bcvk.ephemeral\"}}"),
            "1"
        );
    });
    checks.check(
        "the container has podman's default rights and no more",
        || {
            assert_eq!(vm.inspect("{{.HostConfig.Privileged}}"), "false");
            assert_eq!(vm.inspect("{{.HostConfig.CapAdd}}"), "[]");
            let security = vm.inspect("{{.HostConfig.SecurityOpt}}");
            assert!(!security.contains("seccomp"), "{security}");
        },
    );
}

/// File systems that are mounted in systemd's place are as systemd mounts them.
fn check_api_mounts(checks: &mut Checks, vm: &Vm<'_>) {
    let units = "dev-hugepages.mount dev-mqueue.mount run-lock.mount sys-fs-fuse-connections.mount \
        sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount";
    checks.check("file systems of the kernel", || {
        let find = "{ findmnt -rno OPTIONS /run/lock; findmnt -rno TARGET,FSTYPE,SOURCE,OPTIONS \
            -t hugetlbfs,mqueue,fusectl,configfs,debugfs,tracefs; } | sort";
        vm.sh(&format!("systemctl is-active {units}"));
        let time = |question: &str| -> u64 {
            let text = vm.sh(&format!("systemctl show -P {question}"));
            text.parse().expect("a time")
        };
        // The initramfs's systemd mounts it if it sees the driver in time, which costs no boot anything.
        let driver = time("InactiveExitTimestampMonotonic modprobe@configfs.service");
        let userspace = time("UserspaceTimestampMonotonic");
        assert!(driver < userspace, "systemd has mounted them itself");
        let ours = vm.sh(find);
        vm.sh(&format!("systemctl restart {units}"));
        assert_eq!(ours, vm.sh(find));
    });
}

/// Checks what is masked in a VM without --fidelity.
fn check_masks(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("what only a host that lasts needs is left out", || {
        vm.sh("! systemctl is-active systemd-random-seed.service");
        vm.sh("test -e /run/systemd/system-generators/systemd-ssh-generator");
        vm.sh("! systemctl is-active systemd-network-generator.service");
    });
    checks.check("emulated processors have what is fast to emulate", || {
        vm.sh(
            "systemd-detect-virt | grep -qx kvm || \
             { grep -qw avx2 /proc/cpuinfo && ! grep -qwE 'erms|fsrm|fsrs|smap|la57' /proc/cpuinfo; }",
        );
    });
}

fn check_services(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("the system is up, and no unit has failed", || {
        let output = vm.run_sh(
            "systemctl is-system-running --wait; systemctl --failed --no-legend --plain; \
             for u in $(systemctl --failed --no-legend --plain | cut -d' ' -f1); do journalctl -n 20 -u $u; done",
        );
        assert_eq!(output.text(), "running", "{output}");
    });
}

fn check_file_systems(checks: &mut Checks, vm: &Vm<'_>) {
    for dir in [
        "/etc", "/var", "/var/lib", "/var/log", "/tmp", "/var/tmp", "/root", "/run", "/dev/shm",
    ] {
        checks.check(&format!("{dir} is writable"), || {
            vm.sh(&format!(
                "f={dir}/bcvk-test-written && echo hi >$f && test \"$(cat $f)\" = hi && chmod 600 $f"
            ));
        });
    }
    checks.check("files of the image in /etc and /var can be changed", || {
        vm.sh(
            "echo '# changed' >>/etc/hosts.allow && tail -n 1 /etc/hosts.allow | grep -q changed && \
             rm /etc/hosts.deny && test ! -e /etc/hosts.deny && \
             rm -rf /var/lib/systemd/bcvk-none && mkdir /var/lib/bcvk-test && rmdir /var/lib/bcvk-test",
        );
    });
    checks.check("a service's user can own files in /var", || {
        vm.sh("install -d -o daemon -g daemon /var/lib/bcvk-d && test \"$(stat -c %U /var/lib/bcvk-d)\" = daemon");
    });
    checks.check("the way in is bcvk's own", || {
        let modes =
            vm.sh("cd /run/bcvk/login && stat -c '%a %U' . identity.json host_key authorized_keys");
        assert_eq!(modes, "755 root\n600 root\n600 root\n644 root");
        vm.sh("! test -e /root/.ssh/authorized_keys");
    });
}

/// Checks the guest's memory, of which the kernel keeps some for itself.
fn assert_memory(vm: &Vm<'_>, mib: u64) {
    let total = vm.sh("sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo");
    let total = total.parse::<u64>().expect("a number") / 1024;
    assert!(
        (mib * 9 / 10..=mib).contains(&total),
        "{total} MiB, asked for {mib} MiB"
    );
}

fn check_udp(checks: &mut Checks, vm: &Vm<'_>, port: u16) {
    checks.check("a published UDP port carries packets both ways", || {
        // The server is in Perl, because every Debian has it.
        vm.sh(
            "systemd-run --quiet perl -MIO::Socket::INET -e '
             my $socket = IO::Socket::INET->new(LocalPort => 4711, Proto => \"udp\") or die;
             while (defined $socket->recv(my $packet, 100)) { $socket->send(\"guest: $packet\") }'",
        );
        let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("bind");
        socket.connect(("127.0.0.1", port)).expect("connect");
        let patience = Some(Duration::from_secs(1));
        socket.set_read_timeout(patience).expect("set a time-out");
        // Packets may be lost, and the guest may not listen yet.
        let answer = until_some("the guest answers", limit::QUICK, || {
            socket.send(b"hello").ok()?;
            let mut bytes = [0; 64];
            let length = socket.recv(&mut bytes).ok()?;
            Some(bytes[..length].to_vec())
        });
        assert_eq!(String::from_utf8_lossy(&answer), "guest: hello");
    });
}

/// Checks what waiting and the journal ask of systemd in the guest, with the oldest one that there is.
fn check_wait_and_journal(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    let wait = |unit: &str| {
        sandbox
            .bcvk(["wait", "--for", &format!("unit={unit}"), vm.name()])
            .limit(limit::BOOT)
            .run()
    };
    checks.check("wait for a unit", || {
        vm.sh("systemd-run --unit=late --on-active=3 --service-type=exec sleep 1000");
        let _ = wait("late").expect_success();
        assert_eq!(vm.sh("systemctl is-active late"), "active");
        let _ = wait("no-such.service").expect_error(1, &["no-such.service", "not there"]);
        let _ = vm.run_sh("systemd-run --wait --unit=bad false");
        let _ = wait("bad").expect_error(1, &["unit bad", "failed"]);
        vm.sh("systemctl reset-failed bad");
    });
    checks.check("the journal", || {
        vm.sh("systemd-cat -t bcvk-test echo a message");
        let command = sandbox.bcvk(["logs", "--journal", vm.name()]);
        let output = command.limit(limit::BOOT).run().expect_success();
        let _ = output
            .expect_stdout("Linux version")
            .expect_stdout("a message");
    });
}

#[test]
fn two_guests_of_one_image_are_strangers() {
    let sandbox = Sandbox::new();
    let one = sandbox.boot("one", &[], images::trixie());
    let two = sandbox.boot("two", &["--rm"], images::trixie());
    let mut checks = Checks::new();
    for (what, command) in [
        ("machine ID", "cat /etc/machine-id"),
        ("random seed", "cat /proc/sys/kernel/random/boot_id"),
        ("SSH key", "cat /run/bcvk/login/authorized_keys"),
        ("name", "hostname"),
    ] {
        checks.check(&format!("each has its own {what}"), || {
            let (one, two) = (one.sh(command), two.sh(command));
            assert!(!one.is_empty() && !two.is_empty(), "{command}");
            assert_ne!(one, two, "{command}");
        });
    }
    checks.check("each has its own host key", || {
        let host_key = |vm: &Vm<'_>| {
            let output = vm.ssh(&["-v", "true"]).run().expect_success();
            let stderr = output.stderr();
            let line = stderr
                .lines()
                .find(|line| line.contains("Server host key: "));
            line.unwrap_or_else(|| panic!("{output}")).to_owned()
        };
        assert_ne!(host_key(&one), host_key(&two));
    });
    let marks = "/etc/bcvk-mark /var/bcvk-mark /tmp/bcvk-mark /root/bcvk-mark /var/lib/bcvk-mark";
    let none_there = format!("for f in {marks}; do test ! -e $f || exit 1; done");
    checks.check("neither sees the other's writes", || {
        one.sh(&format!(
            "for f in {marks}; do echo one >$f; done; rm /etc/hosts.deny; sync"
        ));
        two.sh(&none_there);
        two.sh("test -e /etc/hosts.deny");
    });
    checks.check(
        "the container's own layer takes no writes of the guest",
        || {
            let changed = sandbox.podman(["diff", one.name()]).run().expect_success();
            assert!(!changed.stdout().contains("bcvk-mark"), "{changed}");
        },
    );
    one.discard();
    two.discard();
    checks.finish();
    sandbox.finish();
}
