//! `systemctl soft-reboot`, which starts the guest's system anew, but not its kernel.

use bcvk_testkit::{Checks, Vm, limit, until};

pub(crate) fn check_soft_reboot(checks: &mut Checks, vm: &Vm<'_>) {
    let files = "/etc/kept /var/kept /var/lib/kept /root/kept /tmp/kept";
    checks.check("a session ends with the system that it is in", || {
        vm.sh(&format!("echo kept | tee {files}"));
        vm.sh("systemd-run --quiet --unit=before sleep infinity");
        let session = vm.ssh(&["sleep", "infinity"]).spawn();
        // Whoever asks need not see the end of its own session.
        vm.sh("systemd-run --quiet --on-active=1 systemctl soft-reboot");
        let _ = session.wait(limit::BOOT).expect_code(255);
    });
    checks.check("its user is let in again", || {
        until("the system starts anew", limit::BOOT, || {
            let session = vm.run_sh("systemctl is-active -q before.service || echo again");
            session.text() == "again"
        });
        vm.sh("systemctl is-active bcvk-login.service");
        let output =
            vm.run_sh("systemctl is-system-running --wait; systemctl --failed --no-legend --plain");
        assert_eq!(output.text(), "running", "{output}");
    });
    checks.check("/etc, /var and /root are as they were", || {
        assert_eq!(
            vm.sh("cat /etc/kept /var/kept /var/lib/kept /root/kept"),
            ["kept"; 4].join("\n")
        );
        vm.sh("echo more | tee /etc/kept /var/kept /root/kept /tmp/more /var/tmp/more");
        vm.sh("until grep -q 10.0.2.15 /proc/net/fib_trie; do sleep 1; done");
    });
}
