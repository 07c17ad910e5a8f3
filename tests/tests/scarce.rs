//! Resources that a VM needs can be full, short or forbidden: bcvk says so, and leaves nothing.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use bcvk_testkit::{Checks, FakeTools, Output, Sandbox, Signal, Tmpfs, Vm, images, limit, until};
use bcvk_tests::own_storage::OwnStorage;
use serde_json::Value;

/// Limit far above what it takes to refuse something.
const AT_ONCE: Duration = Duration::from_secs(20);

#[test]
fn a_full_vm_directory_is_refused_and_one_that_fills_up_is_survived() {
    let Some(sandbox) = Sandbox::apart() else {
        return;
    };
    let dir = sandbox.runtime_dir().expect("a directory").join("bcvk");
    make_like(&dir, &sandbox);
    let tmpfs = Tmpfs::mount(&dir, "size=256k");
    sandbox.end_podman();
    sandbox.load_image(images::trixie());
    let mut checks = Checks::new();

    tmpfs.fill();
    for verb in [&["run", "-d"][..], &["run"], &["run-ssh"]] {
        checks.check(&format!("{verb:?} with a full directory"), || {
            let _ = sandbox
                .bcvk(verb)
                .args(["--name", &sandbox.name("none"), images::trixie()])
                .run()
                .expect_error(125, &["cannot make the VM's files", "No space left"])
                .expect_stderr(&format!("hint: `df -h {}", dir.display()))
                .expect_within(AT_ONCE);
            sandbox.expect_nothing_left();
        });
    }
    tmpfs.drain();

    let vm = sandbox.boot("vm", &[], images::trixie());
    tmpfs.fill();
    checks.check("it becomes ready, and that is known", || {
        assert_eq!(vm.sh("hostname"), vm.name());
        assert_eq!(status(&sandbox, &vm)["VmState"], "ready");
    });
    vm.kill_qemu();
    checks.check("its end is known, with the reason", || {
        until("the VM has ended", limit::QUICK, || {
            status(&sandbox, &vm)["VmState"] == "exited"
        });
        let output = sandbox.bcvk(["inspect", vm.name()]).run();
        let _ = output
            .expect_success()
            .expect_stdout("QEMU ended unexpectedly");
    });
    vm.discard();
    checks.finish();
    drop(tmpfs);
    sandbox.finish();
}

fn status(sandbox: &Sandbox, vm: &Vm<'_>) -> Value {
    let output = sandbox.bcvk(["ps", "-a", "--json"]).run().expect_success();
    let rows: Vec<Value> = serde_json::from_str(&output.stdout()).expect("JSON");
    let mut rows = rows.into_iter();
    rows.find(|row| row["Names"][0] == vm.name())
        .unwrap_or_else(|| panic!("{} in {output}", vm.name()))
}

/// Makes a directory with its parent's owner.
fn make_like(dir: &Path, sandbox: &Sandbox) {
    use std::os::unix::fs::MetadataExt;

    fs::create_dir(dir).expect("make a directory");
    let owner = fs::metadata(sandbox.bin()).expect("metadata");
    chown(dir, Some(owner.uid()), Some(owner.gid())).expect("give a directory");
}

/// A VM needs nothing of its user's home, and raises a limit of open files that it may raise. What
/// the host has no room for is an error in the guest, which lives on. A disk that it has no room for is
/// the guest's end, because QEMU stops it.
#[test]
fn a_full_share_is_the_guests_affair_and_a_read_only_home_nobodys() {
    let Some(sandbox) = Sandbox::root() else {
        return;
    };
    let share = sandbox.make_dir("share");
    let full = Tmpfs::mount(&share, "size=1m");
    let home = sandbox.make_dir("read-only");
    let read_only = Tmpfs::mount(&home, "ro");
    let script = "cd /run/virtiofs-mnt-full
        dd if=/dev/zero of=file bs=64k 2>&1 | grep -o 'No space left on device'
        sync; rm file && echo again >file && cat file
        dd if=/dev/urandom of=/dev/vda bs=64k count=64 oflag=direct
        sleep 600";
    let output = sandbox
        .command("prlimit")
        .arg("--nofile=64:")
        .arg(sandbox.bcvk_path())
        .args(["ephemeral", "run-ssh", "--name", &sandbox.name("vm")])
        .args(["--bind", &format!("{}:full", share.display())])
        .args([
            "--mount-disk-file",
            &format!("{}/disk:small", share.display()),
        ])
        .args([images::trixie(), script])
        .env("HOME", &home)
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env("XDG_CACHE_HOME", home.join("cache"))
        .limit(limit::BOOT)
        .run()
        .expect_code(125)
        .expect_stderr("the host has no space left for what the guest writes to disk small")
        .expect_stderr("hint: `df`");
    assert_eq!(
        output.stdout(),
        "No space left on device\nagain\n",
        "{output}"
    );
    drop((full, read_only));
    sandbox.finish();
}

#[test]
fn full_container_storage_is_named() {
    let Some(sandbox) = Sandbox::root() else {
        return;
    };
    let own = sandbox.make_dir("storage");
    let graph = own.join("graph");
    fs::create_dir(&graph).expect("make a directory");
    let tmpfs = Tmpfs::mount(&graph, "size=1m");
    // The tests' images are read-only, behind a storage of the test's own.
    let own = OwnStorage::make(&sandbox, &own, "");
    let _ = own
        .used_by(sandbox.podman(["image", "exists", images::trixie()]))
        .run()
        .expect_success();
    tmpfs.fill();
    let mut checks = Checks::new();
    for verb in [&["run", "-d"][..], &["run-ssh"]] {
        checks.check(&format!("{verb:?}"), || {
            let _ = own
                .used_by(sandbox.bcvk(verb))
                .args(["--name", &sandbox.name("vm"), images::trixie()])
                .run()
                .expect_error(
                    125,
                    &["start the VM's container", "no space left on device"],
                )
                .expect_stderr("hint: `podman system df`")
                .expect_within(AT_ONCE);
            let left = own
                .used_by(sandbox.podman(["ps", "--all", "--quiet"]))
                .run();
            let _ = left.expect_success().expect_empty_stdout();
            sandbox.expect_nothing_left();
        });
    }
    checks.finish();
    drop(tmpfs);
    sandbox.finish();
}

/// A host may have time for a guest only now and then, as one with many VMs: the kernel sees few
/// ticks of its timer then, and sometimes panicked over it.
#[test]
fn a_busy_host_does_not_make_the_kernel_doubt_its_timer() {
    const AWAY: Duration = Duration::from_millis(80);
    const THERE: Duration = Duration::from_millis(20);

    let sandbox = Sandbox::new();
    let vm = sandbox.boot("vm", &["--no-ssh-keygen"], images::trixie());
    let qemu = vm.qemu();
    let console = vm.dir().join("shared/console.log");
    let said = || String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
    until("the kernel has looked at its timer", limit::BOOT, || {
        qemu.signal(Signal::STOP);
        thread::sleep(AWAY);
        qemu.signal(Signal::CONT);
        thread::sleep(THERE);
        // The kernel frees memory after its look at the timer; a panic is the other way to get past it.
        let said = said();
        said.contains("Freeing") || said.contains("panic")
    });
    let said = said();
    for doubt in ["8254 timer", "set up timer", "panic"] {
        assert!(!said.contains(doubt), "{doubt}: {said}");
    }
    vm.discard();
    sandbox.finish();
}

/// SSH needs no port, so only those that were asked for can be taken.
#[test]
fn a_published_port_that_is_taken_is_named() {
    let sandbox = Sandbox::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("its address").port();
    let mut checks = Checks::new();
    for verb in [&["run", "-d"][..], &["run", "--rm"], &["run-ssh"]] {
        checks.check(&format!("{verb:?}"), || {
            let _ = sandbox
                .bcvk(verb)
                .args(["--name", &sandbox.name("vm"), "--publish"])
                .args([&format!("127.0.0.1:{port}:80"), images::trixie()])
                .run()
                .expect_error(
                    125,
                    &[&port.to_string(), "already in use", "hint: `ss -ltnup`"],
                )
                .expect_within(AT_ONCE);
            sandbox.expect_nothing_left();
        });
    }
    checks.finish();
    sandbox.finish();
}

#[test]
fn few_open_files_are_named_before_podman_stumbles() {
    let sandbox = Sandbox::new();
    let tools = FakeTools::new(&sandbox);
    tools.podman("exit 1");
    tools.link("ssh");
    let mut checks = Checks::new();
    for (few, verb) in [("64", "run"), ("64", "run-ssh"), ("4095", "run-ssh")] {
        checks.check(&format!("{verb} with {few}"), || {
            let _ = tools
                .only(sandbox.command("/usr/bin/prlimit"))
                .arg(format!("--nofile={few}"))
                .arg(sandbox.bcvk_path())
                .args(["ephemeral", verb, "localhost/any"])
                .run()
                .expect_error(125, &[&format!("only {few} files"), "4096"])
                .expect_stderr("hint: `ulimit -Hn`")
                .expect_within(AT_ONCE);
        });
    }
    assert!(!tools.calls().iter().any(|call| call.contains("run")));
    checks.finish();
    sandbox.finish();
}

/// Runs bcvk with `/proc/meminfo` and `/dev/kvm` as the test wants them, in a mount namespace.
struct OtherHost {
    sandbox: Sandbox,
    tools: FakeTools,
    dir: PathBuf,
}

impl OtherHost {
    fn new() -> Option<Self> {
        let sandbox = Sandbox::root()?;
        let tools = FakeTools::new(&sandbox);
        tools.podman("exit 1");
        tools.link("ssh");
        tools.link(&format!("qemu-system-{}", std::env::consts::ARCH));
        let dir = sandbox.make_dir("host");
        Some(Self {
            sandbox,
            tools,
            dir,
        })
    }

    /// Runs bcvk as a user who is in no group that matters, after `mounts` (shell, run as root).
    #[track_caller]
    fn run(&self, mounts: &str, args: &[&str]) -> Output {
        let script = format!(
            "set -e; PATH=/usr/sbin:/usr/bin:/sbin:/bin; {mounts}; PATH={}; exec \"$@\"",
            self.dir
                .parent()
                .expect("a parent")
                .join("fake-tools")
                .display()
        );
        let (user, group) = ("--reuid=65534", "--regid=65534");
        let runtime = self.dir.join("runtime");
        fs::create_dir_all(&runtime).expect("make a directory");
        chown(&runtime, Some(65534), Some(65534)).expect("give a directory");
        self.tools
            .only(self.sandbox.command("/usr/bin/unshare"))
            .args(["--mount", "/bin/sh", "-c", &script, "sh"])
            .args(["/usr/bin/setpriv", user, group, "--clear-groups"])
            .arg(self.sandbox.bcvk_path())
            .args(["ephemeral", "run", "--dry-run"])
            .args(args)
            .arg("localhost/any")
            .env("XDG_RUNTIME_DIR", runtime)
            .run()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        fs::write(&path, text).expect("write");
        path.display().to_string()
    }
}

#[test]
fn memory_that_is_not_there_is_refused_with_the_numbers() {
    let Some(host) = OtherHost::new() else { return };
    let meminfo = |swap: u32| {
        let text = format!(
            "MemTotal: 8388608 kB\nMemAvailable: 2097152 kB\nSwapTotal: {swap} kB\nSwapFree: {swap} kB\n"
        );
        let file = host.file(&format!("meminfo-{swap}"), &text);
        format!("mount --bind {file} /proc/meminfo")
    };
    let mut checks = Checks::new();
    checks.check("more than is available", || {
        let _ = host
            .run(&meminfo(0), &["--accel=tcg", "--memory=3G"])
            .expect_error(125, &["3 GiB", "this machine has 8 GiB (2 GiB available)"])
            .expect_stderr("hint: give less with --memory, such as --memory 1792M");
    });
    checks.check("with swap it fits", || {
        let _ = host
            .run(&meminfo(1_048_576), &["--accel=tcg", "--memory=3G"])
            .expect_success();
    });
    checks.finish();
    host.sandbox.finish();
}

#[test]
fn a_kvm_that_is_not_ones_own_comes_with_the_command_that_mends_it() {
    let Some(host) = OtherHost::new() else { return };
    let cpuinfo = host.file("cpuinfo", "flags : fpu vmx\n");
    let kvm = host.file("kvm", "");
    // Every Debian has this group, and nobody is in it.
    chown(&kvm, None, Some(5)).expect("give a file to a group");
    let mode = |mode| fs::set_permissions(&kvm, fs::Permissions::from_mode(mode));
    // Without /dev/kvm, there is nothing to mount over.
    let mounts = format!(
        "mount --bind {cpuinfo} /proc/cpuinfo; mkdir -p {dir}/dev; mount --rbind /dev {dir}/dev; \
         mount -t tmpfs -o mode=0755 none /dev; ln -s {dir}/dev/* /dev; rm -f /dev/kvm; \
         touch /dev/kvm; mount --bind {kvm} /dev/kvm",
        dir = host.dir.display()
    );
    let mut checks = Checks::new();
    for (bits, remedy) in [(0o660, "usermod -aG tty"), (0o600, "chmod 0666 /dev/kvm")] {
        mode(bits).expect("set a mode");
        checks.check(&format!("{bits:o}"), || {
            let _ = host
                .run(&mounts, &["--accel=kvm"])
                .expect_error(125, &["/dev/kvm cannot be opened: Permission denied"])
                .expect_stderr(&format!("hint: `sudo {remedy}"))
                .expect_stderr("--accel auto");
        });
        checks.check(&format!("{bits:o}, where KVM is only wished for"), || {
            let _ = host
                .run(&mounts, &["--accel=auto"])
                .expect_success()
                .expect_stderr("ten times slower")
                .expect_stderr(remedy);
        });
    }
    checks.finish();
    host.sandbox.finish();
}
