//! Code in a VM's container can do nothing to the host and to other VMs. Whoever breaks out of QEMU
//! or of a file server is there, so it is given the container's root here, at once and with a
//! shell. `docs/threat-model.md` names these tests.

mod files;
mod rights;
mod scene;

use bcvk_testkit::{Checks, Sandbox, limit};

use files::{check_files, check_lies, check_locks, check_sockets};
use rights::{check_attempts, check_network, check_qemus_rights};
use scene::{SECONDS, Scene};

#[test]
fn what_is_in_the_container_steers_nothing_outside() {
    let sandbox = Sandbox::new().resuming();
    let scene = Scene::set(&sandbox);
    let mut checks = Checks::new();
    check_attempts(&mut checks, &scene);
    check_network(&mut checks, &scene);
    check_qemus_rights(&mut checks, &scene);
    check_files(&mut checks, &scene);
    check_lies(&mut checks, &scene);
    check_sockets(&mut checks, &scene);
    check_locks(&mut checks, &scene);
    check_limits(&mut checks, &scene);
    checks.check("a second supervisor leaves the first alone", || {
        let script = "exec /bcvk-*/run/bcvk-exe internal supervise --root /bcvk-*/";
        let _ = scene.vm.exec(script).expect_code(125);
        let _ = scene.ask(&["inspect", "VM"]).expect_success();
        scene.expect_unchanged();
    });
    checks.check("signals and ptrace reach nobody else", || {
        let _ = scene.attack(VIOLENCE).expect_success();
        let _ = scene.ask(&["inspect", "VM"]);
        scene.expect_unchanged();
    });
    checks.check("both VMs answer as before", || {
        scene.vm.sh("true");
        assert_eq!(scene.other.sh("cat /run/mine"), "mine");
    });
    check_end(&mut checks, &scene);
    check_violent_end(&mut checks, &scene);
    checks.finish();
    sandbox.finish();
}

/// Commands that take more than the container may have, and give it back.
const GREED: [(&str, &str); 2] = [
    (
        "threads",
        "perl -e 'for (1..5000) { my $p = fork; last unless defined $p; if (!$p) { sleep 60; exit } push @p, $p }
         kill 9, @p; wait for @p; exit(@p < 5000 ? 0 : 1)'",
    ),
    ("memory", "! perl -e '$all = \"x\" x (4 << 30)'"),
];

/// An overrun ends whatever asks for more in this container, and nothing of its neighbours.
fn check_limits(checks: &mut Checks, scene: &Scene<'_>) {
    for (what, script) in GREED {
        checks.check(&format!("the container runs out of {what}"), || {
            let _ = scene.attack(script).expect_success();
            scene.expect_unchanged();
            assert_eq!(scene.other.sh("cat /run/mine"), "mine");
        });
    }
}

/// A directory that is hard to read and hard to remove, with all that an older version obeyed there.
const LEAVINGS: &str = r#"
for name in container-id pid spec.json ssh_config ssh_key lock storage; do cp "$2"/$name $name || echo "$3" >$name; done 2>/dev/null
mkdir hooks
printf '{"version":"1.0.0","hook":{"path":"/usr/bin/touch","args":["touch","%s/made"]},"when":{"always":true},"stages":["poststop"]}' "$1" >hooks/forget.json
perl -e 'for (1..20000) { open(F, ">", "many$_") } for (1..3000) { mkdir "deep"; chdir "deep" or die }'
for F in status.json console.log stdout stderr ssh.sock; do rm -f $F; mkfifo $F; done
printf ']0;owned' >"$(printf 'n
ame')"
ln -s "$1" canary; ln -s "$2" other; ln -s "$1"/made ssh.sock.link
chmod 0 deep .
true
"#;

/// The VM ends, and what it leaves is as bad as it can be.
fn check_end(checks: &mut Checks, scene: &Scene<'_>) {
    checks.check("a directory that is hard to remove", || {
        let other = format!("set -- \"$1\" \"$2\" {}\n", scene.other.id());
        let _ = scene.attack(&(other + LEAVINGS)).expect_success();
        scene.expect_listed();
        let _ = scene.ask(&["inspect", "VM"]);
        scene.expect_unchanged();
    });
    checks.check("stop", || {
        let name = scene.vm.name();
        let stop = scene.sandbox.bcvk(["stop", name]);
        let stop = stop.limit(limit::SHUTDOWN).run();
        assert!(
            stop.code() == Some(0) || stop.stderr().contains(name),
            "{stop}"
        );
        for command in [
            &["inspect", "VM"][..],
            &["logs", "VM"],
            &["wait", "--timeout=1s", "--for=stopped", "VM"],
        ] {
            let _ = scene.ask(command);
        }
        scene.expect_listed();
    });
    checks.check("rm", || {
        let _ = scene.ask(&["rm", "--force", "VM"]).expect_success();
        assert!(!scene.dir.exists(), "{} is left", scene.dir.display());
        assert!(!scene.canary.join("made").exists(), "a hook has run");
        assert!(scene.canary.join("secret").exists());
        assert_eq!(scene.other.sh("cat /run/mine"), "mine");
    });
}

/// Attempts on every process that can be seen. That they may end the VM is not a failure.
const VIOLENCE: &str = r"
for pid in /proc/[0-9]*; do
    pid=${pid#/proc/}
    [ $pid = $$ ] && continue
    # ptrace(2): attach, and detach once it has stopped.
    perl -e 'syscall(101, 16, $ARGV[0], 0, 0) == 0 or exit; waitpid($ARGV[0], 0x40000000); syscall(101, 17, $ARGV[0], 0, 0)' $pid
    kill -0 $pid
    kill -CONT $pid
done
kill -STOP 1
kill -USR1 1
true
";

fn check_violent_end(checks: &mut Checks, scene: &Scene<'_>) {
    checks.check("who ends all processes of a container ends one VM", || {
        let name = scene.other.name();
        let _ = scene
            .other
            .exec("cd /bcvk-*/run/bcvk && mkfifo fifo && mv fifo status.json; kill -9 -1");
        for command in [
            &["wait", "--timeout=5s", "--for=stopped"][..],
            &["inspect"],
            &["logs"],
            &["ssh"],
        ] {
            let output = scene.sandbox.bcvk(command).arg(name).limit(SECONDS).run();
            let output = output.expect_no_stderr("panicked at");
            if output.code() != Some(0) {
                let _ = output.expect_stderr("error: ").expect_stderr(name);
            }
        }
        let _ = scene
            .sandbox
            .bcvk(["ps", "-a"])
            .limit(SECONDS)
            .run()
            .expect_success();
    });
    scene.other.discard();
}
