//! Tests that a rebuilt image whose system would start otherwise is resumed from the moment before its
//! predecessor's was mounted, and becomes what a boot would have made of it.

use bcvk_testkit::{Checks, Sandbox, limit, until};
use serde_json::Value;

use crate::rebuilt::{FORGE, PORTRAIT, expect_same, portrait, run_ssh};
use crate::snapshot::{list, list_all, list_at};

/// A unit, a program that it starts, and a unit of the image's that is another.
const NEW_UNIT: &str = "printf '#!/bin/sh\\necho app >/run/app' >/usr/bin/app && chmod 755 /usr/bin/app && \
    printf '[Unit]\\nDescription=app\\n[Service]\\nType=oneshot\\nRemainAfterExit=yes\\n\
    ExecStart=/usr/bin/app\\n' >/usr/lib/systemd/system/app.service && \
    ln -s ../app.service /usr/lib/systemd/system/multi-user.target.wants/ && \
    echo '#' >>/usr/lib/systemd/system/ssh.service";

/// Prints what no two VMs have in common, one word for each.
const IDENTITY: &str = "cat /etc/machine-id /proc/sys/kernel/random/uuid && hostname && \
    sed -n 4p /etc/ssh/ssh_host_ed25519_key";

#[test]
fn a_rebuilt_image_whose_system_is_another_is_resumed_before_it_is_mounted() {
    let sandbox = Sandbox::new();
    let context = sandbox.make_dir("context");
    let build = |edit: &str| {
        let text = format!("FROM BASE\nRUN {FORGE}; {edit}\n");
        sandbox.build_image_from("image", &text, &context, &[])
    };
    let image = build("true");
    let first = run_ssh(&sandbox, "first", &["--warm=auto"], &image, IDENTITY);
    let first = first.expect_success().stdout();
    until("both snapshots are there", limit::QUICK, || {
        let all = list_all(&sandbox);
        let kept = |row: &Value| row["Usable"] == true || row["Saving"] == true;
        assert!(all.len() == 2 && all.iter().all(kept), "{all:?}");
        all.iter().all(|row| row["Usable"] == true)
    });
    let before = list_at(&sandbox, "early");
    let mut checks = Checks::new();
    let image = build(NEW_UNIT);
    checks.check("it is what a boot would have made of it", || {
        let options = ["--warm=auto", "--verbose"];
        let early = run_ssh(&sandbox, "early", &options, &image, PORTRAIT);
        let early = early.expect_stderr("resumed from the early stage: /usr/lib/systemd/system");
        let booted = run_ssh(&sandbox, "booted", &["--warm=off"], &image, PORTRAIT);
        let (early, booted) = (portrait(&early), portrait(&booted));
        let unit = "app.service loaded active exited";
        assert!(booted.iter().any(|line| line == unit), "{booted:?}");
        expect_same(&early, &booted);
    });
    checks.check("it was saved in turn, and only once it was up", || {
        let is_next = || {
            let ready = list(&sandbox);
            ready.len() == 1 && ready[0]["ImageId"] != before[0]["ImageId"]
        };
        until("it has the place of the first", limit::QUICK, is_next);
        let early = list_at(&sandbox, "early");
        assert_eq!(early.len(), 1);
        assert_eq!(early[0]["Id"], before[0]["Id"]);
        let resumed = run_ssh(
            &sandbox,
            "next",
            &["--warm=require"],
            &image,
            "cat /run/app && systemctl is-system-running",
        );
        assert_eq!(resumed.expect_success().stdout(), "app\nrunning\n");
    });
    checks.check("it has what it is given, and nothing of the others", || {
        let image = build("echo '#' >>/usr/lib/systemd/system/systemd-logind.service");
        let dir = sandbox.make_dir("share");
        let bind = format!("--bind={}:it", dir.display());
        let options = ["--warm=auto", "--verbose", "--env=GIVEN=yes", &bind];
        let script = format!("{IDENTITY} && echo $GIVEN >/run/virtiofs-mnt-it/given");
        let other = run_ssh(&sandbox, "other", &options, &image, &script).expect_success();
        let other = other
            .expect_stderr("resumed from the early stage: ")
            .stdout();
        let given = std::fs::read_to_string(dir.join("given"));
        assert_eq!(given.expect("written"), "yes\n");
        let (first, other): (Vec<_>, Vec<_>) = (first.lines().collect(), other.lines().collect());
        assert_eq!((first.len(), other.len()), (4, 4));
        for (one, two) in first.iter().zip(&other) {
            assert_ne!(one, two);
        }
    });
    checks.check("another kernel boots", || {
        let image = build("forge /usr/lib/modules/*/vmlinuz 100000");
        let options = ["--warm=auto", "--verbose"];
        let _ = run_ssh(&sandbox, "kernel", &options, &image, "true")
            .expect_success()
            .expect_stderr("the VM was booted: ")
            .expect_stderr("vmlinuz has another content");
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn bcvks_own_initramfs_is_saved_before_it_mounts_the_image_too() {
    let sandbox = Sandbox::new();
    let context = sandbox.make_dir("context");
    let build = |edit: &str| {
        let text = format!("FROM BASE\nRUN {edit}\n");
        sandbox.build_image_from("image", &text, &context, &[])
    };
    let options = ["--warm=auto", "--verbose", "--initramfs=direct"];
    let image = build("true");
    let _ = run_ssh(&sandbox, "first", &options, &image, "true").expect_success();
    let image = build(NEW_UNIT);
    let script = "cat /run/app && systemctl is-system-running";
    let early = run_ssh(&sandbox, "early", &options, &image, script).expect_success();
    let early = early.expect_stderr("resumed from the early stage: /usr/lib/systemd/system");
    assert_eq!(early.stdout(), "app\nrunning\n");
    sandbox.finish();
}
