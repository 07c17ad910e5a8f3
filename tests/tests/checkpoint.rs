//! `checkpoint` and `reset`: a VM is taken back to what it was, as often as wanted.

use std::fs;
use std::time::Duration;

use bcvk_contract::status::Timestamp;

use bcvk_testkit::{
    Checks, Output, ReservedPort, Sandbox, Vm, expect_sshd, images, limit, schema, until,
};
use serde_json::Value;

/// Runs `bcvk ephemeral WORDS`, in which `VM` is the VM.
#[track_caller]
fn bcvk(sandbox: &Sandbox, vm: &Vm<'_>, words: &[&str]) -> Output {
    let words: Vec<String> = words
        .iter()
        .map(|word| word.replace("VM", vm.name()))
        .collect();
    sandbox.bcvk(&words).limit(limit::BOOT).run()
}

/// Returns the names of the checkpoints that `snapshots ls` shows of the VM.
fn listed(sandbox: &Sandbox, vm: &Vm<'_>) -> Vec<String> {
    let output = sandbox.bcvk(["snapshots", "ls", "--json"]).run();
    let json: Value = serde_json::from_str(&output.expect_success().stdout()).expect("JSON");
    schema::expect_valid("ephemeral-snapshots-ls", std::slice::from_ref(&json));
    let rows = json.as_array().expect("an array").iter();
    let ours = rows.filter(|row| row["Vm"] == vm.name());
    let ids = ours.map(|row| {
        assert!(row["Size"].as_u64().expect("a number") > 1 << 20, "{row}");
        let id = row["Id"].as_str().expect("text");
        id.strip_prefix(vm.name()).expect("the VM's").to_owned()
    });
    ids.collect()
}

fn status(sandbox: &Sandbox, vm: &Vm<'_>) -> Value {
    let output = bcvk(sandbox, vm, &["inspect", "VM"]).expect_success();
    let json: Value = serde_json::from_str(&output.stdout()).expect("JSON");
    schema::expect_valid("ephemeral-inspect", std::slice::from_ref(&json));
    json["Status"].clone()
}

/// Prints what tells of the kernel's clock, without the time.
const CLOCK: &str = "cat /sys/devices/system/clocksource/clocksource0/current_clocksource \
                     /proc/sys/kernel/soft_watchdog; dmesg | grep -c lockup";

/// Prints what a reset has to bring back, and what it has not.
const LOOK: &str = "cat /root/mark /var/mark /run/mark; pgrep -c marked; ls -d /root/* /var/lib/later 2>/dev/null; true";

#[test]
fn a_vm_is_taken_back_as_often_as_wanted() {
    let sandbox = Sandbox::new();
    let share = sandbox.make_dir("share");
    let port = ReservedPort::new();
    let options = [
        format!("--bind={}:/srv", share.display()),
        format!("--publish=127.0.0.1:{}:22", port.number()),
    ];
    let options = [&options[0], "--var-disk=1G", "--rm", &options[1]];
    let vm = sandbox.boot("back", &options, images::trixie());
    let mut checks = Checks::new();
    checks.check("a VM that boots is not ready for it", || {
        let output = bcvk(&sandbox, &vm, &["checkpoint", "VM"]);
        let _ = output.expect_error(1, &["is not ready", "hint: ", "ephemeral wait"]);
    });
    let config = bcvk(&sandbox, &vm, &["ssh-config", "VM"]).expect_success();
    vm.sh(
        "for dir in root var run; do echo before >/$dir/mark; done; echo guest >/srv/file
           cp /bin/sleep /run/marked; systemd-run -q /run/marked infinity",
    );
    let before = vm.sh(LOOK);
    let clock = vm.run_sh(CLOCK).text();
    checks.check("there is none yet", || {
        let output = bcvk(&sandbox, &vm, &["reset", "VM"]);
        let _ = output.expect_error(1, &["has no checkpoint", "hint: ", "ephemeral checkpoint"]);
    });
    checks.check("it is named and listed", || {
        let output = bcvk(&sandbox, &vm, &["checkpoint", "VM"]).expect_success();
        assert_eq!(output.stdout(), "checkpoint-1\n");
        assert_eq!(listed(&sandbox, &vm), ["/checkpoint-1"]);
    });
    let mut random = Vec::new();
    for _ in 0..3 {
        checks.check("what was done since has not been", || {
            vm.sh("for dir in root var run; do echo after >/$dir/mark; done
                   touch /root/more; mkdir /var/lib/later; pkill marked; sync");
            fs::write(share.join("file"), "the host's").expect("written");
            fs::write(share.join("new"), "new").expect("written");
            let output = bcvk(&sandbox, &vm, &["reset", "VM"]).expect_success();
            assert_eq!(output.text(), vm.name());
            assert_eq!(vm.sh(LOOK), before);
        });
        random.push(vm.sh("cat /proc/sys/kernel/random/uuid"));
    }
    checks.check("shares are the host's and stay as they are", || {
        assert_eq!(vm.sh("cat /srv/file /srv/new"), "the host'snew");
        vm.sh("echo again >/srv/file");
        assert_eq!(
            fs::read_to_string(share.join("file")).expect("read"),
            "again\n"
        );
    });
    checks.check("its randomness is new and its clock is right", || {
        random.sort();
        random.dedup();
        assert_eq!(random.len(), 3, "{random:?}");
        assert!(
            vm.sh("dmesg")
                .contains("crng reseeded due to virtual machine fork")
        );
        let seconds = vm.sh("date +%s").parse().expect("a number");
        let now = Duration::from_micros(Timestamp::now().0);
        let apart = now.abs_diff(Duration::from_secs(seconds));
        assert!(apart < Duration::from_secs(10), "{apart:?}");
    });
    checks.check("its kernel's clock has not jumped and is as it was", || {
        assert_eq!(vm.run_sh(CLOCK).text(), clock);
    });
    checks.check("it is the same VM to ssh and to its neighbours", || {
        let again = bcvk(&sandbox, &vm, &["ssh-config", "VM"]).expect_success();
        assert_eq!(again.stdout(), config.stdout());
        expect_sshd(("127.0.0.1", port.number()));
        assert_eq!(vm.sh("hostname"), vm.name());
    });
    checks.check("a session ends and says why", || {
        let mut session = vm.ssh(&["echo in; exec sleep 1000"]).spawn();
        session.await_stdout("in", limit::BOOT);
        let _ = bcvk(&sandbox, &vm, &["reset", "VM"]).expect_success();
        let output = session.wait(limit::QUICK).expect_code(255);
        let _ = output.expect_stderr(&format!("VM {} was reset to checkpoint-1", vm.name()));
    });
    check_names(&mut checks, &sandbox, &vm);
    checks.check("the VM ends as any other", || {
        vm.sh("true");
        vm.stop();
    });
    checks.finish();
    sandbox.finish();
}

fn check_names(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    checks.check("there may be several, each with a name of its own", || {
        vm.sh("echo second >/root/mark");
        let output = bcvk(sandbox, vm, &["checkpoint", "VM", "second"]).expect_success();
        assert_eq!(output.stdout(), "second\n");
        let output = bcvk(sandbox, vm, &["checkpoint", "VM", "second"]);
        let _ = output.expect_error(1, &["has a checkpoint second already", "--replace"]);
        let _ = bcvk(sandbox, vm, &["reset", "VM", "checkpoint-1"]).expect_success();
        assert_eq!(vm.sh("cat /root/mark"), "before");
        let _ = bcvk(sandbox, vm, &["reset", "VM"]).expect_success();
        assert_eq!(vm.sh("cat /root/mark"), "second");
        let output = bcvk(sandbox, vm, &["reset", "VM", "third"]);
        let _ = output.expect_error(1, &["has no checkpoint third"]);
        let output = bcvk(sandbox, vm, &["checkpoint", "VM", "../x"]);
        let _ = output.expect_error(2, &["the name of a checkpoint"]);
    });
    checks.check("one takes the place of another", || {
        vm.sh("echo third >/root/mark");
        let words = ["checkpoint", "--replace", "VM", "checkpoint-1"];
        let _ = bcvk(sandbox, vm, &words).expect_success();
        vm.sh("echo fourth >/root/mark");
        let _ = bcvk(sandbox, vm, &["reset", "VM"]).expect_success();
        assert_eq!(vm.sh("cat /root/mark"), "third");
        assert_eq!(listed(sandbox, vm), ["/second", "/checkpoint-1"]);
    });
    checks.check("the status and the history tell of it", || {
        let status = status(sandbox, vm);
        assert_eq!(status["phase"], "ready");
        assert_eq!(status["checkpoints"][0]["name"], "second");
        assert_eq!(status["checkpoints"][1]["name"], "checkpoint-1");
        assert_eq!(status["reset"]["to"], "checkpoint-1");
        assert_eq!(status["reset"]["count"], 7);
        assert_eq!(status["held"], Value::Null);
        let events = fs::read_to_string(vm.dir().join("shared/events.jsonl")).expect("read");
        let lines = |key: &str| events.matches(key).count();
        let (made, reset) = (lines("\"checkpoint\":"), lines("\"reset\":"));
        let lines = events.lines().map(serde_json::from_str::<Value>);
        assert!(lines.into_iter().all(|line| line.is_ok()), "{events}");
        assert_eq!(made + reset, 3 + 7, "{events}");
    });
    checks.check("one that is removed is gone, and others stay", || {
        let output = bcvk(sandbox, vm, &["snapshots", "rm", "VM/second"]).expect_success();
        assert_eq!(output.text(), format!("{}/second", vm.name()));
        assert_eq!(listed(sandbox, vm), ["/checkpoint-1"]);
        let output = bcvk(sandbox, vm, &["reset", "VM", "second"]);
        let _ = output.expect_error(1, &["has no checkpoint second"]);
        let _ = bcvk(sandbox, vm, &["reset", "VM", "checkpoint-1"]).expect_success();
        assert_eq!(vm.sh("cat /root/mark"), "third");
    });
}

/// The VM is one that was resumed, so that its QEMU has another kernel than its guest.
#[test]
fn a_guest_can_ask_for_nothing_and_a_resumed_vm_is_taken_back_too() {
    let sandbox = Sandbox::new().resuming();
    // There is a snapshot once this one is ready, if there was none.
    let first = sandbox.boot("first", &["--rm"], images::trixie());
    first.sh("true");
    first.discard();
    let vm = sandbox.boot("asks", &["--rm", "--warm=require"], images::trixie());
    let mut checks = Checks::new();
    vm.sh("echo before >/root/mark");
    let _ = bcvk(&sandbox, &vm, &["checkpoint", "VM", "clean"]).expect_success();
    checks.check("no word of the guest's is a request", || {
        vm.sh("echo after >/root/mark
               # Nobody reads the agent's port any more, so that its writer waits.
               for port in /dev/virtio-ports/*; do
                   case $port in *.sessions) continue ;; esac
                   for word in reset checkpoint now '{\"reset\":{\"name\":null}}' \
                       '{\"checkpoint\":{\"name\":\"clean\",\"replace\":true}}'; do
                       echo \"$word\" | timeout 5 tee $port >/dev/null
                   done
               done; sync");
        assert_eq!(vm.sh("cat /root/mark"), "after");
        let status = status(&sandbox, &vm);
        assert_eq!(
            status["checkpoints"].as_array().map(Vec::len),
            Some(1),
            "{status}"
        );
        assert_eq!(status["reset"], Value::Null, "{status}");
    });
    checks.check("its user's is", || {
        let _ = bcvk(&sandbox, &vm, &["reset", "VM"]).expect_success();
        assert_eq!(vm.sh("cat /root/mark"), "before");
    });
    checks.check("a guest without its program for sessions cannot be saved, and goes on", || {
        vm.sh("systemd-run -q sh -c 'systemctl kill -s STOP bcvk-login; echo it stands >/dev/console
                   sleep 40; systemctl kill -s CONT bcvk-login'");
        until("the program stands still", limit::BOOT, || vm.logs().contains("it stands"));
        let output = bcvk(&sandbox, &vm, &["checkpoint", "VM", "mute"]);
        let _ = output.expect_error(1, &["goes on as before", "it does not answer"]);
        assert_eq!(vm.sh("cat /root/mark"), "before");
        let _ = bcvk(&sandbox, &vm, &["reset", "VM"]).expect_success();
        assert_eq!(vm.sh("cat /root/mark"), "before");
    });
    vm.stop();
    checks.finish();
    sandbox.finish();
}

#[test]
fn a_vm_that_cannot_have_checkpoints_says_why() {
    let sandbox = Sandbox::new();
    let disk = sandbox.path().join("disk");
    fs::write(&disk, vec![0; 1 << 20]).expect("written");
    let disk = format!("--mount-disk-file={}:data", disk.display());
    let mut checks = Checks::new();
    for (option, words) in [
        (
            &*disk,
            ["its disk data is a file of the host's", "--var-disk"],
        ),
        ("--no-ssh-keygen", ["bcvk's own way in", "--login bcvk"]),
        ("--login=image", ["bcvk's own way in", "--login bcvk"]),
        (
            "--execute=sleep 1000",
            ["it runs commands", "ephemeral ssh"],
        ),
    ] {
        checks.check(option, || {
            let vm = sandbox.boot("never", &[option], images::trixie());
            let output = bcvk(&sandbox, &vm, &["checkpoint", "VM"]);
            let _ = output.expect_error(1, &[words[0], "hint: ", words[1]]);
            vm.discard();
        });
    }
    checks.check("nor does one that is not there", || {
        let output = sandbox.bcvk(["reset", &sandbox.name("nobody")]).run();
        let _ = output.expect_error(1, &["no VM named"]);
    });
    checks.finish();
    sandbox.finish();
}
