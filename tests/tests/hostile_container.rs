//! Code in a VM's container can do nothing to the host and to other VMs. Whoever breaks out of QEMU
//! or of a file server is there, so it is given the container's root here, at once and with a
//! shell. `docs/threat-model.md` names these tests.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::time::Duration;

use bcvk_testkit::{Checks, Output, Sandbox, Vm, images, limit};

/// Limit for a command, whatever a VM's directory contains. It asks podman at most.
const SECONDS: Duration = Duration::from_secs(10);

/// The exit code of ssh if it cannot connect.
const SSH_FAILED: i32 = 255;

/// Secret that no command may show, nor the container read.
const SECRET: &str = "a secret of the host";

/// The machine around the attacker: two VMs, and everything that must stay as it was.
struct Scene<'a> {
    sandbox: &'a Sandbox,
    vm: Vm<'a>,
    other: Vm<'a>,
    dir: PathBuf,
    others_dir: PathBuf,
    /// A directory of the host's with a secret and a socket.
    canary: PathBuf,
    listener: UnixListener,
    before: String,
}

impl<'a> Scene<'a> {
    fn set(sandbox: &'a Sandbox) -> Self {
        let canary = sandbox.make_dir("canary");
        fs::write(canary.join("secret"), format!("{SECRET}\n")).expect("write");
        let listener = UnixListener::bind(canary.join("socket")).expect("bind");
        listener.set_nonblocking(true).expect("a socket");
        let vm = sandbox.boot("vm", &["--memory=1G"], images::trixie());
        let other = sandbox.boot("other", &[], images::trixie());
        vm.sh("true");
        other.sh("echo mine >/run/mine");
        let mut scene = Self {
            sandbox,
            dir: vm.dir(),
            others_dir: other.dir(),
            vm,
            other,
            canary,
            listener,
            before: String::new(),
        };
        scene.before = scene.state();
        scene
    }

    /// Describes all that must not change: the host's files, what the host obeys for both VMs, and
    /// all of the other VM's.
    fn state(&self) -> String {
        let shared = self.dir.join("shared");
        let find = self.sandbox.command("find");
        let find = find.args([&self.canary, &self.dir, &self.others_dir]);
        let found = find
            .args(["-path"])
            .arg(shared)
            // Files that the other VM itself writes are left out.
            .args([
                "-prune",
                "-o",
                "-name",
                "*.log",
                "-o",
                "-name",
                "events.jsonl",
                "-o",
            ])
            .args(["-printf", "%p %y %m %U %G %s %n %T@ %l\n"])
            .run()
            .expect_success();
        found.stdout()
    }

    /// Fails if the host or the other VM has noticed.
    fn expect_unchanged(&self) {
        assert_eq!(self.state(), self.before);
        let secret = fs::read_to_string(self.canary.join("secret")).expect("read");
        assert_eq!(secret.trim(), SECRET);
        match self.listener.accept() {
            Ok(_) => panic!("somebody has connected with a socket of the host's"),
            Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
        }
        let (vm, other) = (self.vm.name(), self.other.name());
        let running = [
            "container",
            "inspect",
            "--format={{.Name}} {{.State.Running}}",
            vm,
            other,
        ];
        let running = self.sandbox.podman(running).run().expect_success();
        assert_eq!(running.text(), format!("{vm} true\n{other} true"));
    }

    /// Runs a script with the container's root in the directory that it shares with the host. `$1` is
    /// the canary's directory, `$2` the other VM's.
    #[track_caller]
    fn attack(&self, script: &str) -> Output {
        let prelude = format!(
            "set -- {} {}; cd /bcvk-*/run/bcvk || exit 99\n",
            self.canary.display(),
            self.others_dir.display()
        );
        self.vm.exec(&(prelude + script))
    }

    /// Runs a command of the host's that has to end in seconds, and that says nothing that it should
    /// not know. If it fails, it names the VM or its image, or is ssh, which speaks for itself.
    #[track_caller]
    fn ask(&self, words: &[&str]) -> Output {
        let name = self.vm.name();
        let words = words
            .iter()
            .map(|word| if *word == "VM" { name } else { word });
        let output = self.sandbox.bcvk(words).limit(SECONDS).run();
        assert!(!output.stdout().contains(SECRET), "{output}");
        let output = output
            .expect_no_stderr(SECRET)
            .expect_no_stderr("panicked at")
            .expect_no_stderr("\u{1b}");
        let said = output.stderr();
        let named =
            said.contains("error: ") && [name, images::trixie()].iter().any(|n| said.contains(n));
        assert!(
            named || matches!(output.code(), Some(0 | SSH_FAILED)),
            "{output}"
        );
        output
    }

    /// `ps -a` lists both, whatever one of them does.
    #[track_caller]
    fn expect_listed(&self) {
        let listed = self.ask(&["ps", "-a"]).expect_success();
        let _ = listed
            .expect_stdout(self.vm.name())
            .expect_stdout(self.other.name());
    }
}

/// Replacements for a file `$F`.
const REPLACEMENTS: [(&str, &str); 16] = [
    ("nothing", ":"),
    ("an empty file", ": >$F"),
    ("garbage", "head -c 300000 /dev/urandom >$F"),
    ("a file of a tebibyte", "truncate -s 1T $F"),
    ("deep JSON", "perl -e 'print \"[\" x 5000000' >$F"),
    (
        "many keys",
        "perl -e 'print \"{\"; print \"\\\"$_\\\":1,\" for 1..200000' >$F",
    ),
    ("a FIFO", "mkfifo $F"),
    ("a directory", "mkdir $F"),
    (
        "a socket that nobody serves",
        "perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un($ARGV[0])) or die' $F",
    ),
    ("a link to a file of the host", "ln -s $1/secret $F"),
    ("a link to a file that is not there", "ln -s $1/made $F"),
    ("a link to a socket of the host", "ln -s $1/socket $F"),
    ("a link to the other VM's", "ln -s $2/shared/$F $F"),
    ("a link to itself", "ln -s $F $F"),
    ("a link to what never ends", "ln -s /dev/zero $F"),
    ("a hard link", "ln $OTHER $F"),
];

/// Files that the host reads together.
struct Files {
    names: &'static [&'static str],
    /// Another file of the directory, for a hard link.
    other: &'static str,
    /// Commands that read them.
    readers: &'static [&'static [&'static str]],
}

const FILES: [Files; 3] = [
    Files {
        names: &["status.json", "events.jsonl", "status.reserve"],
        other: "supervisor.lock",
        readers: &[
            &["inspect", "VM"],
            &["wait", "--timeout=1s", "VM"],
            &["logs", "VM"],
        ],
    },
    Files {
        names: &["console.log", "console.log.1", "journal.log", "ssh.sock"],
        other: "status.json",
        readers: &[
            &["logs", "VM"],
            &["ssh-config", "VM"],
            &["ssh", "VM", "true"],
        ],
    },
    Files {
        names: &["supervisor.lock", "stdout", "stderr"],
        other: "status.json",
        readers: &[
            &["inspect", "VM"],
            &["wait", "--timeout=1s", "VM"],
            &["rm", "VM"],
        ],
    },
];

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

fn check_files(checks: &mut Checks, scene: &Scene<'_>) {
    for files in FILES {
        let each = |what: &str| format!("for F in {}; do {what}\ndone", files.names.join(" "));
        for (name, replacement) in REPLACEMENTS {
            checks.check(&format!("{} becomes {name}", files.names[0]), || {
                let attack = format!(
                    "OTHER={}\n{}",
                    files.other,
                    each(&format!(
                        "if [ -e $F ]; then mv $F kept.$F; fi; {replacement} || exit 1"
                    ))
                );
                let _ = scene.attack(&attack).expect_success();
                scene.expect_listed();
                for command in files.readers {
                    let _ = scene.ask(command);
                }
            });
            checks.check("nobody has noticed", || {
                let restore = each("rm -rf $F; if [ -e kept.$F ]; then mv kept.$F $F; fi");
                let _ = scene.attack(&restore).expect_success();
                scene.expect_unchanged();
            });
        }
    }
}

/// Status files that can be read, and are untrue.
const LIES: [(&str, &str); 5] = [
    (
        "it has not begun",
        r#"s/"phase":\s*"[a-z-]+"/"phase":"starting"/"#,
    ),
    ("it has ended", r#"s/"phase":\s*"[a-z-]+"/"phase":"ended"/"#),
    (
        "there is no such phase",
        r#"s/"phase":\s*"[a-z-]+"/"phase":"owned\\u001b]0;x\\u0007"/"#,
    ),
    (
        "it has failed, in a terminal's words",
        r#"s/"phase":\s*"[a-z-]+"/"phase":"ended"/; s/"failure":\s*null/"failure":{"kind":"internal","message":"\\u001b[2J\\u202e"}/"#,
    ),
    (
        "it is of another version",
        r#"s/"version":\s*\d+/"version":99999999999999999999/"#,
    ),
];

fn check_lies(checks: &mut Checks, scene: &Scene<'_>) {
    for (name, edit) in LIES {
        checks.check(&format!("the status says that {name}"), || {
            let attack = format!("cp status.json kept && perl -0pi -e '{edit}' status.json");
            let _ = scene.attack(&attack).expect_success();
            scene.expect_listed();
            for command in [
                &["inspect", "VM"][..],
                &["wait", "--timeout=1s", "VM"],
                &["wait", "--timeout=1s", "--for=stopped", "VM"],
                &["logs", "VM"],
                &["rm", "VM"],
            ] {
                let _ = scene.ask(command);
            }
        });
        checks.check("nobody has noticed", || {
            let _ = scene.attack("mv kept status.json").expect_success();
            scene.expect_unchanged();
        });
    }
}

/// Servers that may listen in place of the guest's sshd.
const SERVERS: [(&str, &str); 3] = [
    ("says nothing", "sleep 60"),
    ("closes at once", "1"),
    (
        "is no sshd",
        "print C \"\\e]0;owned\\a\" x 100000; sleep 60",
    ),
];

fn check_sockets(checks: &mut Checks, scene: &Scene<'_>) {
    for (name, does) in SERVERS {
        checks.check(&format!("what listens on ssh.sock {name}"), || {
            let server = format!(
                "mv ssh.sock kept; perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); \
                 bind(S, pack_sockaddr_un(\"ssh.sock\")) or die; listen(S, 9); exit if fork; \
                 close STDIN; close STDOUT; close STDERR; alarm 50; \
                 while (accept(C, S)) {{ {does}; close C }}'"
            );
            let _ = scene.attack(&server).expect_success();
            let output = scene.ask(&["ssh", "-o", "ConnectTimeout=3", "VM", "true"]);
            assert_ne!(output.code(), Some(0), "{output}");
        });
        checks.check("nobody has noticed", || {
            let _ = scene
                .attack("rm ssh.sock; mv kept ssh.sock")
                .expect_success();
            scene.expect_unchanged();
        });
    }
}

fn check_locks(checks: &mut Checks, scene: &Scene<'_>) {
    let held = |file: &str| {
        format!(
            "perl -MFcntl=:flock -e 'open(F, \"<\", $ARGV[0]) or die; exit if fork; close STDIN; \
             close STDOUT; close STDERR; flock(F, LOCK_EX); sleep 8' {file}"
        )
    };
    let commands = [
        &["inspect", "VM"][..],
        &["wait", "--timeout=1s", "VM"],
        &["rm", "VM"],
        &["logs", "VM"],
    ];
    for (name, attack) in [
        ("supervisor.lock is waited for", held("supervisor.lock")),
        (
            "supervisor.lock is another's",
            format!(
                "mv supervisor.lock kept; : >supervisor.lock; {}",
                held("supervisor.lock")
            ),
        ),
        (
            "there are locks where the host has its own",
            format!("mkdir lock; mkfifo cli.lock; {}", held("supervisor.lock")),
        ),
    ] {
        checks.check(name, || {
            let _ = scene.attack(&attack).expect_success();
            scene.expect_listed();
            for command in commands {
                let _ = scene.ask(command);
            }
        });
        checks.check("nobody has noticed", || {
            let restore = "if [ -e kept ]; then mv kept supervisor.lock; fi; rm -rf lock cli.lock";
            let _ = scene.attack(restore).expect_success();
            scene.expect_unchanged();
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

/// Attempts that code in the container may make. Each says whether it worked; none may.
const ATTEMPTS: &str = r#"
attempt() {
    name=$1; shift
    if timeout 10 "$@" >/dev/null 2>&1; then echo "done $name"; else echo "refused $name"; fi
}
ours=$(echo /bcvk-*)
control() { attempt control true; attempt write sh -c ': >control'; rm -f control; }
control
for file in $ours/run/bcvk-spec.json $ours/run/bcvk-exe; do
    attempt "append to $file" sh -c 'echo x >>"$1"' sh $file
    attempt "open $file" perl -e 'open(F, "+<", $ARGV[0]) or die' $file
    attempt "chmod $file" chmod 666 $file
    attempt "remove $file" rm -f $file
    attempt "rename $file" mv $file $file.moved
    attempt "times of $file" touch $file
done
for dir in $ours/root $ours/root/etc $ours/root/usr $ours/root/usr/bin; do
    attempt "create in $dir" sh -c ': >"$1"/new' sh $dir
    attempt "chmod $dir" chmod 777 $dir
done
attempt "append to a loader's cache" sh -c 'echo x >>"$1"' sh $ours/root/etc/ld.so.cache
attempt "see what the host obeys" sh -c \
    'find / -xdev $0 -xdev \( -name ssh_key -o -name ssh_config -o -name container-id -o -name forget.json \) -path "*bcvk*" 2>/dev/null | grep .' $ours/run
attempt "read the other VM's directory" ls "$2"
attempt "read a secret" cat "$1"/secret
attempt "block device" mknod block b 8 0
attempt "char device" mknod char c 1 1
attempt "mount a file system" mount -t tmpfs tmpfs /mnt
attempt "mount proc" mount -t proc proc /mnt
attempt "bind a directory" mount --bind / /mnt
attempt "remount" mount -o remount,rw $ours/root
attempt "unmount" umount -l $ours/run/bcvk-exe
attempt "unshare mounts" unshare -m true
attempt "enter PID 1's mounts" nsenter -t 1 -m true
attempt "pivot" perl -e 'my $dir = "."; syscall(155, $dir, $dir) == 0 or die'
attempt "open by handle" perl -e '
    my ($file, $handle, $mount) = ("status.json", pack("II x128", 128, 0), pack("i", 0));
    syscall(303, -100, $file, $handle, $mount, 0) == 0 or die;
    open(M, "<", ".") or die;
    syscall(304, fileno(M), $handle, 2) >= 0 or die'
attempt "load a module" perl -e 'my ($image, $words) = ("x", ""); syscall(175, $image, 1, $words) == 0 or die'
attempt "the kernel's log" dmesg
attempt "core_pattern" sh -c 'echo x >/proc/sys/kernel/core_pattern'
attempt "sysrq" sh -c 'echo h >/proc/sysrq-trigger'
attempt "a cgroup" sh -c 'cd /sys/fs/cgroup; for dir in */ .; do [ -e $dir/cgroup.procs ] && mkdir $dir/new && exit 0; done; false'
attempt "sysfs" sh -c 'echo x >/sys/kernel/uevent_helper'
attempt "the host name" hostname owned
attempt "the clock" date -s 2001-01-01
attempt "bpf" perl -e 'my $map = pack("IIII x48", 2, 4, 4, 1); syscall(321, 0, $map, 64) >= 0 or die'
attempt "perf" perl -e 'my $event = pack("IIQ x112", 1, 128, 0); syscall(298, $event, 0, -1, -1, 0) >= 0 or die'
attempt "a raw socket" perl -MSocket -e 'socket(S, AF_INET, SOCK_RAW, 1) or die'
attempt "leave by chroot" perl -e 'mkdir "jail"; chroot "jail" or die; chdir ".." for 1..50; chroot "." ; -e "$ARGV[0]/secret" or die' "$1"
rm -rf jail
for link in /proc/[0-9]*/root /proc/[0-9]*/cwd /proc/[0-9]*/fd/*; do
    case $link in */self/*) continue ;; esac
    for way in "$link$1/secret" "$link/..$1/secret" "$link/../../../../../../..$1/secret" "$link/../ssh_key" "$link/ssh_key"; do
        if [ -e "$way" ]; then echo "done $way"; fi
    done
done
true
"#;

fn check_attempts(checks: &mut Checks, scene: &Scene<'_>) {
    checks.check(
        "nothing is written, mounted, made or seen that should not be",
        || {
            let output = scene.attack(ATTEMPTS).expect_success();
            expect_refused(&output, &["control", "write"]);
            scene.expect_unchanged();
        },
    );
}

/// Fails unless all attempts were refused but for the controls: a script that cannot do anything would
/// find everything refused.
fn expect_refused(output: &Output, controls: &[&str]) {
    let mut attempts = BTreeMap::new();
    for line in output.stdout().lines() {
        let (how, name) = line.split_once(' ').expect("two words");
        attempts.insert(name.to_owned(), how == "done");
    }
    assert!(attempts.len() > 20, "{output}");
    let worked = attempts.iter().filter(|(_, done)| **done);
    let worked: Vec<&str> = worked.map(|(name, _)| name.as_str()).collect();
    assert_eq!(worked, controls, "{output}");
}

fn check_network(checks: &mut Checks, scene: &Scene<'_>) {
    checks.check("the host's loopback is not reached", || {
        let private = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
        private.set_nonblocking(true).expect("a socket");
        let port = private.local_addr().expect("an address").port();
        let gateway = scene.vm.inspect("{{.NetworkSettings.Gateway}}");
        let dial = "perl -MIO::Socket::INET -e 'for (@ARGV) { print \"reached $_\\n\" if \
             IO::Socket::INET->new(PeerAddr => $_, Timeout => 3) }'";
        let addresses = ["127.0.0.1", "10.0.2.2", "169.254.1.2", &gateway]
            .map(|address| format!("{address}:{port}"));
        let output = scene.attack(&format!("{dial} {}", addresses.join(" ")));
        assert_eq!(output.expect_success().text(), "");
        let seen = private.accept().expect_err("nobody calls");
        assert_eq!(seen.kind(), ErrorKind::WouldBlock);
    });
    checks.check("no socket of the host's has a name there", || {
        let name = format!("{}socket", scene.sandbox.name(""));
        let address = SocketAddr::from_abstract_name(&name);
        let listener = UnixListener::bind_addr(&address.expect("an address")).expect("bind");
        let dial = format!(
            "perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); \
             connect(S, pack_sockaddr_un(\"\\0{name}\")) and print \"reached\"'; true"
        );
        assert_eq!(scene.attack(&dial).expect_success().text(), "");
        drop(listener);
    });
}

/// Starts `$3`, a program in Perl, as QEMU is started: with the same root, user and confinement. Its
/// arguments are the canary's directory, the container's processes but QEMU, and a socket without a
/// file, which somebody in the container has.
const AS_QEMU: &str = r#"
ours=$(echo /bcvk-*)
others=
for pid in /proc/[0-9]*; do
    if grep -q 'gues[t]=' $pid/cmdline; then qemu=$pid; else others="$others ${pid#/proc/}"; fi
done
user() { awk -v field="$1:" '$1 == field { print $2 }' $qemu/status; }
perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un("\0bcvk-hostile")) or die;
    listen(S, 9); exit if fork; close STDIN; close STDOUT; close STDERR; sleep 10'
printf '%s' "$3" >$ours/root/boot/attempts
$ours/run/bcvk-exe internal exec-qemu --root --files=/boot "--user=$(user Uid):$(user Gid)" -- \
    /usr/bin/perl /boot/attempts "$1" bcvk-hostile $others <$ours/root
rm $ours/root/boot/attempts
"#;

/// Attempts that code in QEMU may make.
const QEMUS_ATTEMPTS: &str = r#"
use Socket;
$| = 1;
my ($canary, $socket, @pids) = @ARGV;
# A literal cannot be an argument of syscall.
my ($tmpfs, $boot) = ("tmpfs", "/boot");
sub attempt { my ($name, $code) = @_; print eval { $code->() } ? "done" : "refused", " $name\n"; }
sub can { my ($name, $mode, $path) = @_; attempt("$name $path", sub { open(my $f, $mode, $path) }); }
sub unix { my $s; socket($s, AF_UNIX, SOCK_STREAM, 0) or die; $s }

can("read", "<", "/usr/bin/env");
attempt("list /boot", sub { opendir(my $d, "/boot") });
my @files = grep { -f } glob("/boot/*");
attempt("see the guest's files", sub { @files });

can("read", "<", $_) for "$canary/secret", "/proc/1/environ", "/proc/self/maps", "/etc/shadow", "../../../etc/shadow", "/dev/mem", "/dev/null";
can("write", ">>", $_) for "/usr/bin/env", "/etc/ld.so.cache", "/etc/resolv.conf";
for my $dir ("/", "/boot", "/usr", "/usr/bin", "/etc", "/dev", "/tmp", "/dev/shm", "/run") {
    can("create", ">", "$dir/new");
    attempt("mkdir in $dir", sub { mkdir("$dir/dir") });
    attempt("link in $dir", sub { symlink("/", "$dir/symlink") });
    attempt("socket in $dir", sub { bind(unix(), pack_sockaddr_un("$dir/socket")) });
    attempt("device in $dir", sub { syscall(133, "$dir/device", 0020666, 0x101) == 0 });
    attempt("FIFO in $dir", sub { syscall(133, "$dir/fifo", 0010666, 0) == 0 });
    attempt("chmod $dir", sub { chmod(0777, $dir) });
}
attempt("list $_", sub { opendir(my $d, $_) }) for "/", "/run", "/proc", "/..";
attempt("see $_", sub { -e $_ }) for $canary, "/proc/1", "/sys/kernel", "/run/bcvk", glob("/bcvk-*");
attempt("remove a file of the guest's", sub { unlink($files[0]) });
attempt("rename a file of the guest's", sub { rename($files[0], "$files[0].moved") });
attempt("chmod a program", sub { chmod(0777, "/usr/bin/env") });
for my $pid (@pids) {
    attempt("signal $pid", sub { kill(0, $pid) });
    attempt("trace $pid", sub { syscall(101, 16, $pid + 0, 0, 0) == 0 });
    attempt("take a descriptor of $pid", sub { syscall(438, syscall(434, $pid + 0, 0), 0, 0) >= 0 });
    my $buffer = "\0" x 16;
    my $vector = pack("PQ", $buffer, 16);
    attempt("read the memory of $pid", sub { syscall(310, $pid + 0, $vector, 1, $vector, 1, 0) >= 0 });
}
attempt("connect without a file", sub { connect(unix(), pack_sockaddr_un("\0$socket")) });
attempt("become root", sub { syscall(117, 0, 0, 0) == 0 });
attempt("become the root group", sub { syscall(119, 0, 0, 0) == 0 });
attempt("leave by chroot", sub { chroot("/boot") });
attempt("unshare mounts", sub { syscall(272, 0x20000) == 0 });
attempt("unshare users", sub { syscall(272, 0x10000000) == 0 });
attempt("mount", sub { syscall(165, $tmpfs, $boot, $tmpfs, 0, 0) == 0 });
attempt("a raw socket", sub { socket(my $s, AF_INET, SOCK_RAW, 1) });
attempt("descriptor $_ is a way out", sub { syscall(257, $_, "..$canary/secret", 0) >= 0 }) for 0..9;
"#;

fn check_qemus_rights(checks: &mut Checks, scene: &Scene<'_>) {
    checks.check(
        "code in QEMU reads its own files, and does nothing else",
        || {
            let quoted = QEMUS_ATTEMPTS.replace('\'', "'\\''");
            let script = format!("set -- \"$1\" \"$2\" '{quoted}'\n{AS_QEMU}");
            let output = scene.attack(&script).expect_success();
            expect_refused(
                &output,
                &["list /boot", "read /usr/bin/env", "see the guest's files"],
            );
            scene.expect_unchanged();
        },
    );
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
