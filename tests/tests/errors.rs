//! Errors: bcvk says at once what cannot work and what to do about it, and leaves nothing.

use std::time::Duration;

use bcvk_testkit::{Checks, FakeTools, Sandbox, images};

/// Limit far above what it takes to find wrong values and missing things before anything is
/// started, and far below any time-out.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Files that were made for a VM go away if the VM never comes about.
#[test]
fn an_image_that_cannot_boot_leaves_no_files() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("files");
    let config = sandbox.path().join("config.ign");
    std::fs::write(&config, r#"{"ignition": {"version": "3.4.0"}}"#).expect("write");
    let user_data = sandbox.path().join("user-data");
    std::fs::write(&user_data, "#cloud-config\n").expect("write");
    let mut checks = Checks::new();
    for verb in [&["run"][..], &["run", "-d"], &["run-ssh"]] {
        for (image, option, words) in [
            (images::nokernel(), None, &["No kernel found", "hint: "][..]),
            (
                images::trixie(),
                Some(format!("--ignition={}", config.display())),
                &["does not support Ignition", "hint: "],
            ),
            (
                images::trixie(),
                Some(format!("--cloud-init={}", user_data.display())),
                &["has no cloud-init", "hint: ", "--cloud-init"],
            ),
        ] {
            checks.check(&format!("{verb:?} {image}"), || {
                let _ = sandbox
                    .bcvk(verb)
                    .arg(format!("--mount-disk-file={}/new.img", dir.display()))
                    .arg(format!("--mount-disk-file={}/new.qcow2:b", dir.display()))
                    .arg(format!("--log-dir=console={}/a/b", dir.display()))
                    .arg(format!("--virtio-serial-out=a:{}/out", dir.display()))
                    .args(option)
                    .arg(image)
                    .run()
                    .expect_error(125, words)
                    .expect_within(AT_ONCE);
                let left = std::fs::read_dir(&dir).expect("read a directory");
                assert_eq!(left.count(), 0);
            });
        }
    }
    checks.finish();
    sandbox.finish();
}

/// Options that are fine in themselves, but not here or not together. A wrong value is a usage
/// error even if only a look at the host can tell; 125 is for a host that cannot do what is asked.
#[test]
fn what_the_host_cannot_give_is_said_before_anything_starts() {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("file");
    std::fs::write(&file, "").expect("write");
    let file = file.to_str().expect("UTF-8");
    let mut checks = Checks::new();
    for (options, code, words) in [
        (
            &["--memory=900G"][..],
            125,
            &["900 GiB", "this machine has", "hint: ", "--memory"][..],
        ),
        (
            &["--bind=/nonexistent/dir"],
            2,
            &["/nonexistent/dir", "No such file", "hint: ", "mkdir -p"],
        ),
        (
            &["--ro-bind=/nonexistent/dir:x"],
            2,
            &["/nonexistent/dir", "hint: "],
        ),
        (&["--bind", file], 2, &[file, "not a directory", "hint: "]),
        (
            &["--bind=/usr:a", "--ro-bind=/etc:a"],
            2,
            &["/usr", "/etc", "/run/virtiofs-mnt-a"],
        ),
        (
            &["--network=host", "--publish=8080:80"],
            2,
            &["--publish", "--network host"],
        ),
        (&["--env=LC_*"], 2, &["--env", "LC_*"]),
        (&["--network=no-such-network"], 125, &["no-such-network"]),
    ] {
        for verb in ["run", "run-ssh"] {
            checks.check(&format!("{verb} {options:?}"), || {
                let _ = sandbox
                    .bcvk([verb])
                    .args(options)
                    .arg(images::trixie())
                    .run()
                    .expect_error(code, words)
                    .expect_within(AT_ONCE);
            });
        }
    }
    check_run_ssh(&mut checks, &sandbox);
    checks.finish();
    sandbox.finish();
}

/// Checks that `run-ssh` is refused without SSH, and with `--accel kvm` without KVM.
fn check_run_ssh(checks: &mut Checks, sandbox: &Sandbox) {
    checks.check("run-ssh without SSH", || {
        let _ = sandbox
            .bcvk(["run-ssh", "--no-ssh-keygen", images::trixie()])
            .run()
            .expect_error(2, &["SSH", "hint: "]);
    });
    if !has_virtualisation() {
        checks.check("--accel kvm without KVM", || {
            let _ = sandbox
                .bcvk(["run-ssh", "--accel=kvm", images::trixie()])
                .run()
                .expect_error(125, &["KVM", "hint: ", "--accel auto"]);
        });
    }
}

fn has_virtualisation() -> bool {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm")
        || cfg!(target_arch = "aarch64")
}

#[test]
fn an_image_that_is_not_here_is_an_error_of_podmans() {
    let sandbox = Sandbox::new();
    let missing = "localhost/bcvk-test:no-such-tag";
    let mut checks = Checks::new();
    checks.check("--pull never does not look further", || {
        let _ = sandbox
            .bcvk(["run-ssh", "--pull=never", missing, "true"])
            .run()
            .expect_error(125, &[missing, "does not exist", "hint: ", "podman build"])
            .expect_within(AT_ONCE);
    });
    // podman tries several times, which takes a while.
    for pull in ["missing", "always"] {
        checks.check(&format!("--pull {pull} pulls"), || {
            let _ = sandbox
                .bcvk(["run-ssh", "--pull", pull, missing, "true"])
                .run()
                .expect_error(125, &[missing, "could not be pulled", "hint: "])
                // There is no account on localhost to log in to, and one elsewhere would not help.
                .expect_no_stderr("docker.io");
        });
    }
    checks.finish();
    sandbox.finish();
}

/// The supervisor finds these errors in the container: nothing of that may stay either.
#[test]
fn images_that_cannot_boot_are_refused_at_once() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    // Each VM has a name of its own, so that one that stays is not in the way of the next.
    let mut vms = 0;
    for (image, words) in [
        (
            images::nokernel(),
            &["No kernel found", "/usr/lib/modules", "hint: "][..],
        ),
        (images::nosystemd(), &["systemd", "hint: "]),
        (images::scratch(), &["no systemd", "hint: ", "bootc images"]),
    ] {
        for (verb, more) in [
            ("run-ssh", &[][..]),
            ("run", &["-d"]),
            ("run", &["-d", "--rm"]),
            ("run", &[]),
        ] {
            vms += 1;
            checks.check(&format!("{verb} {more:?} {image}"), || {
                let _ = sandbox
                    .bcvk([verb, "--name", &sandbox.name(&format!("vm{vms}"))])
                    .args(more)
                    .arg(image)
                    .run()
                    .expect_error(125, words)
                    .expect_stderr(image)
                    .expect_within(AT_ONCE);
                sandbox.expect_nothing_left();
            });
        }
    }
    checks.check("an image without the label is only warned about", || {
        let _ = sandbox
            .bcvk(["run-ssh", "--name", &sandbox.name("vm"), images::scratch()])
            .run()
            .expect_stderr("containers.bootc");
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn a_name_that_is_taken_is_refused_and_its_owner_left_alone() {
    let sandbox = Sandbox::new();
    let vm = sandbox.boot("vm", &["--rm"], images::trixie());
    let mut checks = Checks::new();
    for verb in [&["run", "-d"][..], &["run"], &["run-ssh"]] {
        checks.check(&format!("{verb:?}"), || {
            let _ = sandbox
                .bcvk(verb)
                .args(["--name", vm.name(), images::trixie()])
                .run()
                .expect_error(
                    125,
                    &["already exists", vm.name(), "hint: ", "podman rm -f"],
                )
                .expect_within(AT_ONCE);
        });
    }
    checks.check("the owner runs on", || {
        assert_eq!(
            vm.inspect("{{.State.Running}} {{.Id}}"),
            format!("true {}", vm.id())
        );
    });
    checks.check("no second VM directory is left", || {
        let dirs = std::fs::read_dir(sandbox.vm_dirs()).expect("VM directories");
        let own = dirs.flatten().filter(|dir| {
            std::fs::read_to_string(dir.path().join("spec.json"))
                .is_ok_and(|spec| spec.contains(vm.name()))
        });
        assert_eq!(own.count(), 1);
    });
    vm.discard();
    checks.finish();
    sandbox.finish();
}

#[test]
fn vms_that_do_not_exist_are_named() {
    let sandbox = Sandbox::new();
    let nobody = sandbox.name("nobody");
    let mut checks = Checks::new();
    for verb in ["ssh", "stop", "rm", "ssh-config"] {
        checks.check(verb, || {
            let _ = sandbox
                .bcvk([verb, &nobody])
                .run()
                .expect_error(1, &["no VM named", &nobody, "hint: ", "ps -a"]);
        });
    }
    checks.check("a container that is no VM is not touched", || {
        let other = sandbox.name("other");
        let _ = sandbox
            .podman(["create", "--name", &other, images::trixie(), "true"])
            .run()
            .expect_success();
        for args in [&["rm"][..], &["rm", "--force"], &["stop"]] {
            let _ = sandbox
                .bcvk(args)
                .arg(&other)
                .run()
                .expect_error(1, &[&other, "not a bcvk VM"]);
        }
        let _ = sandbox.podman(["rm", &other]).run().expect_success();
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn missing_programs_are_named_with_what_installs_them() {
    let sandbox = Sandbox::new();
    let tools = FakeTools::new(&sandbox);
    let mut checks = Checks::new();
    let run = |verb: &str| {
        let name = sandbox.name("vm");
        tools.only(sandbox.bcvk([verb, "--name", &name, "localhost/any"]))
    };
    for args in [&["ps"][..], &["rm-all", "-f"], &["run", "-d", "image"]] {
        checks.check(&format!("{args:?} without podman"), || {
            let _ = tools
                .only(sandbox.bcvk(args))
                .run()
                .expect_error(
                    125,
                    &["podman is not installed", "hint: ", "install podman"],
                )
                .expect_within(AT_ONCE);
        });
    }
    tools.link("ssh");
    tools.podman("echo started >&2; exit 125");
    for verb in ["run", "run-ssh"] {
        checks.check(&format!("{verb} without QEMU"), || {
            let _ = run(verb)
                .run()
                .expect_error(
                    125,
                    &["qemu-system-", "is not installed", "hint: ", "install qemu"],
                )
                .expect_within(AT_ONCE);
        });
    }
    checks.check("nothing was started", || {
        let calls = tools.calls();
        assert!(
            calls.iter().any(|call| call.starts_with("image inspect")),
            "{calls:#?}"
        );
        assert!(
            !calls.iter().any(|call| call.contains("run ")),
            "{calls:#?}"
        );
    });
    let qemu = format!("qemu-system-{}", std::env::consts::ARCH);
    tools.script(&qemu, "exit 1");
    checks.check("a QEMU that the container could not see", || {
        let _ = run("run-ssh")
            .run()
            .expect_error(125, &[&qemu, "/usr", "hint: "]);
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn an_image_for_another_processor_needs_the_qemu_for_it() {
    let sandbox = Sandbox::new();
    let (architecture, qemu, package) = match std::env::consts::ARCH {
        "aarch64" => ("amd64", "qemu-system-x86_64", "qemu-system-x86"),
        // Such a name is qemu-system-arm, or qemu-system-aarch64-core.
        _ => ("arm64", "qemu-system-aarch64", "qemu-system-a"),
    };
    let image = format!("localhost/{}", sandbox.name("other"));
    let tar = sandbox.path().join("image.tar");
    std::fs::write(&tar, [0; 1024]).expect("write an empty archive");
    let _ = sandbox
        .podman(["import", "--quiet", "--arch", architecture])
        .args(["--change", "LABEL containers.bootc=1"])
        .arg(&tar)
        .arg(&image)
        .run()
        .expect_success();
    let tools = FakeTools::new(&sandbox);
    for program in ["podman", "ssh"] {
        tools.link(program);
    }
    let mut checks = Checks::new();
    for verb in ["run", "run-ssh"] {
        checks.check(verb, || {
            let _ = tools
                .only(sandbox.bcvk([verb, "--name", &sandbox.name("vm"), &image]))
                .run()
                .expect_error(
                    125,
                    &[
                        &format!("{qemu} is not installed"),
                        "hint: ",
                        &format!("install {package}"),
                    ],
                )
                // The emulator is not too slow, but missing.
                .expect_no_stderr("emulated")
                .expect_within(AT_ONCE);
            sandbox.expect_nothing_left();
        });
    }
    sandbox.remove_image(&image);
    checks.finish();
    sandbox.finish();
}

#[test]
fn what_podman_says_when_it_fails_is_passed_on() {
    let sandbox = Sandbox::new();
    let tools = FakeTools::new(&sandbox);
    for program in ["ssh", &format!("qemu-system-{}", std::env::consts::ARCH)] {
        tools.link(program);
    }
    tools.podman("echo 'Error: crun: cgroups in hybrid mode not supported' >&2; exit 126");
    let mut checks = Checks::new();
    for verb in [&["run", "-d"][..], &["run-ssh"]] {
        checks.check(&format!("{verb:?}"), || {
            let _ = tools
                .only(sandbox.bcvk(verb))
                .args(["--name", &sandbox.name("vm"), "localhost/any"])
                .run()
                .expect_error(
                    125,
                    &["podman could not", "caused by: ", "cgroups in hybrid mode"],
                )
                .expect_within(AT_ONCE);
            sandbox.expect_nothing_left();
        });
    }
    checks.finish();
    sandbox.finish();
}

#[test]
fn without_ssh_run_ssh_starts_nothing() {
    let sandbox = Sandbox::new();
    let tools = FakeTools::new(&sandbox);
    tools.podman("exit 1");
    let _ = tools
        .only(sandbox.bcvk(["run-ssh", "localhost/any"]))
        .run()
        .expect_error(
            125,
            &["ssh is not installed", "hint: ", "install openssh-client"],
        )
        .expect_within(AT_ONCE);
    assert!(!tools.calls().iter().any(|call| call.contains("run ")));
    sandbox.finish();
}
