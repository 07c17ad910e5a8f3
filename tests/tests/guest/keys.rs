//! The guest's keys.

use bcvk_testkit::{Checks, Vm};

/// The host key comes with the initramfs, through `systemd-tmpfiles`.
pub(crate) fn check_private_key(checks: &mut Checks, vm: &Vm<'_>) {
    // The key as sshd reads it, and in the base64 of tmpfiles.d(5).
    const KEY: &str = "OPENSSH PRIVATE KEY|LS0tLS1CRUdJTiBPUEVOU1NI";
    let search = format!("grep -rlsE '{KEY}' /run /etc /tmp /var/log /proc/cmdline");
    checks.check("root finds the private host key", || {
        let found = vm.run_sh(&search).stdout();
        for place in [
            "/etc/ssh/ssh_host_",
            "/run/tmpfiles.d/00-bcvk-host-key.conf",
            "/run/bcvk/login/host_key",
            "/run/bcvk/login/identity.json",
        ] {
            assert!(found.contains(place), "{place} in {found}");
        }
    });
    checks.check("nobody else does, and the journal has no key", || {
        let found = vm.run_sh(&format!("runuser -u daemon -- {search}"));
        // The exit code 2 says that there was something that daemon must not read.
        let _ = found.expect_code(2).expect_empty_stdout();
        vm.sh(&format!(
            "! journalctl --boot --output=cat | grep -E '{KEY}'"
        ));
    });
}
