//! The root of a guest, which its image decides on.

use bcvk_testkit::{Checks, Vm};

pub(crate) fn check_read_only(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("/ and /usr are read-only, for root too", || {
        let output = vm
            .run_sh(
                "for f in /x /usr/x /usr/bin/x; do touch $f 2>&1 && echo wrote $f; done; \
                 rm -f /usr/bin/true 2>&1; test -x /usr/bin/true && echo still there; \
                 mount -o remount,rw / 2>&1; touch /usr/x 2>&1 && echo wrote after remount; \
                 chmod 0 /usr/bin/true 2>&1; test -x /usr/bin/true && echo still executable",
            )
            .expect_success()
            .expect_stdout("still there")
            .expect_stdout("still executable");
        assert!(!output.stdout().contains("wrote"), "{output}");
    });
}

/// Checks a root of an image with `root.transient`.
pub(crate) fn check_transient(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("/ and /usr can be written to", || {
        let root = vm.sh("mkdir /nix && echo new >/nix/x && echo new >/usr/x && \
             mv /usr/share /usr/shared && mv /usr/shared /usr/share && \
             rm /usr/lib/os-release && cat /nix/x /usr/x && findmnt -no FSTYPE,SOURCE /");
        assert_eq!(root, "new\nnew\noverlay bcvk-rootfs");
    });
    checks.check("an overlay can have its layers in the image", || {
        vm.sh("mkdir -p /var/o/up /var/o/work /var/o/all && cd /var/o && \
             mount -t overlay -o lowerdir=/usr/lib,upperdir=up,workdir=work overlay all && \
             test -d all/systemd && umount all");
    });
    checks.check("none of it reaches the image", || {
        let found = vm.exec("cd /bcvk-*/run/bcvk-image && ls -d nix usr/x usr/lib/os-release 2>&1");
        let found = found.expect_stdout("usr/lib/os-release\n").stdout();
        assert_eq!(found.matches("No such file").count(), 2, "{found}");
    });
}
