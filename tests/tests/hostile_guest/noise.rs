//! Noise and floods on the guest's ways out.

use std::fs;
use std::path::{Path, PathBuf};

use bcvk_testkit::{Checks, Process, Sandbox, Vm, limit};

use crate::steering;

/// Limit for the size of a VM directory: the console and the journal with a predecessor each, 8 MiB
/// every one of them, and little besides.
pub(crate) const MAX_VM_DIR_BYTES: u64 = 33 << 20;

/// Limit for the size of podman's log of a VM: its own limit and a last line.
pub(crate) const MAX_PODMAN_LOG_BYTES: u64 = (64 << 20) + (1 << 20);

/// Limit for a supervisor's memory, however its guest behaves.
pub(crate) const MAX_SUPERVISOR_KIB: u64 = 64 << 10;

pub(crate) fn size_of(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).expect("a directory");
    entries
        .filter_map(|entry| entry.and_then(|entry| entry.metadata()).ok())
        .filter(fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

/// Resident memory of the VM's supervisor in KiB.
pub(crate) fn supervisor_kib(vm: &Vm<'_>) -> u64 {
    let pid = vm.inspect("{{.State.Pid}}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.expect("VmRSS").split_whitespace().next();
    words.expect("a number").parse().expect("a number")
}

pub(crate) fn check_noise(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("noise on every port", || {
        // The senders of the journal hold its port, so they are stopped first. What takes sessions, this
        // one too, has its own turn below.
        let seen = vm.sh(
            "systemctl stop bcvk-journal.service bcvk-system-journal.service 2>/dev/null\n\
             for port in /dev/virtio-ports/*; do\n\
               case $port in *.sessions) continue ;; esac\n\
               { head -c 1000000 /dev/zero; head -c 1000000 /dev/urandom; echo\n\
                 head -c 4194304 /dev/zero | tr '\\0' 'x'; echo\n\
                 head -c 100000 /dev/zero | tr '\\0' '['; echo\n\
                 printf 'ready\\nup up\\nexecuted 0\\nexecuted 99999999999\\nreported\\ninitrd\\n'\n\
                 printf 'failed \\033[2J\\033]0;owned\\a\\302\\233\\342\\200\\256: x\\n'\n\
                 printf 'failed x.service: y\\n%.0s' $(seq 20000)\n\
                 printf '{\"__MONOTONIC_TIMESTAMP\":\"1\",\"MESSAGE\":\"\\\\u001b]0;owned\\\\u0007\\\\u202e\"}\\nfai'\n\
               } >$port || exit 1\n\
               for i in $(seq 100); do printf 'led\\nfai' >$port || exit 1; done\n\
               echo $port\n\
             done",
        );
        let ports: Vec<&str> = seen
            .lines()
            .map(|line| line.rsplit('/').next().unwrap_or(line))
            .collect();
        let expected = [
            "org.bcvk.control",
            "org.bcvk.journal",
            "org.bcvk.journal-initrd",
            "out",
        ];
        assert_eq!(ports, expected);
    });
    checks.check("the VM answers", || {
        assert_eq!(vm.sh("echo still here"), "still here");
    });
    checks.check("noise on the port for sessions ends sessions, and no more", || {
        vm.sh(
            "systemd-run --collect --unit=noise sh -c 'sleep 1; systemctl stop bcvk-login.service; \
             { head -c 3000000 /dev/urandom; head -c 3000000 /dev/zero; printf \"\\nbcvk-sessions here 1\\n\"; \
             } >/dev/virtio-ports/org.bcvk.sessions; systemctl start bcvk-login.service'",
        );
        let _ = vm.ssh(&["sleep", "60"]).limit(limit::BOOT).run().expect_code(255);
        assert_eq!(vm.sh("echo still here"), "still here");
    });
}

pub(crate) fn check_flood(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    let podmans = PathBuf::from(vm.inspect("{{.HostConfig.LogConfig.Path}}"));
    checks.check("a flood fills neither the VM's directory nor podman's", || {
        // This is more than every bound. An emulated serial console would take half an hour for it;
        // the journal takes the same way from there on.
        let _ = vm
            .ssh(&["sh", "-c"])
            .arg(
                "perl -e 'my $entry = \"{\\\"__MONOTONIC_TIMESTAMP\\\":\\\"1\\\",\\\"MESSAGE\\\":\\\"\" . \
                 (\"x\" x 4000) . \"\\\"}\\n\"; print $entry for 1 .. 17500' >/dev/virtio-ports/org.bcvk.journal",
            )
            .run()
            .expect_success();
        assert_eq!(vm.sh("echo still here"), "still here");
        let own = size_of(&vm.dir().join("shared"));
        assert!((8 << 20..MAX_VM_DIR_BYTES).contains(&own), "{own}");
        let podmans = size_of(podmans.parent().expect("a directory"));
        assert!(podmans < MAX_PODMAN_LOG_BYTES, "{podmans}");
    });
    checks.check("that something is gone is said", || {
        let inspect = sandbox.bcvk(["inspect", vm.name()]).run().expect_success();
        let _ = inspect
            .expect_stdout("the journal is long: only its end is kept")
            .expect_stdout("`podman logs` has only its end");
        let logs = sandbox.bcvk(["logs", vm.name()]).run().expect_success();
        let _ = logs.expect_stderr("the journal is long");
    });
    checks.check("nor does one through the guest's journal", || {
        vm.sh("systemctl start bcvk-system-journal.service; \
             head -c 4000000 /dev/zero | tr '\\0' x | fold -w 900 | logger");
        let own = size_of(&vm.dir().join("shared"));
        assert!(own < MAX_VM_DIR_BYTES, "{own}");
    });
}

pub(crate) fn check_aftermath(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    checks.check("the supervisor needs no more than before", || {
        let kib = supervisor_kib(vm);
        assert!(kib < MAX_SUPERVISOR_KIB, "{kib} KiB");
    });
    checks.check("what is said of the VM is sane, and steers no terminal", || {
        vm.sh("hostname 'evil\u{1b}]0;owned\u{7}' 2>/dev/null; printf '\\033]0;owned\\a\\342\\200\\256\\n' >/dev/console; sleep 1");
        let ps = sandbox.bcvk(["ps", "--json"]).run().expect_success();
        let inspect = sandbox.bcvk(["inspect", vm.name()]).run().expect_success();
        for output in [&ps, &inspect] {
            let json: serde_json::Value =
                serde_json::from_str(&output.stdout()).expect("JSON");
            assert!(json.to_string().contains(vm.name()), "{output}");
            assert_eq!(steering(&output.stdout()), None, "{output}");
        }
        let at_terminal = |args: &[&str]| {
            let output = sandbox.bcvk(args).at_a_terminal().run().expect_success();
            assert_eq!(steering(&output.stdout()), None, "{output}");
        };
        at_terminal(&["ps"]);
        at_terminal(&["logs", vm.name()]);
        at_terminal(&["inspect", vm.name()]);
        // The control shows that the guest did say it, and that a program gets it as it was.
        let raw = sandbox.bcvk(["logs", vm.name()]).run().expect_success();
        let _ = raw.expect_stdout("\u{1b}]0;owned");
        assert_eq!(steering(&vm.logs()), None, "the journal as text");
    });
    checks.check("its QEMU is the one of the beginning", || {
        assert!(Process::qemu_of(vm.name()).is_some());
    });
}
