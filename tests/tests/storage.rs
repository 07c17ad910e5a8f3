//! podman in the guest: with the host's images (`--bind-storage-ro`), with those that the image brings
//! along, and on a disk.

use std::fs;

use bcvk_testkit::{Checks, Sandbox, Vm, images};

/// Mount point of the host's images in the guest.
const STORE: &str = "/run/virtiofs-mnt-hoststorage";

fn podman(sandbox: &Sandbox, args: &[&str]) -> String {
    sandbox.podman(args).run().expect_success().text()
}

/// Makes a container with a file of its own; returns the path of that below podman's storage.
fn make_container(sandbox: &Sandbox, name: &str) -> String {
    let file = sandbox.path().join("private");
    fs::write(&file, "private").expect("written");
    let file = file.to_str().expect("text");
    podman(
        sandbox,
        &["create", "--name", name, images::minimal(), "true"],
    );
    podman(sandbox, &["cp", file, &format!("{name}:/private")]);
    let root = podman(sandbox, &["info", "--format", "{{.Store.GraphRoot}}"]);
    let upper = [
        "inspect",
        "--format",
        "{{.GraphDriver.Data.UpperDir}}",
        name,
    ];
    let written = format!("{}/private", podman(sandbox, &upper));
    assert!(fs::metadata(&written).is_ok(), "{written}");
    written
        .strip_prefix(&root)
        .expect("in the storage")
        .to_owned()
}

/// Asserts that the guest sees images alone, and not the file `written` of a container.
fn assert_unseen(vm: &Vm<'_>, written: &str) {
    let found = vm.sh(&format!("ls -A {STORE}"));
    let found: Vec<&str> = found.lines().collect();
    assert_eq!(found, ["overlay", "overlay-images", "overlay-layers"]);
    let file = format!("{STORE}{written}");
    let layer = file.split("/diff/").next().expect("a layer's directory");
    for path in [&file, layer, "secrets", "volumes", "overlay-containers"] {
        let output = vm.run_sh(&format!("cd {STORE} && stat {path} 2>&1"));
        let _ = output
            .expect_code(1)
            .expect_stdout("No such file or directory");
    }
}

/// Checks containers that start with the system, of images that are bound to that of the VM.
fn check_bound(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("containers of bound images start with the system", || {
        vm.sh("systemctl is-system-running --wait || true");
        let states = vm.sh("systemctl is-active plain.service bootc.service");
        assert_eq!(states, "active\nactive");
        let running = vm.sh("podman ps --format '{{.Names}} {{.Image}}' | sort");
        let expected =
            ["bootc", "plain"].map(|name| format!("systemd-{name} {}", images::minimal()));
        assert_eq!(running, expected.join("\n"));
    });
    checks.check(
        "a notice names the image that the host lacks, and no other",
        || {
            let described = vm.described();
            let notice = "podman pull quay.io/example/nobody-has:1`";
            assert!(described.contains(notice), "{described}");
        },
    );
}

fn check_cloud_init(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("cloud-init does what its user data says", || {
        // The exit code is 2 if it has warnings.
        let status = vm.run_sh("cloud-init status --wait --long; cloud-id");
        let _ = status
            .expect_stdout("status: done")
            .expect_stdout("nocloud");
        assert_eq!(vm.sh("cat /etc/of-the-user"), "written");
    });
    checks.check("nobody but root reads it", || {
        let modes = vm.sh("stat -c %a /var/lib/cloud/seed/nocloud/*");
        assert_eq!(modes, "600\n600");
    });
}

/// Builds an image that brings another along, for podman in the guest, on a `base`. bcvk is all that one has, and
/// large enough for its layer not to be copied at the start of the guest.
fn image_with_another(sandbox: &Sandbox, base: &str) -> String {
    let [files, own, context] =
        ["files", "own", "context"].map(|name| sandbox.make_dir(&format!("preloaded-{name}")));
    fs::copy(sandbox.bcvk_path(), files.join("bcvk")).expect("copied");
    let tar = own.join("image.tar");
    let archive = sandbox.command("tar").args(["--create", "--file"]);
    let archive = archive.arg(&tar).arg("--directory").arg(&files).arg(".");
    let _ = archive.run().expect_success();
    let _ = sandbox
        .podman(["--storage-driver=overlay", "--root"])
        .arg(own.join("root"))
        .arg("--runroot")
        .arg(own.join("run"))
        .args(["import", "--quiet"])
        .arg(&tar)
        .arg("localhost/preloaded")
        .run()
        .expect_success();
    for part in ["overlay", "overlay-images", "overlay-layers"] {
        let copy = sandbox.command("cp").arg("--archive");
        let copy = copy.arg(own.join("root").join(part)).arg(&context);
        let _ = copy.run().expect_success();
    }
    let containerfile = format!("{base}\nCOPY . /var/lib/containers/storage/\n");
    sandbox.build_image_from("preloaded", &containerfile, &context, &[])
}

#[test]
fn podman_in_the_guest_runs_images_of_the_host() {
    let sandbox = Sandbox::new();
    let [secret, volume, older, younger] =
        ["secret", "volume", "older", "younger"].map(|part| sandbox.name(part));
    let written = make_container(&sandbox, &older);
    let file = sandbox.path().join("private");
    let file = file.to_str().expect("text");
    podman(&sandbox, &["secret", "create", &secret, file]);
    podman(&sandbox, &["volume", "create", &volume]);
    let base = include_str!("fixtures/Containerfile.bound");
    let image = image_with_another(&sandbox, base);
    let user_data = sandbox.path().join("user-data");
    let text = "#cloud-config\nwrite_files:\n- {path: /etc/of-the-user, content: written}\n";
    fs::write(&user_data, text).expect("written");
    let cloud_init = format!("--cloud-init={}", user_data.display());
    let options = ["--bind-storage-ro", "--var-disk=8G", &*cloud_init];
    let vm = sandbox.boot("vm", &options, &image);
    let mut checks = Checks::new();
    checks.check("an image that came with the VM's", || {
        let said = vm.sh("podman run --rm --network=none localhost/preloaded /bcvk --version");
        assert!(said.starts_with("bcvk "), "{said}");
    });
    checks.check("podman's overlays are the kernel's, on the disk", || {
        let info = "podman info --format '{{.Store.GraphDriverName}} {{.Store.GraphStatus}}'";
        let info = vm.sh(info);
        for word in [
            "overlay ",
            "Backing Filesystem:extfs",
            "Native Overlay Diff:true",
        ] {
            assert!(info.contains(word), "{info}");
        }
    });
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
        let image = images::minimal();
        let found = vm.sh(&format!(
            "podman run --rm --pull=never --network=none {image} \
             sh -c 'grep VERSION_CODENAME /etc/os-release; ls /usr/sbin/sshd 2>&1; \
             echo written >/usr/x && cat /usr/x'"
        ));
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!(lines[0], "VERSION_CODENAME=trixie");
        // The file is hidden by a whiteout of a later layer.
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
    check_bound(&mut checks, &vm);
    check_cloud_init(&mut checks, &vm);
    checks.check("nothing but images is there", || {
        assert_unseen(&vm, &written);
    });
    checks.check("nor of a container that is younger than the VM", || {
        assert_unseen(&vm, &make_container(&sandbox, &younger));
    });
    vm.stop();
    vm.discard();
    sandbox.remove_image(&image);
    podman(&sandbox, &["rm", "--ignore", &older, &younger]);
    podman(&sandbox, &["volume", "rm", &volume]);
    podman(&sandbox, &["secret", "rm", &secret]);
    checks.finish();
    sandbox.finish();
}
