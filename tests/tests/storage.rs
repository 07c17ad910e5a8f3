//! `--bind-storage-ro`: the host's images, for podman in the guest.

use bcvk_testkit::{Checks, Sandbox, images};

#[test]
fn podman_in_the_guest_runs_images_of_the_host() {
    let sandbox = Sandbox::new();
    let vm = sandbox.boot("vm", &["--rm", "--bind-storage-ro"], images::full());
    let mut checks = Checks::new();
    checks.check(
        "the host's images are there, as those of somebody else",
        || {
            let listed = vm.sh(
                "podman images --format '{{.Repository}}:{{.Tag}} {{.ReadOnly}}' | grep bcvk-test",
            );
            let wanted = format!("{} true", images::trixie());
            assert!(listed.lines().any(|line| line == wanted), "{listed}");
        },
    );
    checks.check("a container of one", || {
        let image = images::nosshd();
        let found = vm.sh(&format!(
            "podman run --rm --pull=never --network=none {image} \
             sh -c 'grep VERSION_CODENAME /etc/os-release; ls /usr/sbin/sshd 2>&1; \
             echo written >/usr/x && cat /usr/x'"
        ));
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!(lines[0], "VERSION_CODENAME=trixie");
        // A whiteout of a later layer.
        assert!(lines[1].contains("No such file"), "{found}");
        assert_eq!(lines[2], "written");
    });
    checks.check("the store cannot be written", || {
        let output = vm.run_sh("touch /run/virtiofs-mnt-hoststorage/x 2>&1; rm -rf /run/virtiofs-mnt-hoststorage/overlay-images 2>&1");
        let _ = output.expect_code(1).expect_stdout("Read-only file system");
        let _ = sandbox
            .podman(["image", "exists", images::trixie()])
            .run()
            .expect_success();
    });
    vm.stop();
    checks.finish();
    sandbox.finish();
}
