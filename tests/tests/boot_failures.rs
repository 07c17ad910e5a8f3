//! A guest that does not come up is explained when it happens, not at a time-out.

use std::fs;
use std::time::Duration;

use bcvk_testkit::{Checks, Output, Sandbox, images, limit, until};

/// Limit that is less than the time-out of readiness, and than a patient user's.
const SOON: Duration = Duration::from_secs(120);

fn run_ssh(sandbox: &Sandbox, options: &[&str]) -> Output {
    sandbox
        .bcvk(["run-ssh", "--name", &sandbox.name("vm")])
        .args(options)
        .args([images::trixie(), "true"])
        .limit(limit::BOOT)
        .run()
}

#[test]
fn a_kernel_panic_is_shown() {
    let sandbox = Sandbox::new();
    let _ = run_ssh(
        &sandbox,
        &["--karg=init=/nonexistent", "--karg=rdinit=/nonexistent"],
    )
    .expect_error(
        126,
        &[
            "kernel panicked",
            "the console's last lines",
            "Kernel panic",
            "hint: ",
        ],
    )
    .expect_within(SOON);
    sandbox.finish();
}

#[test]
fn a_guest_that_cannot_enter_its_image_says_why() {
    let sandbox = Sandbox::new();
    let _ = run_ssh(
        &sandbox,
        &["--initramfs=direct", "--karg=init=/nonexistent"],
    )
    .expect_error(
        126,
        &[
            "the guest cannot make the image its root",
            "cannot run /nonexistent: No such file",
        ],
    )
    .expect_within(SOON);
    sandbox.finish();
}

#[test]
fn emergency_mode_is_shown() {
    let sandbox = Sandbox::new();
    let _ = run_ssh(&sandbox, &["--karg=systemd.unit=emergency.target"])
        .expect_error(126, &["emergency", "the console's last lines", "hint: "])
        .expect_within(SOON);
    sandbox.finish();
}

#[test]
fn powering_off_before_being_ready_is_shown() {
    let sandbox = Sandbox::new();
    let _ = run_ssh(&sandbox, &["--karg=systemd.unit=poweroff.target"])
        .expect_error(
            126,
            &[
                "powered off before it was ready",
                "the console's last lines",
            ],
        )
        .expect_within(SOON);
    sandbox.finish();
}

/// A unit that checks something and then powers off is a use of `run`, and no failure. This one is
/// what the tests of bootc-dev/bcvk check shares with.
#[test]
fn powering_off_in_good_order_is_a_success_of_run() {
    let sandbox = Sandbox::new();
    let share = sandbox.make_dir("share");
    fs::write(share.join("test.txt"), "of the host").expect("a file");
    let units = sandbox.make_dir("units");
    let place = "/run/virtiofs-mnt-testmount";
    let check = format!(
        "[Unit]\nRequiresMountsFor={place}\n[Service]\nType=oneshot\n\
         ExecStart=grep -qF \"of the host\" {place}/test.txt\n\
         ExecStart=/bin/sh -c 'echo written > {place}/write-test.txt'\n\
         ExecStart=echo ok mount verify\nExecStart=systemctl poweroff\n\
         StandardOutput=journal+console\nStandardError=journal+console\n"
    );
    fs::create_dir(units.join("system")).expect("a directory");
    fs::write(units.join("system/verify.service"), check).expect("a unit");
    let output = sandbox
        .bcvk(["run", "--rm", "--name", &sandbox.name("vm"), "--console"])
        .args(["-K", "--bind", &format!("{}:testmount", share.display())])
        .arg(format!("--systemd-units={}", units.display()))
        .args(["--karg", "systemd.unit=verify.service"])
        .args(["--karg", "systemd.journald.forward_to_console=1"])
        .arg(images::trixie())
        .limit(limit::BOOT)
        .run()
        .expect_code(0)
        .expect_stdout("ok mount verify");
    let notices = output.stderr().matches("powered off by itself").count();
    assert_eq!(notices, 1, "{output}");
    let written = fs::read_to_string(share.join("write-test.txt")).expect("a file");
    assert_eq!(written, "written\n");
    sandbox.finish();
}

/// The host passes on what the guest's systemd knows, and does not wait for ssh in vain.
#[test]
fn an_images_sshd_that_is_the_way_in_and_cannot_start_is_named() {
    let sandbox = Sandbox::new();
    let image = sandbox.build_image("FROM BASE\nRUN echo Nonsense yes >/etc/ssh/sshd_config\n");
    let output = sandbox
        .bcvk([
            "run-ssh",
            "--name",
            &sandbox.name("vm"),
            "--timeout=4m",
            "--login=image",
            &image,
            "true",
        ])
        .limit(limit::BOOT)
        .run();
    sandbox.remove_image(&image);
    let _ = output
        .expect_error(126, &["failed units", "ssh", "hint: "])
        .expect_within(SOON);
    sandbox.finish();
}

/// `bootc install` leaves a key for root: of two lines of tmpfiles.d for one file, systemd takes the
/// first.
#[test]
fn an_images_sshd_that_is_the_way_in_knows_our_key_and_says_whom_it_refuses() {
    let sandbox = Sandbox::new();
    let image = sandbox.build_image(
        "FROM BASE\nRUN \
         echo 'f~ /root/.ssh/authorized_keys 600 root root - c3NoLXJzYSBub25l' \
         >/etc/tmpfiles.d/bootc-root-ssh.conf && \
         echo Port 2222 >/etc/ssh/sshd_config.d/40-port.conf\n",
    );
    let vm = sandbox.boot("vm", &["--rm", "--login=image"], &image);
    let mut checks = Checks::new();
    checks.check("it knows our key", || {
        assert_eq!(vm.sh("systemctl --failed --no-legend"), "");
    });
    checks.check("its port is the image's, and is named", || {
        vm.sh("grep -q ':08AE 00000000:0000 0A' /proc/net/tcp");
        let described = vm.described();
        let named = "the image's sshd listens on port 2222";
        assert!(described.contains(named), "{described}");
    });
    checks.check("it says whom it refuses, and why", || {
        vm.sh("echo DenyUsers root >/etc/ssh/sshd_config.d/00-deny.conf; systemctl reload ssh");
        let said =
            "the image's sshd: User root from 10.0.2.2 not allowed because listed in DenyUsers";
        let output = sandbox.bcvk(["ssh", vm.name(), "true"]).limit(limit::BOOT);
        let _ = output.run().expect_code(255).expect_stderr(said);
    });
    vm.discard();
    sandbox.remove_image(&image);
    checks.finish();
    sandbox.finish();
}

#[test]
fn the_time_out_is_kept_and_says_where_the_boot_stood() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    checks.check("run-ssh", || {
        // By then the kernel has said something, also on a busy machine.
        let _ = run_ssh(&sandbox, &["--timeout=4s"])
            .expect_error(
                124,
                &[
                    "not ready after 4 s",
                    "the console's last lines",
                    "hint: ",
                    "--timeout",
                ],
            )
            .expect_within(Duration::from_secs(16));
        sandbox.expect_nothing_left();
    });
    checks.check("attached run", || {
        let _ = sandbox
            .bcvk([
                "run",
                "--rm",
                "--timeout=2s",
                "--name",
                &sandbox.name("attached"),
                images::trixie(),
            ])
            .run()
            .expect_error(124, &["not ready after 2 s", "hint: "])
            .expect_within(Duration::from_secs(8));
        sandbox.expect_nothing_left();
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn a_background_vm_that_fails_tells_whoever_asks_for_it() {
    let sandbox = Sandbox::new();
    let vm = sandbox.boot(
        "vm",
        &["--karg=init=/nonexistent", "--karg=rdinit=/nonexistent"],
        images::trixie(),
    );
    let _ = vm
        .ssh(&["true"])
        .run()
        .expect_within(SOON)
        .expect_stderr("error: ")
        .expect_empty_stdout();
    until("the container has exited", limit::GONE, || {
        vm.inspect("{{.State.Status}}") == "exited"
    });
    let output = sandbox.bcvk(["ps", "-a"]).run().expect_success();
    let stdout = output.stdout();
    let line = stdout.lines().find(|line| line.starts_with(vm.name()));
    assert!(
        line.is_some_and(|line| line.contains("exited (")),
        "{output}"
    );
    assert!(vm.logs().contains("Kernel panic"));
    vm.discard();
    sandbox.finish();
}
