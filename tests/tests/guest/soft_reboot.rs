//! `systemctl soft-reboot`, which starts the guest's system anew, but not its kernel.

use bcvk_testkit::{Checks, Vm, limit};

pub(crate) fn check_soft_reboot(checks: &mut Checks, vm: &Vm<'_>) {
    let files = "/etc/kept /var/kept /var/lib/kept /root/kept /tmp/kept";
    checks.check("a session ends with the system that it is in", || {
        vm.sh(&format!("echo kept | tee {files}"));
        let session = vm.ssh(&["sleep", "infinity"]).spawn();
        vm.soft_reboot();
        let _ = session.wait(limit::BOOT).expect_code(255);
    });
    checks.check("its user is let in again", || {
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
    checks.check("its user is let in to another root", || {
        vm.sh("mkdir -p /run/nextroot /run/layers && mount -t tmpfs tmpfs /run/layers && cd /run/layers && \
             mkdir up work && mount -t overlay -o lowerdir=/,upperdir=up,workdir=work next /run/nextroot");
        vm.soft_reboot();
        assert_eq!(vm.sh("findmnt -no SOURCE /; cat /etc/kept 2>&1 || true"), "next\ncat: /etc/kept: No such file or directory");
    });
}
