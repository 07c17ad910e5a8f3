//! Wrong values, files that will not do and options that exclude each other: exit code 2, before anything starts.

use std::time::Duration;

use bcvk_testkit::{Checks, Sandbox, images};

fn listing(dir: &std::path::Path) -> String {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .expect("read a directory")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into()
        })
        .collect();
    names.sort();
    names.join(" ")
}

/// Limit far above what it takes to find wrong values and missing things before anything is
/// started, and far below any time-out.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Options that are wrong in themselves: usage errors.
#[test]
fn wrong_values_are_usage_errors() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    for (option, value, words) in [
        ("--itype", "u9.huge", &["u9.huge", "u1.medium"][..]),
        ("--memory", "banana", &["banana", "4G"]),
        ("--memory", "64M", &["64M", "256 MiB"]),
        ("--memory", "-1", &["-1"]),
        ("--memory", "99999999T", &["99999999T"]),
        ("--vcpus", "0", &["--vcpus"]),
        ("--vcpus", "many", &["many"]),
        ("--name", "a b", &["a b", "letters"]),
        ("--publish", "http", &["http"]),
        ("--publish", "8080:99999", &["99999", "65535"]),
        ("--timeout", "soon", &["soon"]),
        ("--accel", "magic", &["magic"]),
        ("--pull", "sometimes", &["sometimes", "never"]),
        ("--bind", "", &["--bind"]),
        ("--env", "=x", &["=x"]),
        ("--mount-disk-file", "", &["names no file"]),
        ("--mount-disk-file", "a.img:a:vmdk", &["vmdk", "qcow2"]),
        ("--mount-disk-file", "a.img:bcvk-swap", &["bcvk-swap"]),
        ("--mount-disk-file", "a.img:bcvk-var", &["bcvk-var"]),
        ("--add-swap", "much", &["much", "512M"]),
        ("--var-size", "32M", &["32M", "64M"]),
        ("--var-size", "4G", &["4096 MiB", "hint: --memory"]),
        ("--var-disk", "16T", &["16T", "15T"]),
        ("--output", "syslog", &["syslog", "journal"]),
        ("--log-dir", "logs", &["logs", "STREAMS=DIR"]),
        ("--log-dir", "syslog=logs", &["syslog", "journal"]),
        ("--virtio-serial-out", "file", &["NAME:FILE"]),
        ("--virtio-serial-out", "org.bcvk.x:file", &["org.bcvk.x"]),
    ] {
        for verb in ["run", "run-ssh"] {
            checks.check(&format!("{verb} {option}={value}"), || {
                let _ = sandbox
                    .bcvk([verb, &format!("{option}={value}"), images::trixie()])
                    .run()
                    .expect_error(2, words)
                    .expect_within(AT_ONCE);
            });
        }
    }
    for args in [
        &["run"][..],
        &["run-ssh"],
        &["ssh"],
        &["frobnicate"],
        &["run", "--frobnicate", "image"],
    ] {
        checks.check(&format!("usage: {args:?}"), || {
            let _ = sandbox.bcvk(args).run().expect_error(2, &["Usage"]);
        });
    }
    checks.finish();
    sandbox.finish();
}

/// Files of the user's that cannot be what they were given for are found before anything is
/// started, and nothing is made.
#[test]
fn files_that_will_not_do_are_usage_errors() {
    let sandbox = Sandbox::new();
    let dir = sandbox.make_dir("files");
    let at = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
    let mut qcow2 = b"QFI\xfb\0\0\0\x03".to_vec();
    qcow2.resize(512, 0);
    std::fs::write(at("qcow2"), &qcow2).expect("write");
    qcow2[8..16].copy_from_slice(&512_u64.to_be_bytes());
    std::fs::write(at("backed.qcow2"), &qcow2).expect("write");
    std::fs::write(at("text"), "variant: fcos\n").expect("write");
    std::fs::create_dir(at("empty")).expect("make a directory");
    let before = listing(&dir);
    let mut checks = Checks::new();
    for (options, words) in [unusable_disks(at), unusable_files(at)].concat() {
        checks.check(&format!("{options:?}"), || {
            let _ = sandbox
                .bcvk(["run"])
                .args(&options)
                .arg(images::trixie())
                .run()
                .expect_error(2, words)
                .expect_within(AT_ONCE);
        });
    }
    checks.check("nothing was made", || assert_eq!(listing(&dir), before));
    checks.finish();
    sandbox.finish();
}

/// Options that are refused, and words of the error.
type Refused = (Vec<String>, &'static [&'static str]);

/// Returns options with files that cannot be disks, by their paths.
fn unusable_disks(at: impl Fn(&str) -> String) -> Vec<Refused> {
    vec![
        (
            vec![format!("--mount-disk-file={}", at("empty"))],
            &["empty", "only regular files"][..],
        ),
        (
            vec!["--mount-disk-file=/dev/null".to_owned()],
            &["/dev/null", "only regular files", "hint: "],
        ),
        (
            vec![format!("--mount-disk-file={}", at("none/disk.img"))],
            &["none/disk.img", "No such file"],
        ),
        (
            vec![format!("--mount-disk-file={}", at("qcow2"))],
            &["looks like qcow2", "hint: ", ":qcow2"],
        ),
        (
            vec![format!("--mount-disk-file={}:a:qcow2", at("text"))],
            &["is not a qcow2 file", "hint: "],
        ),
        (
            vec![format!("--mount-disk-file={}", at("backed.qcow2"))],
            &["in another file", "hint: ", "qemu-img convert"],
        ),
        (
            vec![
                format!("--mount-disk-file={}", at("new1.img")),
                format!("--mount-disk-file={}", at("new2.img")),
            ],
            &["new1.img", "new2.img", "output", "FILE:NAME"],
        ),
    ]
}

/// Returns options with other files that cannot be used, by their paths.
fn unusable_files(at: impl Fn(&str) -> String) -> Vec<Refused> {
    vec![
        (
            vec![format!("--systemd-units={}", at("empty"))],
            &["no systemd units", "hint: "][..],
        ),
        (
            vec![format!("--systemd-units={}", at("none"))],
            &["none", "No such file"],
        ),
        (
            vec![format!("--ignition={}", at("text"))],
            &[
                "cannot be used as Ignition's configuration",
                "hint: ",
                "butane",
            ],
        ),
        (
            vec![
                format!("--ignition={}", at("text")),
                "--initramfs=direct".to_owned(),
            ],
            &["--ignition", "--initramfs direct", "leave one"],
        ),
        (
            vec![format!("--cloud-init={}", at("text"))],
            &["cannot be used as cloud-init's user data", "#cloud-config"],
        ),
        (
            vec!["--initramfs=none".to_owned()],
            &["'none'", "image and direct"],
        ),
        (
            vec![format!("--log-dir=journal={}", at("text"))],
            &["cannot go to", "not a directory"],
        ),
        (
            vec!["--virtio-serial-out=a:/dev/null".to_owned()],
            &["/dev/null", "regular file"],
        ),
        (
            vec![
                format!("--virtio-serial-out=a:{}", at("new")),
                format!("--virtio-serial-out=a:{}", at("new2")),
            ],
            &["'a'", "name of its own"],
        ),
    ]
}

/// Options that exclude each other.
#[test]
fn options_that_cannot_be_had_together_are_usage_errors() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    for (args, words) in [
        (
            &["run-ssh", "--execute=true"][..],
            &["--execute", "hint: ", "run-ssh … IMAGE -- CMD"][..],
        ),
        (&["run", "-it", "--execute=true"], &["--execute"]),
        (
            &["run", "-d", "--execute=true", "--output=journal"],
            &["--output journal", "--log-dir"],
        ),
        (
            &["run", "-d", "--execute=true", "--console"],
            &["--console", "--log-dir"],
        ),
        (&["run", "--console", "--output=journal"], &["--console"]),
        (&["run", "-d", "--debug"], &["--debug"]),
        (
            &["run", "--var-size=1G", "--var-disk"],
            &["--var-size", "--var-disk=SIZE", "leave one"],
        ),
        (
            &["run", "--var-disk=1G", "--bind=/tmp:/var"],
            &["'/tmp'", "mounted over /var", "leave one"],
        ),
        (
            &["run", "--var-size=1G", "--memory=1G"],
            &["640 MiB", "hint: "],
        ),
    ] {
        checks.check(&format!("{args:?}"), || {
            let _ = sandbox
                .bcvk(args)
                .arg(images::trixie())
                .run()
                .expect_error(2, words)
                .expect_within(AT_ONCE);
        });
    }
    checks.finish();
    sandbox.finish();
}
