//! `--bind` and `--ro-bind`: one directory, seen from both sides.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use bcvk_testkit::{Checks, Sandbox, Vm, images};

#[test]
fn directories_of_the_host_are_shared_as_asked() {
    let sandbox = Sandbox::new().resuming();
    let rw = sandbox.make_dir("rw");
    let ro = sandbox.make_dir("ro");
    let odd = sandbox.make_dir("odd name, with \"things\"");
    let at_path = sandbox.make_dir("at-path");
    fs::write(rw.join("from-host"), "host\n").expect("write");
    fs::write(ro.join("from-host"), "host\n").expect("write");
    fs::write(odd.join("file"), "odd\n").expect("write");
    fs::write(at_path.join("file"), "at path\n").expect("write");
    let path = |dir: &Path| dir.to_str().expect("UTF-8").to_owned();
    // The VM has no network, because nothing here needs one: ssh does not either.
    let vm = sandbox.boot(
        "vm",
        &[
            "--rm",
            "--network=none",
            "--bind",
            &format!("{}:project", path(&rw)),
            "--ro-bind",
            &path(&ro),
            "--ro-bind",
            &format!("{}:odd", path(&odd)),
            "--bind",
            &format!("{}:/srv/data", path(&at_path)),
        ],
        images::trixie(),
    );
    let mut checks = Checks::new();

    checks.check("the guest reads what the host wrote", || {
        assert_eq!(vm.sh("cat /run/virtiofs-mnt-project/from-host"), "host");
        assert_eq!(vm.sh("cat /run/virtiofs-mnt-odd/file"), "odd");
    });
    checks.check("without a name, a share has its directory's", || {
        assert_eq!(vm.sh("cat /run/virtiofs-mnt-ro/from-host"), "host");
    });
    checks.check("a share at a path", || {
        assert_eq!(vm.sh("cat /srv/data/file"), "at path");
    });
    check_changes(&mut checks, &sandbox, &vm, &rw, &ro);
    check_read_only(&mut checks, &vm, &ro);
    vm.stop();
    checks.check("what was written stays", || {
        assert_eq!(
            fs::read_to_string(rw.join("from-guest")).expect("read"),
            "guest\n"
        );
    });
    checks.finish();
    sandbox.finish();
}

fn check_changes(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>, rw: &Path, ro: &Path) {
    checks.check("the host reads what the guest wrote", || {
        vm.sh("cd /run/virtiofs-mnt-project && echo guest >from-guest && mkdir d && ln -s from-guest l && chmod 640 from-guest");
        assert_eq!(fs::read_to_string(rw.join("from-guest")).expect("read"), "guest\n");
        assert_eq!(fs::read_link(rw.join("l")).expect("read").to_str(), Some("from-guest"));
        let meta = fs::metadata(rw.join("from-guest")).expect("metadata");
        assert_eq!(meta.permissions().mode() & 0o777, 0o640);
        assert_eq!(meta.uid(), own_uid(), "the guest's root is whoever runs bcvk");
    });
    checks.check("changes go on being seen, both ways", || {
        fs::write(rw.join("from-host"), "again\n").expect("write");
        fs::write(rw.join("new"), "new\n").expect("write");
        assert_eq!(
            vm.sh("cd /run/virtiofs-mnt-project && cat from-host new"),
            "again\nnew"
        );
        vm.sh(
            "rm /run/virtiofs-mnt-project/new; echo changed >>/run/virtiofs-mnt-project/from-host",
        );
        assert!(!rw.join("new").exists());
        assert_eq!(
            fs::read_to_string(rw.join("from-host")).expect("read"),
            "again\nchanged\n"
        );
        fs::write(ro.join("from-host"), "changed\n").expect("write");
        assert_eq!(vm.sh("cat /run/virtiofs-mnt-ro/from-host"), "changed");
    });
    checks.check("a file of 64 MiB arrives whole", || {
        let sum = vm.sh("cd /run/virtiofs-mnt-project && head -c 67108864 /dev/urandom >big && sync && sha256sum <big");
        let here = sandbox.command("sha256sum").arg(rw.join("big")).run().expect_success();
        assert_eq!(here.text().split(' ').next(), sum.split(' ').next());
    });
}

fn check_read_only(checks: &mut Checks, vm: &Vm<'_>, ro: &Path) {
    checks.check("guest root cannot write to a read-only share", || {
        let output = vm
            .run_sh(
                "cd /run/virtiofs-mnt-ro || exit 9\n\
                 try() { \"$@\" 2>&1 && echo \"DONE: $*\"; }\n\
                 try touch new; try mkdir dir; try rm from-host; try chmod 777 from-host; try chown 1 .; \
                 try ln -s x y; try mv from-host moved; try truncate -s 0 from-host; try sh -c 'echo x >from-host'\n\
                 cd /; try mount -o remount,rw /run/virtiofs-mnt-ro; try touch /run/virtiofs-mnt-ro/after-remount\n\
                 tag=$(findmnt -n -o SOURCE /run/virtiofs-mnt-ro); mkdir /tmp/again; \
                 mount -t virtiofs -o rw \"$tag\" /tmp/again 2>&1; try touch /tmp/again/after-mount; \
                 try rm /tmp/again/from-host; true",
            )
            .expect_success();
        let stdout = output.stdout();
        let done: Vec<&str> = stdout.lines().filter(|l| l.starts_with("DONE: ")).collect();
        // The guest may decide for itself whether to call its own mount writable.
        let done: Vec<_> = done.iter().filter(|l| !l.contains("remount,rw")).collect();
        assert!(done.is_empty(), "{done:?} in {output}");
        assert_eq!(fs::read_to_string(ro.join("from-host")).expect("read"), "changed\n");
        let names: Vec<_> = fs::read_dir(ro).expect("list").flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    });
    checks.check("the guest's root file system takes no writes by another mount either", || {
        let output = vm.run_sh(
            "mkdir -p /tmp/root; mount -t virtiofs -o rw rootfs /tmp/root 2>&1; touch /tmp/root/usr/x 2>&1 && echo WROTE; true",
        );
        assert!(!output.stdout().contains("WROTE"), "{output}");
    });
}

fn own_uid() -> u32 {
    fs::metadata("/proc/self").expect("own process").uid()
}
