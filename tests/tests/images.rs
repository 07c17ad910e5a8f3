//! Every kind of image boots, or is refused in one clear sentence.

use bcvk_testkit::{Checks, Sandbox, Vm};

/// What is not asked for must not be there either.
fn check_up(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("the system is up, and no unit has failed", || {
        let output = vm.run_sh(
            "systemctl is-system-running --wait; systemctl --failed --no-legend --plain; \
             for u in $(systemctl --failed --no-legend --plain | cut -d' ' -f1); do journalctl -n 20 -u $u; done",
        );
        assert_eq!(output.text(), "running", "{output}");
    });
}

/// Debian 12 has everything as modules. This initramfs has none that a VM needs, ends in a boot
/// configuration, and belongs to an image with a large `/var` and a socket for sshd.
#[test]
fn an_initramfs_without_the_modules_of_a_vm() {
    let sandbox = Sandbox::new();
    let image = sandbox.build_image(include_str!("fixtures/Containerfile.no-modules"));
    let vm = sandbox.boot("vm", &["--rm"], &image);
    vm.sh("true");
    let mut checks = Checks::new();
    checks.check("/var is an overlay that keeps no container storage", || {
        assert_eq!(
            vm.sh("stat -f -c %T /var /var/lib/containers && stat -c %s /var/lib/large"),
            format!("overlayfs\ntmpfs\n{}", 80 << 20)
        );
        vm.sh(
            "cd /var/lib/containers && mkdir lower upper work merged && \
             mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged && \
             echo x >merged/x && test -s upper/x && umount merged",
        );
    });
    checks.check("sshd was started by its socket", || {
        assert_eq!(
            vm.sh("systemctl is-active ssh.socket; systemctl is-enabled ssh.service || true"),
            "active\ndisabled"
        );
    });
    check_up(&mut checks, &vm);
    vm.stop();
    sandbox.remove_image(&image);
    checks.finish();
    sandbox.finish();
}
