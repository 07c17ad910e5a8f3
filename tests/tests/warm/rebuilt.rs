//! Tests that a rebuilt image is resumed from the snapshot of its predecessor if, and only if, a boot of
//! it would be the same.

use bcvk_testkit::{Checks, Output, Sandbox, images, limit, until};

use crate::snapshot::list;

/// Replaces a byte of a file, so that neither its size nor its time of change tells.
pub(crate) const FORGE: &str = "forge() { t=$(stat -c %y $1) && printf X | dd of=$1 bs=1 seek=$2 conv=notrunc \
                     2>/dev/null && touch -d \"$t\" $1; }";

/// Edits that no boot sees: data, programs that are not started, and all kinds of files in directories
/// that are only walked through.
const UNSEEN: &str = "FROM BASE
RUN echo new >/usr/share/data && printf '#!/bin/sh\\necho app' >/usr/bin/app && chmod 755 /usr/bin/app
RUN echo more >>/usr/share/common-licenses/GPL-2 && chmod 600 /usr/share/common-licenses/BSD
RUN rm -r /usr/share/bash-completion && mkdir /usr/share/bash-completion && touch /usr/share/bash-completion/x
RUN rm /usr/bin/yes && ln -s true /usr/bin/yes && ln /usr/bin/app /usr/bin/app2 && rm /usr/bin/factor
RUN touch /etc/hosts && echo conf >/etc/app.conf && chown 1:1 /usr/share/pixmaps
";

#[test]
fn a_rebuilt_image_is_resumed_unless_its_boot_would_be_another() {
    let sandbox = Sandbox::new();
    let context = sandbox.make_dir("context");
    let build = |text: &str| sandbox.build_image_from("image", text, &context, &[]);
    // A build leaves files of its own in `/etc`, which the image that it begins with has not.
    let first = build("FROM BASE\nRUN true\n");
    let _ = run_ssh(&sandbox, "first", &["--warm=auto"], &first, "true").expect_success();
    let mut checks = Checks::new();
    let unseen = build(UNSEEN);
    assert_eq!(unseen, first, "the name stays");
    checks.check("a file that no boot reads", || {
        expect_alike(&sandbox, &unseen);
    });
    for (number, (edit, expected)) in SEEN.into_iter().enumerate() {
        checks.check(edit, || {
            let part = format!("seen-{number}");
            let text = format!("FROM BASE\nRUN {FORGE}; {edit}\n");
            let image = build(&text);
            let _ = run_ssh(&sandbox, &part, &["--warm=require"], &image, "true")
                .expect_error(125, &["cannot be resumed", expected]);
        });
    }
    // A stranger's snapshot is none.
    checks.check("an image of another family", || {
        let _ = run_ssh(
            &sandbox,
            "stranger",
            &["--warm=require"],
            images::bookworm(),
            "true",
        )
        .expect_error(125, &["there is no snapshot"]);
    });
    checks.check("the new snapshot takes the place of the old one", || {
        let before = list(&sandbox);
        assert_eq!(before.len(), 1);
        let (edit, expected) = SEEN[1];
        let image = build(&format!("FROM BASE\nRUN {edit}\n"));
        let _ = run_ssh(
            &sandbox,
            "next",
            &["--warm=auto", "--verbose"],
            &image,
            "true",
        )
        .expect_success()
        .expect_stderr(expected);
        let is_next = |list: &[serde_json::Value]| {
            list.len() == 1
                && list[0]["Usable"] == true
                && list[0]["ImageId"] != before[0]["ImageId"]
        };
        until("the old one is gone", limit::QUICK, || {
            is_next(&list(&sandbox))
        });
        let _ = run_ssh(&sandbox, "again", &["--warm=require"], &image, "true").expect_success();
    });
    checks.finish();
    sandbox.finish();
}

/// Edits that a boot sees, one of each kind, and the reason that is given.
const SEEN: [(&str, &str); 13] = [
    (
        "forge /usr/lib/systemd/systemd-journald 5000",
        "/usr/lib/systemd/systemd-journald has another content",
    ),
    (
        "echo '#' >>/usr/lib/systemd/system/ssh.service",
        "/usr/lib/systemd/system/ssh.service has another size",
    ),
    (
        "mkdir -p /etc/systemd/system/ssh.service.d && touch /etc/systemd/system/ssh.service.d/a.conf",
        "/etc/systemd/system has other names in it",
    ),
    (
        "printf '[Service]\\nExecStart=true' >/usr/lib/systemd/system/new.service",
        "/usr/lib/systemd/system has other names in it",
    ),
    (
        "rm /usr/lib/tmpfiles.d/tmp.conf",
        "/usr/lib/tmpfiles.d has other names in it",
    ),
    (
        "ln -sf multi-user.target /usr/lib/systemd/system/default.target",
        "/usr/lib/systemd/system/default.target has another",
    ),
    (
        "chmod 700 /usr/lib/systemd/systemd-logind",
        "/usr/lib/systemd/systemd-logind has another type, owner or mode",
    ),
    (
        "chown 1 /usr/lib/systemd",
        "/usr/lib/systemd has another type, owner or mode",
    ),
    (
        "touch /usr/lib/systemd/systemd-udevd",
        "has another time of change",
    ),
    ("touch /usr", "/usr has another time of change"),
    (
        "touch /var/lib/apt/periodic/new",
        "/var/lib/apt/periodic has other names in it",
    ),
    (
        "echo ID=other >>/usr/lib/os-release",
        "/usr/lib/os-release has another size",
    ),
    (
        "forge /usr/lib/modules/*/vmlinuz 100000",
        "vmlinuz has another content",
    ),
];

/// Prints all that a boot and its image have made of a system: files with their attributes, what
/// programs and units contain, and what became of each unit. A VM that may be saved has an agent, and
/// may be given commands that wait for the network. systemd takes its time on a busy host.
pub(crate) const PORTRAIT: &str = "export SYSTEMD_BUS_TIMEOUT=5min
    cd / && find usr opt srv -xdev -printf '%p %y %m %U %G %n %T@ %l\\n' | sort
    find etc -xdev ! -path 'etc/ssh/ssh_host*' ! -path etc/machine-id -printf '%p %y %m %U %G %n %l\\n' \
    | sort
    find usr/bin usr/lib/systemd/system etc -xdev -type f ! -path 'etc/ssh/ssh_host*' \
    ! -path etc/machine-id -exec sha256sum {} + | sort
    ours='^bcvk-(agent|execute)|wait-online'
    systemctl list-unit-files --no-legend --no-pager | grep -Ev \"$ours\" | sort
    systemctl list-units --all --plain --no-legend --no-pager --type=service,target,socket,timer \
    | awk '{print $1, $2, $3, $4}' | grep -Ev \"$ours\" | sort
    systemctl show '*' --property=NeedDaemonReload | sort -u
    systemctl is-system-running";

/// Expects that a VM of `image` is resumed, and is what a boot would have made of it.
fn expect_alike(sandbox: &Sandbox, image: &str) {
    let draw = |part, warm| portrait(&run_ssh(sandbox, part, &[warm], image, PORTRAIT));
    let resumed = draw("resumed", "--warm=require");
    let booted = draw("booted", "--warm=off");
    assert!(booted.iter().any(|line| line.starts_with("usr/bin/app2 f")));
    expect_same(&resumed, &booted);
}

/// Returns the lines of the portrait that was printed.
pub(crate) fn portrait(output: &Output) -> Vec<String> {
    let text = output.clone().expect_success().stdout();
    text.lines().map(str::to_owned).collect()
}

pub(crate) fn expect_same(resumed: &[String], booted: &[String]) {
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        let missing = these.iter().filter(|line| !those.contains(line));
        missing.cloned().collect()
    };
    let differences = (only(resumed, booted), only(booted, resumed));
    assert_eq!(differences, (Vec::new(), Vec::new()));
}

pub(crate) fn run_ssh(
    sandbox: &Sandbox,
    part: &str,
    options: &[&str],
    image: &str,
    script: &str,
) -> Output {
    sandbox
        .bcvk(["run-ssh", "--name", &sandbox.name(part)])
        .args(options)
        .args([image, "--", "sh", "-c", script])
        .limit(limit::BOOT)
        .run()
}
