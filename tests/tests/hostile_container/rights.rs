//! Attempts to reach what the container, the network and QEMU's user must not.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use bcvk_testkit::{Checks, Output};

use crate::scene::Scene;

/// Attempts that code in the container may make. Each says whether it worked; none may.
pub(crate) const ATTEMPTS: &str = r#"
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

pub(crate) fn check_attempts(checks: &mut Checks, scene: &Scene<'_>) {
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
pub(crate) fn expect_refused(output: &Output, controls: &[&str]) {
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

pub(crate) fn check_network(checks: &mut Checks, scene: &Scene<'_>) {
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
pub(crate) const AS_QEMU: &str = r#"
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
pub(crate) const QEMUS_ATTEMPTS: &str = r#"
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

pub(crate) fn check_qemus_rights(checks: &mut Checks, scene: &Scene<'_>) {
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
