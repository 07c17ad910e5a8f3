//! Root in a guest can do nothing to the host but use up what it was given. `docs/threat-model.md`
//! names these tests.

mod agent;
mod noise;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bcvk_testkit::{Checks, Sandbox, Vm, images, limit, until};

use noise::{check_aftermath, check_flood, check_noise};

/// Every way to change a directory `$1` and a file `$2` in it. Each says whether it worked.
const ATTACK: &str = r#"
attempt() {
    name=$1; shift
    if "$@" >/dev/null 2>&1; then echo "done $name"; else echo "refused $name"; fi
}
attack() {
    attempt create sh -c ': >"$1"/new' sh "$1"
    attempt append sh -c 'echo x >>"$1"' sh "$2"
    attempt open perl -e 'open(F, "+<", $ARGV[0]) or die' "$2"
    attempt truncate perl -e 'truncate($ARGV[0], 1) or die' "$2"
    attempt chmod chmod 4777 "$2"
    attempt chown chown 1:1 "$2"
    attempt times touch -d 2001-01-01 "$2"
    attempt link ln "$2" "$1"/linked
    attempt symlink ln -s x "$1"/symlink
    attempt mkdir mkdir "$1"/dir
    attempt fifo mkfifo "$1"/fifo
    attempt block mknod "$1"/block b 8 0
    attempt char mknod "$1"/char c 1 1
    # setxattr(2), name_to_handle_at(2) and open_by_handle_at(2), by their numbers on x86-64.
    attempt xattr perl -e 'syscall(188, $ARGV[0], "user.x", "y", 1, 0) == 0 or die' "$2"
    attempt handle perl -e '
        my ($handle, $mount) = (pack("II x128", 128, 0), pack("i", 0));
        syscall(303, -100, $ARGV[1], $handle, $mount, 0) == 0 or die;
        open(M, "<", $ARGV[0]) or die;
        syscall(304, fileno(M), $handle, 2) >= 0 or die' "$1" "$2"
    attempt rename mv "$2" "$1"/moved
    attempt unlink rm "$1"/moved
    attempt unlink rm "$2"
}
"#;

/// Runs [`ATTACK`] and returns for each of its attempts whether it worked.
fn attack(vm: &Vm<'_>, prepare: &str, dir: &str, file: &str) -> BTreeMap<String, bool> {
    let script = format!("{ATTACK}\n{prepare}\nattack {dir} {dir}/{file}; true");
    let mut done = BTreeMap::new();
    for line in vm.sh(&script).lines() {
        let (how, name) = line.split_once(' ').expect("two words");
        *done.entry(name.to_owned()).or_default() |= how == "done";
    }
    done
}

fn worked(done: &BTreeMap<String, bool>) -> Vec<&str> {
    let worked = done.iter().filter(|(_, done)| **done);
    worked.map(|(name, _)| name.as_str()).collect()
}

/// Everything below `dir` with all that a change would change; the change time is the kernel's own.
fn state_of(sandbox: &Sandbox, dir: &Path) -> String {
    let format = "%P %y %m %U %G %s %n %T@ %C@ %l\n";
    let find = sandbox.command("find").arg(dir);
    let state = find.args(["-xdev", "-printf", format]).run();
    state.expect_success().stdout()
}

/// The image as this VM's file server sees it.
fn image_of(vm: &Vm<'_>) -> PathBuf {
    let pid = vm.inspect("{{.State.Pid}}");
    // The server's root is the directory of the container that has all of the VM.
    format!("/proc/{pid}/root/run/bcvk-image").into()
}

#[test]
fn shares_and_the_image_are_no_way_out() {
    let sandbox = Sandbox::new().resuming();
    let (rw, ro) = (sandbox.make_dir("rw"), sandbox.make_dir("ro"));
    fs::write(sandbox.path().join("outside"), "secret\n").expect("write");
    for dir in [&rw, &ro] {
        fs::write(dir.join("victim"), "as it was\n").expect("write");
        std::os::unix::fs::symlink("../outside", dir.join("relative")).expect("link");
        std::os::unix::fs::symlink(sandbox.path().join("outside"), dir.join("absolute"))
            .expect("link");
    }
    let vm = sandbox.boot(
        "vm",
        &[
            "--rm",
            &format!("--bind={}", rw.display()),
            &format!("--ro-bind={}", ro.display()),
        ],
        images::trixie(),
    );
    vm.sh("true");
    let mut checks = Checks::new();
    check_read_write(&mut checks, &vm, &rw);
    checks.check("a read-only share is as it was", || {
        let before = state_of(&sandbox, &ro);
        let tag = "$(findmnt -n -o SOURCE /run/virtiofs-mnt-ro)";
        let remounted = attack(
            &vm,
            "mount -o remount,rw /run/virtiofs-mnt-ro",
            "/run/virtiofs-mnt-ro",
            "victim",
        );
        let again = format!(
            "mkdir /tmp/ro; mount -t virtiofs -o rw {tag} /tmp/ro; test -e /tmp/ro/victim || exit 1"
        );
        let again = attack(&vm, &again, "/tmp/ro", "victim");
        for done in [remounted, again] {
            assert!(worked(&done).is_empty(), "{done:?}");
        }
        assert_eq!(state_of(&sandbox, &ro), before);
    });
    checks.check("the image is as it was", || {
        let image = image_of(&vm);
        let before = state_of(&sandbox, &image);
        assert!(before.lines().count() > 1000, "{before}");
        let remounted = attack(&vm, "mount -o remount,rw / || exit 1", "/usr/bin", "env");
        let again = "mkdir /tmp/image; mount -t virtiofs -o rw rootfs /tmp/image || exit 1";
        let again = attack(&vm, again, "/tmp/image/usr/bin", "env");
        for done in [remounted, again] {
            assert!(worked(&done).is_empty(), "{done:?}");
        }
        assert_eq!(state_of(&sandbox, &image), before);
    });
    check_escapes(&mut checks, &sandbox, &vm, &rw);
    check_network(&mut checks, &vm);
    vm.discard();
    checks.finish();
    sandbox.finish();
}

/// The control for the checks of what is read-only: there, each of these attempts works.
fn check_read_write(checks: &mut Checks, vm: &Vm<'_>, rw: &Path) {
    checks.check(
        "a read-write share can be changed, but takes no device",
        || {
            let done = attack(vm, "", "/run/virtiofs-mnt-rw", "victim");
            let refused: Vec<_> = done.iter().filter(|(_, done)| !**done).collect();
            let refused: Vec<_> = refused.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(refused, ["block", "char", "xattr"]);
            for device in ["block", "char"] {
                assert!(!rw.join(device).exists(), "{device}");
            }
        },
    );
    checks.check(
        "what it makes set-user-ID is the user's own, as all of it",
        || {
            vm.sh(
                "cp /usr/bin/env /run/virtiofs-mnt-rw/suid && chmod 4755 /run/virtiofs-mnt-rw/suid",
            );
            let file = fs::metadata(rw.join("suid")).expect("metadata");
            let own = fs::metadata("/proc/self").expect("metadata");
            assert_eq!((file.uid(), file.mode() & 0o7777), (own.uid(), 0o4755));
        },
    );
}

fn check_escapes(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>, rw: &Path) {
    checks.check("links of the host are followed in the guest alone", || {
        for share in ["rw", "ro"] {
            let read = format!(
                "cd /run/virtiofs-mnt-{share}; cat relative absolute ../outside 2>&1; true"
            );
            let output = vm.run_sh(&read);
            assert!(!output.stdout().contains("secret"), "{output}");
        }
    });
    checks.check("a directory that turns into a link is no way out", || {
        // A server that resolves `turn/outside` on the host at the wrong moment would find the secret.
        let output = vm.run_sh(
            "cd /run/virtiofs-mnt-rw; mkdir real; ln -s .. up; touch real/inside\n\
             (end=$(($(date +%s) + 3)); while [ $(date +%s) -lt $end ]; do \
                 for i in 1 2 3 4 5 6 7 8 9 10; do mv -T real turn; mv -T turn real; \
                 mv -T up turn; mv -T turn up; done; done) &\n\
             while kill -0 $! 2>/dev/null; do cat turn/outside; ls turn/; done 2>/dev/null | sort | uniq -c; wait",
        );
        // The control shows that the race happens.
        let output = output.expect_success().expect_stdout("inside");
        assert!(!output.stdout().contains("secret"), "{output}");
    });
    checks.check("nothing links to what is outside, or covers it on the host", || {
        let output = vm.run_sh(
            "cd /run/virtiofs-mnt-rw; ln /usr/bin/env hard; ln /run/virtiofs-mnt-ro/victim hard\n\
             mkdir point; mount --bind / point && test -e point/usr && touch point/tmp/x\n\
             ln -s / host-root; mkfifo pipe; (exec 3<>pipe; echo x >&3); \
             perl -e 'use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un(\"sock\")) or die'; true",
        );
        let _ = output.expect_success();
        assert!(!rw.join("hard").exists(), "a hard link");
        let point = fs::read_dir(rw.join("point")).expect("a directory");
        assert_eq!(point.count(), 0, "what the guest mounted is the guest's");
    });
    checks.check("the share is served as before", || {
        fs::write(rw.join("still"), "there\n").expect("write");
        assert_eq!(vm.sh("cat /run/virtiofs-mnt-rw/still"), "there");
        let outside = fs::read_to_string(sandbox.path().join("outside"));
        assert_eq!(outside.expect("read"), "secret\n");
    });
}

/// Returns true if the guest, as it sees it, can open a TCP connection to the address and port.
fn connects(vm: &Vm<'_>, address: &str, port: u16) -> bool {
    let dial =
        format!("timeout 10 bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>/dev/null; echo $?");
    vm.sh(&dial) == "0"
}

/// Returns true if anybody has connected. A connection that a network in between accepts would not
/// count.
fn was_called(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).expect("a socket");
    match listener.accept() {
        Ok(_) => true,
        Err(e) if e.kind() == ErrorKind::WouldBlock => false,
        Err(e) => panic!("{e}"),
    }
}

fn check_network(checks: &mut Checks, vm: &Vm<'_>) {
    // This is the control for the next check, and what the documentation says is exposed. The first
    // session may be there before the guest's network is, and containers that start and end beside
    // this one have the host's firewall written anew.
    checks.check(
        "what listens on the host's other addresses is reached",
        || {
            let public = TcpListener::bind(("0.0.0.0", 0)).expect("bind");
            let port = public.local_addr().expect("an address").port();
            let gateway = vm.inspect("{{.NetworkSettings.Gateway}}");
            let reached = format!("a connection to {gateway}:{port}");
            until(&reached, limit::SHUTDOWN, || connects(vm, &gateway, port));
            assert!(was_called(&public));
        },
    );
    checks.check("the host's loopback is not", || {
        let private = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
        let port = private.local_addr().expect("an address").port();
        let gateway = vm.inspect("{{.NetworkSettings.Gateway}}");
        for address in ["10.0.2.2", "127.0.0.1", &gateway] {
            assert!(!connects(vm, address, port), "{address}");
        }
        assert!(!was_called(&private));
    });
}

/// Control characters but for line ends, and those that change the order of the text.
fn steering(text: &str) -> Option<char> {
    let steers = |c: &char| {
        (c.is_control() && !matches!(c, '\n' | '\r'))
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().find(steers)
}

#[test]
fn noise_and_floods_are_borne() {
    let sandbox = Sandbox::new();
    let logs = sandbox.make_dir("logs");
    let vm = sandbox.boot(
        "vm",
        &[
            "--rm",
            "--network=none",
            "--output=journal",
            &format!("--log-dir=journal,console={}", logs.display()),
            &format!("--virtio-serial-out=out:{}/out", logs.display()),
        ],
        images::trixie(),
    );
    vm.sh("true");
    let mut checks = Checks::new();
    checks.check(
        "without a network, nothing is reached, but ssh works",
        || {
            let listener = TcpListener::bind(("0.0.0.0", 0)).expect("bind");
            let port = listener.local_addr().expect("an address").port();
            for address in ["10.0.2.2", "10.88.0.1", "192.0.2.1"] {
                assert!(!connects(&vm, address, port), "{address}");
            }
            assert!(!was_called(&listener));
        },
    );
    check_noise(&mut checks, &vm);
    check_flood(&mut checks, &sandbox, &vm);
    check_aftermath(&mut checks, &sandbox, &vm);
    vm.discard();
    checks.finish();
    sandbox.finish();
}

/// An image that is as hostile as its guest: its labels, its names, and a service that fails.
const IMAGE: &str = "FROM BASE\n\
    LABEL evil=\"\u{1b}]0;owned\u{7}\u{202e}\"\n\
    RUN printf 'PRETTY_NAME=\"\\033]0;owned\\007\"\\n' >>/usr/lib/os-release && \
    mkdir -p /usr/lib/systemd/system/ssh.service.d && \
    printf '[Service]\\nExecStartPre=/usr/bin/evil\\nRestart=no\\n' >/usr/lib/systemd/system/ssh.service.d/evil.conf && \
    printf '#!/bin/sh\\nfor out in /dev/console /dev/stdout; do printf \"\\\\033]0;owned\\\\a\\\\033[2Jevil words\\\\302\\\\233\\\\342\\\\200\\\\256\\\\n\" >$out; done\\nexit 1\\n' >/usr/bin/evil && \
    chmod 755 /usr/bin/evil\n";

#[test]
fn what_a_hostile_image_says_steers_no_terminal() {
    let sandbox = Sandbox::new();
    let image = sandbox.build_image(IMAGE);
    let name = sandbox.name("vm");
    let bcvk = |args: &[&str]| sandbox.command(sandbox.bcvk_path()).args(args);
    let mut checks = Checks::new();
    checks.check("a boot that fails, with its console and its error", || {
        let output = bcvk(&[
            "ephemeral",
            "run",
            "--console",
            "--login=image",
            "--name",
            &name,
            &image,
        ])
        .at_a_terminal()
        .limit(limit::BOOT)
        .run()
        .expect_code(126);
        assert_eq!(steering(&output.stdout()), None, "{output}");
        // The text is on the console, and is the reason of the failed unit.
        let error = output.stdout();
        let error = error
            .split("\nerror: ")
            .last()
            .expect("an error")
            .to_owned();
        assert!(error.matches("evil words").count() >= 1, "{error}");
        assert!(error.contains("ssh.service"), "{error}");
    });
    checks.check("and all that is said of it afterwards", || {
        for args in [
            &["ephemeral", "ps", "-a"][..],
            &["ephemeral", "ps", "-a", "--json"],
            &["ephemeral", "inspect", &name],
            &["ephemeral", "logs", &name],
            &["images", "list"],
            &["images", "list", "--json"],
        ] {
            let output = bcvk(args).at_a_terminal().run().expect_success();
            assert_eq!(steering(&output.stdout()), None, "{output}");
        }
        // The control shows that the label is there, and that a program reads the same value.
        let json = bcvk(&["images", "list", "--json"]).run().expect_success();
        let json: serde_json::Value = serde_json::from_str(&json.stdout()).expect("JSON");
        let labels: Vec<_> = json
            .as_array()
            .expect("images")
            .iter()
            .map(|i| &i["Labels"]["evil"])
            .collect();
        assert!(
            labels.iter().any(|l| **l == "\u{1b}]0;owned\u{7}\u{202e}"),
            "{labels:?}"
        );
    });
    let _ = bcvk(&["ephemeral", "rm", "-f", &name])
        .run()
        .expect_success();
    sandbox.remove_image(&image);
    checks.finish();
    sandbox.finish();
}
