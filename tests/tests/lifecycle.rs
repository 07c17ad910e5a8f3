//! A VM is a container: podman and bcvk see, stop, start and remove it alike.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use bcvk_testkit::{Checks, Sandbox, Signal, Vm, images, limit, schema, until, until_some};
use serde_json::Value;

/// Pause that a person makes between two keys.
const BETWEEN_KEYS: Duration = Duration::from_millis(200);

/// Returns the entry of one VM in `ps --json`.
fn listed(sandbox: &Sandbox, vm: &Vm<'_>, args: &[&str]) -> Option<Value> {
    let output = sandbox
        .bcvk(["ps", "--json"])
        .args(args)
        .run()
        .expect_success();
    let all: Vec<Value> =
        serde_json::from_str(&output.stdout()).unwrap_or_else(|e| panic!("{e} in {output}"));
    schema::expect_valid("ephemeral-ps", &[Value::from(all.clone())]);
    all.into_iter().find(|row| row["Names"][0] == vm.name())
}

#[test]
fn a_background_vm_lives_as_a_container_does() {
    let sandbox = Sandbox::new();
    let vm = sandbox.boot("vm", &[], images::trixie());
    let mut checks = Checks::new();

    checks.check("run -d prints the container ID and nothing else", || {
        assert_eq!(vm.id().len(), 64, "{:?}", vm.id());
        assert_eq!(vm.inspect("{{.Id}}"), vm.id());
    });
    check_listing_while_booting(&mut checks, &sandbox, &vm);
    check_sessions(&mut checks, &sandbox, &vm);
    vm.sh("for d in /etc /var /root; do echo x >$d/count; done; rm /etc/hosts.deny; sync");
    check_listing_when_ready(&mut checks, &sandbox, &vm);
    checks.check("by the container's ID", || {
        let _ = sandbox
            .bcvk(["ssh", &vm.id()[..12], "true"])
            .run()
            .expect_success();
    });
    check_forwarding(&mut checks, &sandbox, &vm);
    check_copies(&mut checks, &sandbox, &vm);
    checks.check("podman logs shows the console", || {
        let logs = vm.logs();
        assert!(logs.contains("Linux version"), "{logs}");
        assert!(logs.contains("login:"), "{logs}");
    });
    checks.check("rm does not remove what runs", || {
        let _ = sandbox
            .bcvk(["rm", vm.name()])
            .run()
            .expect_error(1, &["is running", vm.name(), "hint: ", "rm -f"]);
    });
    checks.check(
        "with one name that is wrong, nothing is done to others",
        || {
            let nobody = sandbox.name("nobody");
            for args in ["stop", "rm"] {
                let output = sandbox.bcvk([args, vm.name(), &nobody]).run();
                let _ = output.expect_error(1, &["no VM named", &nobody]);
                assert_eq!(vm.inspect("{{.State.Status}}"), "running", "{args:?}");
            }
            assert_eq!(vm.sh("echo still here"), "still here");
        },
    );
    checks.check("the private key is private", || {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &std::path::Path| {
            fs::metadata(path).expect("metadata").permissions().mode() & 0o777
        };
        assert_eq!(mode(&vm.dir()), 0o700);
        assert_eq!(mode(&vm.dir().join("ssh_key")), 0o600);
    });

    vm.stop();
    check_stopped(&mut checks, &sandbox, &vm);
    check_restart(&mut checks, &sandbox, &vm);
    checks.finish();
    sandbox.finish();
}

/// Its kernel does not know the power button yet, so that this takes the full time.
#[test]
fn a_guest_that_was_killed_is_not_told_as_one_that_powered_off() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("vm");
    let mut run = sandbox
        .bcvk(["run", "--name", &name, images::trixie()])
        .spawn();
    let vm = Vm::of(&sandbox, &name, None);
    run.await_stderr("ready", limit::BOOT);
    // It hears that it is to power off, and waits for what does not end.
    vm.sh("systemd-run --quiet --property=TimeoutStopSec=infinity \
         --property=ExecStop='sleep infinity' sleep infinity");
    let _ = sandbox
        .bcvk(["stop", vm.name()])
        .limit(limit::SHUTDOWN)
        .run()
        .expect_success()
        .expect_stderr("the guest was killed: it did not power off within 25 s");
    assert_eq!(
        vm.inspect("{{.State.Status}} {{.State.ExitCode}}"),
        "exited 137"
    );
    let _ = run.wait(limit::QUICK).expect_code(137);
    let rm = sandbox.bcvk(["rm", vm.name()]).run();
    let _ = rm.expect_success();
    sandbox.finish();
}

fn check_listing_while_booting(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    checks.check("while it boots, ps says so", || {
        let row = listed(sandbox, vm, &[]).expect("listed");
        assert_eq!(row["State"], "running");
        assert_eq!(row["VmState"], "booting");
        // These keys are podman's.
        for key in ["Id", "Names", "State", "CreatedAt", "Image", "Command"] {
            assert!(!row[key].is_null(), "{key} in {row:#}");
        }
        assert_eq!(row["Id"], vm.id());
        assert_eq!(row["Image"], images::trixie());
        assert!(row["Command"].is_array(), "{row:#}");
    });
}

fn check_sessions(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    checks.check("ssh waits for the VM, and says so", || {
        let output = sandbox
            .bcvk(["ssh", vm.name(), "true"])
            .limit(limit::BOOT)
            .run()
            .expect_success()
            .expect_empty_stdout();
        let _ = output.expect_stderr("ready");
    });
    checks.check("any number of reconnects", || {
        for n in 0..3 {
            assert_eq!(
                vm.sh(&format!("echo {n} >>/tmp/count; wc -l </tmp/count")),
                (n + 1).to_string()
            );
        }
    });
}

fn check_listing_when_ready(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    checks.check("ps, for people", || {
        let output = sandbox
            .bcvk(["ps"])
            .run()
            .expect_success()
            .expect_stdout("NAME");
        let stdout = output.stdout();
        let line = stdout.lines().find(|line| line.starts_with(vm.name()));
        let line = line.unwrap_or_else(|| panic!("{output}"));
        for word in [images::trixie(), "ready", "4096 MiB"] {
            assert!(line.contains(word), "{word} in {line}");
        }
        assert_eq!(
            listed(sandbox, vm, &[]).expect("listed")["VmState"],
            "ready"
        );
        let table = sandbox.bcvk(["ps", "--format=table"]).run();
        let _ = table.expect_success().expect_stdout("NAME");
        let json = sandbox.bcvk(["ps", "--format=json"]).run();
        let json: Value = serde_json::from_str(&json.expect_success().stdout()).expect("JSON");
        schema::expect_valid("ephemeral-ps", &[json]);
    });
}

fn check_stopped(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    checks.check("podman stop lets the guest shut down", || {
        let logs = vm.logs();
        for line in ["Powering off", "Power down"] {
            assert!(logs.contains(line), "{line} in {logs}");
        }
        assert_eq!(
            vm.inspect("{{.State.Status}} {{.State.ExitCode}}"),
            "exited 0"
        );
    });
    checks.check("without --rm it stays, stopped", || {
        assert_eq!(listed(sandbox, vm, &[]), None);
        let row = listed(sandbox, vm, &["-a"]).expect("listed");
        assert_eq!(row["State"], "exited");
        assert_eq!(row["VmState"], "exited");
        assert_eq!(row["ExitCode"], 0);
        let table = sandbox.bcvk(["ps", "-a"]).run().expect_success();
        let _ = table.expect_stdout(vm.name()).expect_stdout("exited (0)");
    });
    checks.check("ssh says that it does not run", || {
        let output = vm.ssh(&["true"]).run();
        let _ = output.expect_error(1, &["is not running", "hint: ", "bcvk ephemeral start"]);
    });
}

/// Checks that a stopped VM starts again, shuts down and is removed.
fn check_restart(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    checks.check("podman start boots it again, and it has forgotten all but its key", || {
        let _ = sandbox
            .podman(["start", vm.name()])
            .run()
            .expect_success();
        vm.sh("for f in /tmp/count /etc/count /var/count /root/count; do test ! -e $f || exit 1; done");
        vm.sh("test -e /etc/hosts.deny");
        assert_eq!(vm.sh("hostname"), vm.name());
    });
    checks.check("bcvk stop shuts it down, bcvk rm removes it", || {
        let stop = sandbox
            .bcvk(["stop", vm.name()])
            .limit(limit::SHUTDOWN)
            .run();
        assert_eq!(stop.expect_success().text(), vm.name());
        assert_eq!(
            vm.inspect("{{.State.Status}} {{.State.ExitCode}}"),
            "exited 0"
        );
        let rm = sandbox.bcvk(["rm", vm.name()]).run();
        assert_eq!(rm.expect_success().text(), vm.name());
    });
}

fn check_forwarding(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    checks.check("ssh -N -L", || {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let forward = format!("127.0.0.1:{port}:127.0.0.1:22");
        let tunnel = sandbox
            .bcvk(["ssh", "-N", "-L", &forward, vm.name()])
            .spawn();
        let banner = until_some("the guest answers through the tunnel", limit::QUICK, || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
            let mut bytes = [0; 8];
            stream.read_exact(&mut bytes).ok()?;
            Some(bytes)
        });
        assert_eq!(&banner, b"SSH-2.0-");
        tunnel.signal(Signal::TERM);
        let _ = tunnel.wait(limit::GONE);
    });
}

/// `-F <(bcvk …)` does not work: OpenSSH closes such descriptors before it reads its configuration.
fn check_copies(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    sandbox.install_bcvk();
    let run = |script: &str| {
        sandbox
            .command("sh")
            .args(["-euc", script, "sh", vm.name()])
            .limit(limit::BOOT)
            .run()
            .expect_success()
    };
    checks.check("scp with what ssh-config prints, there and back", || {
        let _ = run("bcvk ephemeral ssh-config $1 >config
                     head -c 1000000 /dev/urandom >file
                     scp -q -F config file $1:/tmp/copy
                     scp -q -F config $1:/tmp/copy back
                     cmp file back");
    });
    checks.check("sftp and plain ssh do too", || {
        let _ = run("bcvk ephemeral ssh-config $1 >config
                     echo 'get /etc/os-release' | sftp -q -b - -F config $1 >/dev/null
                     grep -q trixie os-release
                     ssh -F config $1 'exit 0'");
    });
    checks.check(
        "what a user has set for every host is not for the VM",
        || {
            let _ = run("bcvk ephemeral ssh-config $1 >config
                     { echo Include $PWD/config
                       echo Host '*'
                       echo ForwardAgent yes
                       echo ControlMaster auto
                       echo ControlPath $PWD/control
                       echo ControlPersist yes
                       echo PermitLocalCommand yes
                       echo LocalCommand touch $PWD/ran
                       echo RemoteCommand false
                     } >user
                     ssh-agent ssh -F user $1 'test -z \"$SSH_AUTH_SOCK\"'
                     test ! -e control
                     test ! -e ran");
        },
    );
    checks.check("what the command line asks for is", || {
        let _ = run("bcvk ephemeral ssh-config $1 >config
                     ssh-agent ssh -A -F config $1 'test -S \"$SSH_AUTH_SOCK\"'
                     ssh-agent bcvk -q ephemeral ssh -A $1 'test -S \"$SSH_AUTH_SOCK\"'");
    });
}

#[test]
fn an_attached_vm_shows_its_console_and_ends_with_ctrl_c() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("vm");
    let mut checks = Checks::new();
    let mut run = sandbox
        .bcvk([
            "run",
            "--rm",
            "--console",
            "--no-ssh-keygen",
            "--name",
            &name,
            images::trixie(),
        ])
        .spawn();
    run.await_stdout("Linux version", limit::BOOT);
    run.await_stderr("ready", limit::BOOT);
    run.await_stdout("Reached target", limit::QUICK);
    checks.check("without a key, nobody logs in", || {
        for verb in ["ssh", "ssh-config", "boot-chart"] {
            let _ = sandbox.bcvk([verb, &name]).run().expect_error(
                1,
                &["nobody can log in", &name, "hint: ", "--no-ssh-keygen"],
            );
        }
    });
    run.signal_group(Signal::INT);
    let output = run
        .wait(limit::SHUTDOWN)
        .expect_code(130)
        .expect_no_stderr("ephemeral ssh");
    checks.check("the guest shut down", || {
        assert!(output.stdout().contains("Power down"), "{output}");
    });
    sandbox.expect_nothing_left();
    checks.finish();
    sandbox.finish();
}

#[test]
fn a_guest_that_powers_off_ends_its_attached_run() {
    let sandbox = Sandbox::new().resuming();
    let name = sandbox.name("vm");
    let mut run = sandbox
        .bcvk(["run", "--rm", "--name", &name, images::trixie()])
        .spawn();
    run.await_stderr("ready", limit::BOOT);
    let _ = sandbox.bcvk(["ssh", &name, "systemctl", "poweroff"]).run();
    let output = run.wait(limit::SHUTDOWN).expect_code(0);
    // Output that nobody asked to see is not shown.
    assert!(output.stdout().is_empty(), "{output}");
    sandbox.finish();
}

/// Each needs a port of the host's for its sshd.
#[test]
fn two_vms_on_the_hosts_network_do_not_disturb_each_other() {
    let sandbox = Sandbox::new().resuming();
    let options = ["--rm", "--network=host"];
    let vms = ["one", "two"].map(|part| sandbox.boot(part, &options, images::trixie()));
    for vm in &vms {
        assert_eq!(vm.sh("hostname"), vm.name());
    }
    for vm in vms {
        vm.discard();
    }
    sandbox.finish();
}

/// The test uses a real terminal, and so goes through podman's.
#[test]
fn a_vm_at_a_terminal_is_used_left_alone_and_taken_up_again() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("vm");
    // The time-out is for commands that wait for the VM; this one is used while it boots.
    let mut run = sandbox
        .bcvk(["run", "-it", "--rm", "--timeout=2s", "--name", &name])
        .arg(images::trixie())
        .at_a_terminal()
        .spawn();
    // The prompt shows that root is logged in.
    run.await_stdout(":~# ", limit::BOOT);
    // The console is complete: while a terminal was slow, bytes of a burst were lost once.
    run.await_stdout("bcvk_test.image=trixie", limit::QUICK);
    run.type_in("tty; echo code=$((40 + 2))\r");
    run.await_stdout("code=42", limit::QUICK);
    run.await_stdout("/dev/ttyS0", limit::QUICK);
    // Ctrl-C is for the guest. The shell would take one that comes before its command runs, and what is
    // typed before the shell listens again is lost.
    run.type_in("sh -c 'echo asleep=$((40 + 3)); exec sleep 600'\r");
    run.await_stdout("asleep=43", limit::QUICK);
    run.type_in("\u{3}");
    run.type_until("echo after=$((40 + 4))\r", "after=44", limit::QUICK);
    // These are podman's keys to detach. It takes them for such only if it reads them one by one.
    run.type_in("\u{10}");
    std::thread::sleep(BETWEEN_KEYS);
    run.type_in("\u{11}");
    let _ = run.wait(limit::QUICK).expect_success();

    let _ = sandbox
        .bcvk(["ssh", &name, "true"])
        .limit(limit::BOOT)
        .run()
        .expect_success();
    let mut again = sandbox.podman(["attach", &name]).at_a_terminal().spawn();
    // An attached terminal shows only what comes after it is attached, which takes a while.
    again.type_until("\r", ":~# ", limit::QUICK);
    again.type_in("systemctl poweroff\r");
    let _ = again.wait(limit::SHUTDOWN).expect_success();
    sandbox.finish();
}

/// The test needs nothing but podman and the directory of VMs: the VM need not come far.
#[test]
fn podman_rm_leaves_nothing_for_long() {
    let sandbox = Sandbox::new().resuming();
    let vm = sandbox.boot("vm", &[], images::trixie());
    let dir = vm.dir();
    assert!(dir.is_dir());
    let _ = sandbox
        .podman(["rm", "--force", "--time=0", vm.name()])
        .run()
        .expect_success();
    until("QEMU is gone", limit::GONE, || {
        bcvk_testkit::Process::qemu_of(vm.name()).is_none()
    });
    // Any later command removes what is left over.
    let _ = sandbox.bcvk(["ps"]).run().expect_success();
    assert!(!dir.exists(), "{} was not swept", dir.display());
    sandbox.finish();
}

/// `podman rm` of a VM started with --rm leaves nothing: there, podman itself removes the container.
#[test]
fn podman_rm_of_an_rm_vm_leaves_nothing() {
    let sandbox = Sandbox::new().resuming();
    let vm = sandbox.boot("vm", &["--rm"], images::trixie());
    let _ = sandbox
        .podman(["rm", "--force", "--time=0", vm.name()])
        .run()
        .expect_success();
    sandbox.finish();
}
