//! Snapshots: a VM that is resumed is as good as one that was booted.

mod early;
mod rebuilt;
mod resumed;
mod snapshot;

use std::fs;
use std::os::unix::fs::{FileExt, chown};
use std::path::Path;
use std::time::Duration;

use bcvk_testkit::{
    Checks, Output, Process, ReservedPort, Sandbox, Signal, Vm, expect_sshd, images, limit, until,
    until_some,
};

use bcvk_tests::rights::{check_rights, members};
use bcvk_tests::stranger::Belongings;
use resumed::{
    MARK, check_health, check_noise, expect_given, expect_machine_id, expect_no_secret,
    expect_nothing_in_common, expect_only_staging, make_units,
};
use serde_json::Value;
use snapshot::{copy, cut, entry, list, take_snapshot, usable};

/// Damage to the directory of a snapshot.
type Damage = fn(&Path);

#[test]
fn vms_are_resumed_from_one_snapshot_and_have_nothing_in_common() {
    let sandbox = Sandbox::new();
    let _ = run_ssh(&sandbox, "early", &["--warm=require"], "true")
        .expect_error(125, &["there is no snapshot of this VM"])
        .expect_stderr("--warm auto");
    let units = make_units(&sandbox);
    let given = [&*format!("--env=SECRET={MARK}"), &*units];
    let first = sandbox.boot(
        "first",
        &[&["--rm", "--warm=auto"], &given[..]].concat(),
        images::trixie(),
    );
    let mut checks = Checks::new();
    check_saved(&mut checks, &sandbox, &first);
    first.stop();
    assert_eq!(usable(&sandbox), [true]);

    let options = ["--rm", "--warm=require"];
    let dir = sandbox.make_dir("kept");
    let bind = format!("--bind={}:kept", dir.display());
    let one = sandbox.boot(
        "one",
        &[&options[..], &given[..], &[&bind]].concat(),
        images::trixie(),
    );
    let port = ReservedPort::new();
    let publish = format!("--publish=127.0.0.1:{port}:22");
    let two = sandbox.boot(
        "two",
        &[&options[..], &[&publish]].concat(),
        images::trixie(),
    );
    check_strangers(&mut checks, &one, &two);
    checks.check("a published port answers", || {
        expect_sshd(("127.0.0.1", port.number()));
    });
    for vm in [&one, &two] {
        check_health(&mut checks, vm);
    }
    check_rights(&mut checks, &members(&one), 1, 1);
    check_reports(&mut checks, &sandbox, &one);
    check_noise(&mut checks, &one);
    check_soft_reboot(&mut checks, &one);
    one.stop();
    two.stop();

    check_requests(&mut checks, &sandbox);
    checks.finish();

    let id = list(&sandbox)[0]["Id"].as_str().expect("an ID").to_owned();
    let removed = sandbox.bcvk(["snapshots", "rm", &id[..8]]).run();
    assert_eq!(removed.expect_success().text(), id);
    assert!(list(&sandbox).is_empty());
    // Files of the other stage, which were written over, are left.
    let pruned = sandbox.bcvk(["snapshots", "prune", "--keep=0"]).run();
    let _ = pruned.expect_success().expect_stderr(" removed");
    sandbox.finish();
}

/// Checks the VM `first`, which the snapshot was taken from.
fn check_saved(checks: &mut Checks, sandbox: &Sandbox, first: &Vm<'_>) {
    checks.check("what the first VM is given works in it", || {
        expect_given(first);
        first.sh("touch /etc/first");
    });
    checks.check("no secret is in the snapshot", || {
        expect_no_secret(sandbox, first);
    });
    checks.check(
        "its VM can write to nothing that others are resumed from",
        || {
            expect_only_staging(sandbox, first);
        },
    );
    check_rights(checks, &members(first), 1, 0);
    checks.check("another user of the host gets nothing of both", || {
        let snapshots = sandbox.home().join(".cache/bcvk/snapshots");
        let all = Belongings::default().of_vm(first).below(&snapshots);
        all.expect_closed(sandbox);
    });
}

/// Checks two VMs of one snapshot, of which `one` was given variables and units.
fn check_strangers(checks: &mut Checks, one: &Vm<'_>, two: &Vm<'_>) {
    checks.check("variables and units are given to a resumed VM", || {
        expect_given(one);
        two.sh("test -z \"$SECRET\" && ! systemctl cat of-user.service");
    });
    checks.check("names, keys and randomness are their own", || {
        expect_nothing_in_common(one, two);
    });
    checks.check("a machine ID of its own, with the journal so far", || {
        expect_machine_id(two, one);
    });
    checks.check("nobody sees what another wrote", || {
        one.sh("test ! -e /etc/first && touch /etc/one");
        two.sh("test ! -e /etc/one");
    });
}

/// Checks that a share which was plugged in outlasts the system that mounted it.
fn check_soft_reboot(checks: &mut Checks, vm: &Vm) {
    checks.check("a soft-reboot mounts shares again", || {
        vm.soft_reboot();
        vm.sh("systemctl is-system-running --wait && touch /run/virtiofs-mnt-kept/x");
        assert_eq!(
            vm.sh("findmnt -no FSTYPE /run/virtiofs-mnt-kept"),
            "virtiofs"
        );
    });
}

/// Checks what bcvk says of the resumed VM `vm`.
fn check_reports(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm) {
    checks.check("ps and inspect tell", || {
        let ps = sandbox.bcvk(["ps", "--json"]).run().expect_success();
        assert!(ps.stdout().contains("\"Resumed\": true"), "{ps}");
        let _ = sandbox
            .bcvk(["inspect", vm.name()])
            .run()
            .expect_success()
            .expect_stdout("\"resumed\": true");
    });
    checks.check("a session could begin before it was ready", || {
        let output = sandbox.bcvk(["inspect", vm.name()]).run().expect_success();
        let report: Value = serde_json::from_str(&output.stdout()).expect("JSON");
        let history = report["Status"]["history"].as_array().expect("phases");
        let phases: Vec<_> = history.iter().map(|event| &event["phase"]).collect();
        assert_eq!(phases, ["preparing", "qemu", "reachable", "ready"]);
    });
    checks.check("the doctor knows what snapshots take", || {
        let doctor = sandbox.command(sandbox.bcvk_path()).arg("doctor").run();
        assert!(doctor.stdout().contains("of at most 4"), "{doctor}");
    });
    checks.check("its chart has what was done to resume it", || {
        let chart = sandbox.bcvk(["boot-chart", vm.name()]).run();
        let _ = chart
            .expect_success()
            .expect_stdout("* QEMU resumes the guest")
            .expect_stdout("resumed from a snapshot")
            .expect_stdout("Host");
    });
}

/// Checks which other requests are met by resuming, and which are not.
fn check_requests(checks: &mut Checks, sandbox: &Sandbox) {
    checks.check("shares and a disk", || expect_plugged(sandbox));
    checks.check("--execute", || {
        let output = sandbox
            .bcvk(["run", "--rm", "--warm=require", "--name"])
            .arg(sandbox.name("execute"))
            .args(["--execute=echo out; echo err >&2; exit 7", images::trixie()])
            .limit(limit::BOOT)
            .run()
            .expect_code(7)
            .expect_stderr("err\n");
        assert_eq!(output.stdout(), "out\n");
    });
    checks.check("another VM has another snapshot", || {
        let _ = run_ssh(sandbox, "other", &["--warm=require", "--memory=2G"], "true")
            .expect_error(125, &["there is no snapshot"]);
    });
    checks.check("what cannot be resumed says why", || {
        let _ = run_ssh(
            sandbox,
            "swap",
            &["--warm=require", "--add-swap=64M"],
            "true",
        )
        .expect_error(2, &["cannot be resumed", "swap device"]);
        let _ = run_ssh(sandbox, "var", &["--warm=require", "--var-disk"], "true")
            .expect_error(2, &["cannot be resumed", "/var is on a disk"]);
    });
}

/// Damage that shows without reading the state and memory of a snapshot.
const AT_A_GLANCE: [(&str, Damage); 4] = [
    ("state is damaged", |dir| cut(&dir.join("sealed/state"))),
    ("memory is damaged", |dir| cut(&dir.join("sealed/memory"))),
    (
        "meta.json cannot be read",
        |dir| cut(&dir.join("meta.json")),
    ),
    ("another version", |dir| {
        let meta = fs::read_to_string(dir.join("meta.json")).expect("text");
        let meta = meta.replace("\"version\":3", "\"version\":99");
        fs::write(dir.join("meta.json"), meta).expect("written");
    }),
];

#[test]
fn a_damaged_snapshot_is_dropped_and_the_vm_boots() {
    let sandbox = Sandbox::new();
    take_snapshot(&sandbox);
    let dir = entry(&sandbox);
    let whole = sandbox.make_dir("whole");
    copy(&dir.join("."), &whole);

    let mut checks = Checks::new();
    for (what, damage) in AT_A_GLANCE {
        checks.check(what, || {
            fs::create_dir_all(&dir).expect("made");
            copy(&whole.join("."), &dir);
            damage(&dir);
            let _ = run_ssh(&sandbox, "cut", &["--warm=require"], "true")
                .expect_error(125, &["there is no snapshot"]);
            assert!(!dir.exists(), "{what}");
        });
    }
    // A byte somewhere in the middle is changed.
    let damage = |file: &str, at: u64| {
        fs::create_dir_all(&dir).expect("made");
        copy(&whole.join("."), &dir);
        let file = fs::File::options()
            .write(true)
            .open(dir.join("sealed").join(file))
            .expect("opened");
        file.write_all_at(b"x", at).expect("written");
    };
    for (file, at) in [("memory", 16 << 20), ("state", 1000), ("kernel", 0)] {
        checks.check(file, || {
            damage(file, at);
            let why = format!("its file {file} is damaged");
            let _ = run_ssh(&sandbox, "refused", &["--warm=require"], "true")
                .expect_error(125, &["cannot be resumed", &why]);
            assert!(!dir.exists());
        });
    }
    checks.check("a description of other files", || {
        damage("memory", 16 << 20);
        let meta = fs::read_to_string(dir.join("meta.json")).expect("text");
        let (before, digest) = meta.split_once("\"sha256\":\"").expect("a digest");
        let other = if digest.starts_with('0') { '1' } else { '0' };
        let meta = format!("{before}\"sha256\":\"{other}{}", &digest[1..]);
        fs::write(dir.join("meta.json"), meta).expect("written");
        let _ = run_ssh(&sandbox, "described", &["--warm=require"], "true")
            .expect_error(125, &["cannot be resumed", "its file memory is damaged"]);
    });
    checks.check("content that changed", || {
        damage("memory", 16 << 20);
        let _ = run_ssh(&sandbox, "changed", &["--warm=auto", "--verbose"], "true")
            .expect_success()
            .expect_stderr("its file memory is damaged");
        assert!(!dir.exists());
    });
    checks.finish();
    sandbox.finish();
}

#[test]
fn a_vm_starts_again_when_its_snapshot_is_gone() {
    let sandbox = Sandbox::new();
    take_snapshot(&sandbox);
    let vm = sandbox.boot("again", &["--warm=auto"], images::trixie());
    vm.stop();
    let pruned = sandbox.bcvk(["snapshots", "prune", "--keep=0"]).run();
    let _ = pruned.expect_success().expect_stderr("2 snapshots removed");
    let dir = entry(&sandbox);
    assert!(!dir.join("sealed/memory").exists());

    let _ = sandbox.podman(["start", vm.name()]).run().expect_success();
    assert_eq!(vm.sh("hostname"), vm.name());
    let ps = sandbox.bcvk(["ps", "--json"]).run().expect_success();
    assert!(ps.stdout().contains("\"Resumed\": false"), "{ps}");

    let _ = sandbox
        .bcvk(["rm", "--force", vm.name()])
        .run()
        .expect_success();
    let pruned = sandbox.bcvk(["snapshots", "prune"]).run();
    let _ = pruned.expect_success();
    assert!(!dir.exists());
    sandbox.finish();
}

/// QEMU is stopped for that, so that the moment lasts.
#[test]
fn an_end_is_heard_while_a_vm_is_saved_or_resumed() {
    let sandbox = Sandbox::new();
    let mut checks = Checks::new();
    checks.check("saved", || {
        let vm = sandbox.boot("saved", &["--rm", "--warm=auto"], images::trixie());
        let state = entry(&sandbox).join("staging/state");
        until("its state is written", limit::BOOT, || {
            fs::metadata(&state).is_ok_and(|state| state.len() > 0)
        });
        freeze(vm.name());
        stop(&sandbox, vm.name());
        sandbox.expect_nothing_left();
        assert!(!usable(&sandbox).contains(&true));
    });
    take_snapshot(&sandbox);
    assert_eq!(usable(&sandbox), [true]);
    checks.check("resumed, and stopped", || {
        let name = sandbox.name("stopped");
        let run = sandbox
            .bcvk(["run", "-d", "--rm", "--warm=require", "--name", &name])
            .arg(images::trixie())
            .spawn();
        freeze(&name);
        stop(&sandbox, &name);
        let _ = run
            .wait(limit::QUICK)
            .expect_error(126, &["stopped before it was ready"]);
        sandbox.expect_nothing_left();
    });
    checks.check("resumed, and left alone", || {
        let name = sandbox.name("alone");
        let run = sandbox
            .bcvk(["run-ssh", "--warm=auto", "--name", &name, images::trixie()])
            .spawn();
        freeze(&name);
        run.signal(Signal::KILL);
        let _ = run.wait(limit::QUICK);
        sandbox.expect_nothing_left();
    });
    checks.finish();
    sandbox.finish();
}

/// Stops the QEMU of a VM as soon as there is one.
fn freeze(name: &str) {
    let qemu = until_some("QEMU runs", limit::BOOT, || Process::qemu_of(name));
    qemu.signal(Signal::STOP);
}

/// Stops a VM, within a part of the time that QEMU is waited for.
fn stop(sandbox: &Sandbox, name: &str) {
    let stopped = sandbox.bcvk(["stop", name]).limit(limit::SHUTDOWN).run();
    let _ = stopped
        .expect_success()
        .expect_within(Duration::from_secs(4));
}

#[test]
fn a_cache_of_another_user_is_not_used() {
    let Some(sandbox) = Sandbox::root() else {
        return;
    };
    let cache = sandbox.home().join(".cache/bcvk/snapshots");
    fs::create_dir_all(&cache).expect("made");
    chown(&cache, Some(65_534), None).expect("given away");
    let why = "snapshots belongs to another user";
    let _ = run_ssh(&sandbox, "require", &["--warm=require"], "true").expect_error(125, &[why]);
    let _ = run_ssh(&sandbox, "auto", &["--warm=auto", "--verbose"], "true")
        .expect_success()
        .expect_stderr(why);
    let ls = sandbox.bcvk(["snapshots", "ls"]).run();
    let _ = ls.expect_error(125, &[why]);
    assert_eq!(fs::read_dir(&cache).expect("read").count(), 0);
    chown(&cache, Some(0), None).expect("taken back");
    sandbox.finish();
}

#[test]
fn an_ordinary_user_resumes_too() {
    let Some(sandbox) = Sandbox::rootless() else {
        return;
    };
    // This user's home has snapshots of other tests.
    let prune = || {
        let pruned = sandbox.bcvk(["snapshots", "prune", "--keep=0"]).run();
        let _ = pruned.expect_success().expect_stderr(" removed");
    };
    prune();
    let _ = run_ssh(&sandbox, "first", &["--warm=auto"], "true").expect_success();
    let dir = sandbox.make_dir("share");
    let bind = format!("--bind={}:it", dir.display());
    let options = ["--warm=require", &bind];
    let _ = run_ssh(&sandbox, "next", &options, "touch /run/virtiofs-mnt-it/x").expect_success();
    assert!(dir.join("x").exists());
    prune();
    assert!(list(&sandbox).is_empty());
    sandbox.finish();
}

fn expect_plugged(sandbox: &Sandbox) {
    let dir = sandbox.make_dir("share");
    fs::write(dir.join("from-host"), "host\n").expect("written");
    let bind = format!("--bind={}:it", dir.display());
    let ro_bind = format!("--ro-bind={}:ro", dir.display());
    let disk = format!("--mount-disk-file={}:data", dir.join("disk.img").display());
    let options = ["--warm=require", &bind, &ro_bind, &disk];
    let script = "cat /run/virtiofs-mnt-it/from-host && echo guest >/run/virtiofs-mnt-it/from-guest \
                  && ! touch /run/virtiofs-mnt-ro/x 2>/dev/null \
                  && mount -o remount,rw /run/virtiofs-mnt-ro \
                  && ! touch /run/virtiofs-mnt-ro/x 2>/dev/null \
                  && echo text >/dev/disk/by-id/virtio-data && sync";
    let output = run_ssh(sandbox, "plugged", &options, script).expect_success();
    assert_eq!(output.stdout(), "host\n");
    let text = |name: &str| fs::read(dir.join(name)).expect(name);
    assert_eq!(text("from-guest"), b"guest\n");
    assert!(text("disk.img").starts_with(b"text\n"));
}

#[track_caller]
fn run_ssh(sandbox: &Sandbox, part: &str, options: &[&str], script: &str) -> Output {
    sandbox
        .bcvk(["run-ssh", "--name", &sandbox.name(part)])
        .args(options)
        .args([images::trixie(), "--", "sh", "-c", script])
        .limit(limit::BOOT)
        .run()
}
