//! Names and values that a shell, QEMU, podman or systemd would take for something else: they
//! arrive as they are, or are refused before anything starts.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use bcvk_testkit::{Checks, Cmd, Sandbox, Vm, images, limit};

/// Text that a shell, QEMU, podman and systemd would each take for something else.
const ODD: &str = "-a b,,\"c\"='d';$(touch HERE)`e`&f|%n\\g@WHERE@é:h\ni";

/// The part of that text that can be in a line of a unit or of the kernel's.
const ODD_LINE: &str = "-a b,,c='d';$(touch HERE)`e`&f|%n\\g@WHERE@é";

#[test]
fn what_is_given_arrives_as_it_is() {
    let sandbox = Sandbox::new().resuming();
    let dir = sandbox.make_dir(ODD);
    let at = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
    fs::create_dir(at("share")).expect("make a directory");
    fs::write(at("share/file"), "shared").expect("write");
    let place = format!("/run/{ODD_LINE}");
    let vm = sandbox.boot(
        "vm",
        &[
            "--rm",
            &format!("--label=odd={ODD}"),
            &format!("--ro-bind={}:{place}", at("share")),
            &format!("--mount-disk-file={}:data.-_", at("disk.img")),
            &format!("--log-dir=console={}", at("logs")),
            &format!("--virtio-serial-out=-out:{}", at("out")),
            &format!("--env=ODD={ODD_LINE}"),
            "--env=QUOTED=\"a' \\",
            &format!("--karg=odd=\"{ODD_LINE}\""),
        ],
        images::trixie(),
    );
    let mut checks = Checks::new();
    checks.check("a label", || {
        let label = sandbox
            .podman(["inspect", "--format={{index .Config.Labels \"odd\"}}"])
            .arg(vm.name())
            .run()
            .expect_success();
        assert_eq!(label.text(), ODD);
    });
    checks.check("a share's directory and its place", || {
        let words = ["cat", &format!("{place}/file")];
        let output = vm.ssh(&words).run().expect_success();
        assert_eq!(output.text(), "shared");
    });
    checks.check("a disk's file", || {
        vm.sh("printf kept | dd of=/dev/disk/by-id/virtio-data.-_ conv=fsync status=none");
        let content = fs::read(at("disk.img")).expect("read");
        assert!(content.starts_with(b"kept"));
    });
    checks.check("files for output", || {
        vm.sh("echo said >/dev/virtio-ports/-out; sleep 1");
        assert_eq!(fs::read_to_string(at("out")).expect("read"), "said\n");
        let console = fs::read_to_string(at("logs/console.txt")).expect("read");
        assert!(console.contains("Linux version"));
    });
    check_lines(&mut checks, &vm);
    checks.check("nothing was executed", || {
        let _ = vm.run_sh("find / -xdev -name HERE | grep .").expect_code(1);
        assert!(!sandbox.path().join("HERE").exists());
    });
    vm.stop();
    checks.finish();
    sandbox.finish();
}

/// Checks values that have to be one line: environment variables and a kernel argument.
fn check_lines(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("an environment variable, for sessions and services", || {
        let both = format!("{ODD_LINE}\n\"a' \\");
        assert_eq!(vm.sh("printenv ODD QUOTED"), both);
        let service = "systemd-run --quiet --pipe --wait printenv ODD QUOTED";
        assert_eq!(vm.sh(service), both);
    });
    checks.check("a kernel argument", || {
        let cmdline = vm.sh("cat /proc/cmdline");
        assert!(
            cmdline.contains(&format!("odd=\"{ODD_LINE}\"")),
            "{cmdline}"
        );
    });
}

/// A command is all for the shell: a dash at its start makes it no option of the shell.
#[test]
fn commands_reach_the_guests_shell_as_they_are() {
    let sandbox = Sandbox::new().resuming();
    let output = sandbox
        .bcvk(["run", "--rm", "--name", &sandbox.name("vm")])
        .args([
            "--execute",
            "printf '%s\\n' \"a  b\" 'c\n$(d)' -- \"e\\\\f\" %n\necho é,,",
        ])
        .args(["--execute", "-e echo no option"])
        .arg(images::minimal())
        .limit(limit::BOOT)
        .run()
        .expect_code(127);
    assert_eq!(output.stdout(), "a  b\nc\n$(d)\n--\ne\\f\n%n\né,,\n");
    let _ = output.expect_stderr("-e: not found");
    sandbox.finish();
}

/// podman takes paths of text only, whichever way they came about.
#[test]
fn paths_that_are_no_text_are_refused_before_the_start() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("given");
    let odd = dir.join(OsStr::from_bytes(b"\xff,readonly=false"));
    fs::create_dir(&odd).expect("make a directory");
    fs::write(odd.join("a.service"), "[Service]\nExecStart=true\n").expect("write");
    symlink(&odd, dir.join("link")).expect("link");
    fs::create_dir(dir.join("a\r\nb")).expect("make a directory");
    let given = dir.to_str().expect("UTF-8");
    let with_bytes = |option: &str| {
        let mut option = OsString::from(format!("--{option}="));
        option.push(&odd);
        option
    };
    let mut checks = Checks::new();
    let mut refused = |option: OsString, words: &[&str]| {
        checks.check(&format!("{option:?}"), || {
            let _ = run(&sandbox, &option).run().expect_error(2, words);
        });
    };
    for option in [
        "bind",
        "ro-bind",
        "mount-disk-file",
        "name",
        "label",
        "execute",
        "karg",
        "env",
    ] {
        refused(with_bytes(option), &["UTF-8"]);
    }
    let escaped = "given/\\xFF,readonly=false";
    for option in [
        format!("--bind={given}/link:a"),
        format!("--mount-disk-file={given}/link/new.img"),
        format!("--virtio-serial-out=a:{given}/link/out"),
        format!("--log-dir=console={given}/link"),
    ] {
        refused(option.into(), &[escaped, "UTF-8", "hint: "]);
    }
    refused(
        format!("--bind={given}/a\r\nb:a").into(),
        &["a\\r\\nb", "hint: "],
    );
    checks.check("a directory that is only read may have any name", || {
        let _ = run(&sandbox, with_bytes("systemd-units"))
            .arg("--dry-run")
            .run()
            .expect_success();
    });
    checks.check("nothing was made", || {
        assert_eq!(fs::read_dir(&dir).expect("list").count(), 3);
        assert_eq!(fs::read_dir(&odd).expect("list").count(), 1);
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn values_that_would_be_taken_for_something_else_are_refused_before_the_start() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    for (option, words) in [
        ("--name=-x", &["-x", "letters"][..]),
        ("--name=$(x)", &["$(x)", "letters"]),
        ("--name=a,b", &["a,b", "letters"]),
        ("--name=a\nb", &["letters"]),
        ("--label=bcvk.vm=0", &["bcvk.vm", "bcvk's own"]),
        ("--label=", &["KEY=VALUE"]),
        ("--env=A=b\nC=d", &["'A'", "several lines"]),
        ("--karg=a\nb", &["line break"]),
        ("--bind=/usr:/srv/a\\", &["/srv/a\\", "backslash"]),
        ("--bind=/usr:/srv/a ", &["/srv/a ", "blank"]),
    ] {
        checks.check(&format!("{option:?}"), || {
            let _ = run(&sandbox, option).run().expect_error(2, words);
        });
    }
    for image in ["", "a b", "a\nb", "$(touch HERE)", "a;b", "-x"] {
        checks.check(&format!("image {image:?}"), || {
            let _ = sandbox
                .bcvk(["run", "--pull=never", "--", image])
                .run()
                .expect_error(2, &["cannot name an image", "hint: "]);
        });
    }
    for verb in ["stop", "rm", "ssh-config", "logs", "inspect"] {
        checks.check(&format!("{verb}: a name that no VM can have"), || {
            let _ = sandbox
                .bcvk([verb, "--", "[$(touch HERE)"])
                .run()
                .expect_error(1, &["there is no VM named [$(touch HERE)"]);
        });
    }
    checks.check("nothing was executed", || {
        assert!(!sandbox.path().join("HERE").exists());
    });
    checks.finish();
    sandbox.finish();
}

fn run(sandbox: &Sandbox, option: impl AsRef<OsStr>) -> Cmd {
    sandbox.bcvk(["run"]).arg(option).arg(images::trixie())
}
