//! Properties of a VM that was resumed.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bcvk_testkit::{Checks, Sandbox, Vm};

use crate::snapshot::{entries, list_all};

/// Greatest difference between a guest's clock and the host's.
pub(crate) const CLOCK: Duration = Duration::from_millis(100);

/// Checks that a resumed VM is as good as one that was booted.
pub(crate) fn check_health(checks: &mut Checks, vm: &Vm) {
    checks.check("the clock is right", || expect_clock(vm));
    checks.check("what made it this VM has nothing more to do", || {
        let agent = "systemctl is-active bcvk-agent.service; true";
        assert_eq!(vm.sh(agent), "inactive");
    });
    checks.check("all is well", || {
        assert_eq!(
            vm.sh("systemctl is-system-running --wait; systemctl --failed --no-legend"),
            "running"
        );
    });
}

/// Checks that a guest which goes on talking where its agent has spoken disturbs nobody.
pub(crate) fn check_noise(checks: &mut Checks, vm: &Vm) {
    checks.check("noise on the agent's port", || {
        // Nobody reads it any more, so that a writer may have to wait.
        let noise = "{ head -c 1000000 /dev/urandom; printf 'done\\nhere\\nfailed \\033[2Jevil\\n'; } \
                     | timeout 10 tee /dev/virtio-ports/org.bcvk.agent >/dev/null; echo still here";
        assert_eq!(vm.sh(noise), "still here");
        assert_eq!(vm.sh("hostname"), vm.name());
        let described = vm.described();
        assert!(!described.contains("evil"), "{described}");
        assert!(described.contains("\"State\": \"ready\""), "{described}");
    });
}

/// Word that must be nowhere in a snapshot.
pub(crate) const MARK: &str = "secret-4f9d0c27";

/// Makes units with the mark in one of them; returns the option.
pub(crate) fn make_units(sandbox: &Sandbox) -> String {
    let dir = sandbox.make_dir("units");
    let wants = dir.join("multi-user.target.wants");
    fs::create_dir(&wants).expect("made");
    let text = format!(
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nEnvironment=UNIT={MARK}\n\
         ExecStart=/bin/sh -c 'echo $UNIT $SECRET >/run/of-user'\n"
    );
    fs::write(dir.join("of-user.service"), text).expect("written");
    symlink("../of-user.service", wants.join("of-user.service")).expect("linked");
    format!("--systemd-units={}", dir.display())
}

pub(crate) fn expect_given(vm: &Vm<'_>) {
    assert_eq!(vm.sh("echo $SECRET"), MARK);
    assert_eq!(
        vm.sh("systemctl start of-user.service && cat /run/of-user"),
        format!("{MARK} {MARK}")
    );
    // The unit was started even without that command.
    assert_eq!(vm.sh("systemctl is-active of-user.service"), "active");
}

pub(crate) fn expect_no_secret(sandbox: &Sandbox, vm: &Vm<'_>) {
    let entries = entries(sandbox, &list_all(sandbox));
    assert_eq!(entries.len(), 2, "one for each stage");
    // The lines before it are the same in many keys.
    let host_key = vm.sh("sed -n 4p /etc/ssh/ssh_host_ed25519_key");
    let user_key = vm.sh("cut -d' ' -f2 /run/bcvk/login/authorized_keys");
    for word in [MARK, &host_key, &user_key[30..]] {
        for entry in &entries {
            for file in ["memory", "state", "kernel", "trace"] {
                let file = entry.join("sealed").join(file);
                let found = Command::new("grep")
                    .args(["-q", "-a", "-F", "-e", word])
                    .arg(&file)
                    .status();
                let code = found.expect("run grep").code();
                assert_eq!(code, Some(1), "{word} is in {}", file.display());
            }
        }
    }
}

/// Writes over everything that the container of a VM that was saved has of its snapshot.
pub(crate) fn expect_only_staging(sandbox: &Sandbox, vm: &Vm<'_>) {
    let entries = entries(sandbox, &list_all(sandbox));
    let digest = || {
        let files = [
            "meta.json",
            "sealed/state",
            "sealed/kernel",
            "sealed/memory",
            "sealed/trace",
        ];
        let paths = entries
            .iter()
            .flat_map(|dir| files.map(|file| dir.join(file)));
        let sums = Command::new("sha256sum").args(paths).output();
        String::from_utf8(sums.expect("run sha256sum").stdout).expect("text")
    };
    let before = digest();
    assert_eq!(before.lines().count(), 10, "{before}");
    let script = "PATH=/usr/bin:/bin; find / -xdev -name 'bcvk-staging*' 2>/dev/null | while read -r dir; do \
                  for file in memory state kernel trace saved; do echo evil >$dir/$file; done; \
                  touch $dir/../x; ls $dir; done";
    let wrote = sandbox
        .podman(["exec", vm.name(), "/bin/sh", "-c", script])
        .run();
    assert_eq!(
        wrote.expect_success().text(),
        ["kernel\nmemory\nsaved\nstate\ntrace"; 2].join("\n")
    );
    assert_eq!(digest(), before);
}

pub(crate) fn expect_nothing_in_common(one: &Vm<'_>, two: &Vm<'_>) {
    for script in [
        "hostname",
        "cat /run/bcvk/login/authorized_keys",
        "cat /run/bcvk/login/host_key",
        "cat /run/bcvk/login/identity.json",
        "cat /run/tmpfiles.d/00-bcvk-host-key.conf",
        "cat /etc/ssh/ssh_host_ed25519_key",
        "ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null",
        "head -c 16 /dev/urandom | od -An -tx1",
        "cat /proc/sys/kernel/random/uuid",
    ] {
        assert_ne!(one.sh(script), two.sh(script), "{script}");
    }
    assert_eq!(one.sh("hostname"), one.name());
    assert_eq!(one.sh("grep -c . /run/bcvk/login/authorized_keys"), "1");
    assert!(
        one.sh("dmesg")
            .contains("crng reseeded due to virtual machine fork")
    );
}

pub(crate) fn expect_machine_id(vm: &Vm<'_>, other: &Vm<'_>) {
    let id = "cat /etc/machine-id";
    assert_ne!(other.sh(id), vm.sh(id));
    let journal = vm.sh("journalctl --boot --unit=ssh.service --output=cat");
    assert!(journal.contains("listening on"), "{journal}");
    vm.sh("logger -t mine of this machine && journalctl --sync");
    assert_eq!(vm.sh("journalctl -t mine --output=cat"), "of this machine");
}

#[allow(clippy::disallowed_methods, reason = "it is the clock that counts")]
pub(crate) fn expect_clock(vm: &Vm<'_>) {
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a time")
    };
    let before = now();
    let guest: u64 = vm.sh("date +%s%N").parse().expect("nanoseconds");
    let after = now();
    let guest = Duration::from_nanos(guest);
    assert!(
        (before.saturating_sub(CLOCK)..after + CLOCK).contains(&guest),
        "{guest:?} is not between {before:?} and {after:?}"
    );
}
