//! An image can do nothing to the host. No byte of it runs or is configuration outside of the
//! guest, and what it says of itself as a container is heard by nobody. `docs/threat-model.md`
//! names these tests.

mod processes;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bcvk_testkit::{Checks, Sandbox, Vm, images, limit, until};

use processes::{check_container, check_listings, check_marks, check_processes};

/// Limit for a command that starts no guest: podman's part of it is a second or two.
const SECONDS: Duration = Duration::from_secs(20);

/// Label with which an image of ours begins.
const BOOTC: &str = "LABEL containers.bootc=1";

/// A library of the image's for every way to load one.
const LIBRARY: &str = "/hostile/mark.so";

/// Programs look for these in their working directory before they look elsewhere.
const FIRMWARE: [&str; 4] = [
    "bios-256k.bin",
    "linuxboot_dma.bin",
    "kvmvapic.bin",
    "efi-virtio.rom",
];

/// Labels by which an image could pass for a VM, or ask podman for something.
const LABELS: [&str; 4] = [
    "bcvk.ephemeral=1",
    "bcvk.runner=1",
    "io.containers.capabilities=CHOWN",
    "io.podman.annotations.privileged=TRUE",
];

fn write(path: PathBuf, text: &str) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("make a directory");
    fs::write(path, text).expect("write");
}

/// Compiles [`LIBRARY`].
fn compile(sandbox: &Sandbox, library: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hostile_image/mark.c");
    let _ = sandbox
        .command("gcc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
        .args([library, &source])
        .run()
        .expect_success();
}

/// An image that boots, and that tries all that an image can try which boots.
fn build_bootable(sandbox: &Sandbox, vm: &str) -> String {
    let context = sandbox.make_dir("hostile");
    let root = context.join("root");
    write(root.join("hostile/.keep"), "");
    compile(sandbox, &root.join(LIBRARY.trim_start_matches('/')));
    let openssl = format!(
        "openssl_conf = init\n[init]\nengines = all\n[all]\nmark = mark\n[mark]\ndynamic_path = {LIBRARY}\n"
    );
    for (file, text) in [
        ("etc/ld.so.preload", LIBRARY),
        ("etc/ssl/openssl.cnf", &openssl),
        ("etc/nsswitch.conf", "passwd: files\nhosts: files mark\n"),
        ("etc/gai.conf", "reload yes\nlabel ::/0 0\n"),
        ("etc/host.conf", "multi on\ntrim .example\n"),
        ("etc/qemu/bridge.conf", "allow all\n"),
        ("etc/sasl2/qemu.conf", "mech_list: anonymous\n"),
        (
            "etc/ssh/ssh_config",
            "Match exec \"touch /tmp/hostile-mark\"\n",
        ),
    ] {
        write(root.join(file), text);
    }
    for file in FIRMWARE {
        write(root.join(file), "no firmware\n");
    }
    symlink("/etc/shadow", root.join(".bcvk-swap")).expect("link");
    let mut containerfile = String::from(
        "FROM BASE\n\
         ENV LD_PRELOAD=/hostile/mark.so GLIBC_TUNABLES=glibc.malloc.check=3 PATH=/hostile \\\n\
         container=oci BCVK_VCPUS=7 BCVK_MARK=hostile RUST_LOG=trace HOME=/hostile\n\
         VOLUME /run /run/bcvk /run/bcvk-image /usr /etc /hostile\n\
         EXPOSE 22 80/udp\n\
         WORKDIR /hostile\n\
         USER nobody:nogroup\n\
         STOPSIGNAL SIGKILL\n\
         SHELL [\"/hostile/shell\"]\n\
         ENTRYPOINT [\"/hostile/entry\"]\n\
         CMD [\"/hostile/command\"]\n\
         HEALTHCHECK --interval=1s CMD [\"/hostile/health\"]\n",
    );
    for label in LABELS {
        let _ = writeln!(containerfile, "LABEL {label}");
    }
    let _ = writeln!(containerfile, "LABEL bcvk.vm={vm}\nCOPY root/ /");
    // Only this image format has all of these fields.
    sandbox.build_image_from(
        "image",
        &containerfile,
        &context,
        &["--format=docker", "--cap-add=MKNOD"],
    )
}

/// Files below `dir` that have the mark or its name.
fn marked(sandbox: &Sandbox, dir: &Path) -> String {
    let grep = sandbox
        .command("grep")
        .args(["-rlaD", "skip", "HOSTILE-MARK"])
        .arg(dir)
        .run();
    let find = sandbox
        .command("find")
        .arg(dir)
        .args(["-name", "hostile-mark*"])
        .run();
    grep.text() + &find.text()
}

#[test]
fn nothing_of_an_image_runs_outside_of_the_guest() {
    let sandbox = Sandbox::new();
    let (share, logs) = (sandbox.make_dir("share"), sandbox.make_dir("logs"));
    let image = build_bootable(&sandbox, "0123456789abcdef");
    let vm = sandbox.boot(
        "vm",
        &[
            &format!("--bind={}", share.display()),
            &format!("--log-dir=console={}", logs.display()),
            "--add-swap=64M",
        ],
        &image,
    );
    let mut checks = Checks::new();
    checks.check(
        "it boots, and its library is in all of its programs",
        || {
            assert_eq!(vm.sh("cat /etc/ld.so.preload"), LIBRARY);
            assert_eq!(vm.sh("grep -c mark.so /proc/self/maps | tr -d 0"), "5");
        },
    );
    check_marks(&mut checks, &sandbox, &vm, &[&share, &logs]);
    check_processes(&mut checks, &sandbox, &vm);
    check_container(&mut checks, &sandbox, &vm);
    check_listings(&mut checks, &sandbox, &vm, &image);
    checks.check("podman stop shuts the guest down", || {
        vm.stop();
        let last = vm.inspect("{{.State.ExitCode}}");
        assert_eq!(last, "0", "{}", vm.logs());
    });
    check_marks(&mut checks, &sandbox, &vm, &[&share, &logs]);
    vm.discard();
    sandbox.remove_image(&image);
    checks.finish();
    sandbox.finish();
}

/// Prepares the root of an image that boots nothing.
type Root = fn(&Path);

fn link(root: &Path, target: &str, names: &[&str]) {
    for name in names {
        symlink(target, root.join(name)).expect("link");
    }
}

/// An image's directories in which podman, the OCI runtime or bcvk makes or mounts something.
const MOUNTED: [&str; 9] = [
    "run", "usr", "etc", "proc", "dev", "sys", "tmp", "boot", "lib64",
];

/// Roots that nobody can boot, and on which somebody would stumble who trusts them.
const ROOTS: [(&str, Root); 9] = [
    ("to-root", |root| link(root, "/", &MOUNTED)),
    ("to-each-other", |root| {
        for (index, name) in MOUNTED.iter().enumerate() {
            let next = MOUNTED[(index + 1) % MOUNTED.len()];
            symlink(format!("/{next}"), root.join(name)).expect("link");
        }
    }),
    ("to-themselves", |root| {
        for name in MOUNTED {
            symlink(name, root.join(name)).expect("link");
        }
    }),
    ("dangling", |root| link(root, "/nowhere/at/all", &MOUNTED)),
    ("upwards", |root| {
        link(root, "../../../../../../../../../../..", &MOUNTED);
    }),
    ("to-proc", |root| {
        link(root, "/proc/1/root", &["run", "usr", "etc", "sys", "dev"]);
    }),
    ("files", |root| {
        for name in MOUNTED {
            write(root.join(name), "a file\n");
        }
    }),
    ("closed", |root| {
        for name in MOUNTED {
            fs::create_dir(root.join(name)).expect("make a directory");
            let closed = fs::Permissions::from_mode(0o000);
            fs::set_permissions(root.join(name), closed).expect("close it");
        }
    }),
    ("odd-kernel", |root| {
        // Here, the kernel, its modules and its description are something else.
        let modules = root.join("usr/lib/modules/6.1.0");
        fs::create_dir_all(&modules).expect("make a directory");
        link(&modules, "/dev/zero", &["vmlinuz", "initramfs.img"]);
        link(root, "/usr/lib/modules/6.1.0/vmlinuz", &["etc", "run"]);
        link(&root.join("usr/lib"), "/proc/self/mem", &["os-release"]);
    }),
];

#[test]
fn links_in_place_of_directories_lead_nowhere() {
    let sandbox = Sandbox::new();
    let canary = sandbox.make_dir("canary");
    fs::write(canary.join("file"), "as it was\n").expect("write");
    let before = state_of(&sandbox, &canary);
    let mut roots: Vec<(&str, PathBuf)> = Vec::new();
    for (name, make) in ROOTS {
        let root = sandbox.make_dir(name);
        make(&root);
        roots.push((name, root));
    }
    let root = sandbox.make_dir("to-the-host");
    link(&root, &canary.display().to_string(), &MOUNTED);
    roots.push(("to-the-host", root));
    let mut checks = Checks::new();
    for (name, root) in roots {
        checks.check(name, || {
            let image = sandbox.import_image(name, &root, &[BOOTC]);
            let vm = sandbox.name(&format!("vm-{name}"));
            let output = sandbox
                .bcvk(["run", "--rm", "--network=none", "--name", &vm, &image])
                .limit(SECONDS)
                .run();
            assert_ne!(output.code(), Some(0), "{output}");
            let _ = output
                .expect_stderr("error: ")
                .expect_no_stderr("panicked at")
                .expect_within(SECONDS);
            sandbox.expect_nothing_left();
            sandbox.remove_image(&image);
        });
        checks.check(&format!("{name}: the host is as it was"), || {
            assert_eq!(state_of(&sandbox, &canary), before);
        });
    }
    checks.finish();
    sandbox.finish();
}

/// Describes everything below `dir` with all that a change would change.
fn state_of(sandbox: &Sandbox, dir: &Path) -> String {
    let format = "%P %y %m %U %G %s %n %T@ %C@ %l\n";
    let find = sandbox.command("find").arg(dir);
    let state = find.args(["-xdev", "-printf", format]).run();
    state.expect_success().stdout()
}

/// Files that nobody opens who does not wait: QEMU must run, although each of them is configuration
/// of a program that is dynamically linked, shows a time or looks up a name.
#[test]
fn no_program_waits_for_a_file_of_the_image() {
    let sandbox = Sandbox::new();
    let image = sandbox.build_image_named(
        "image",
        "FROM BASE\n\
         RUN mkdir -p /etc/ssl && perl -MPOSIX=mkfifo -e 'for (qw(localtime nsswitch.conf gai.conf host.conf \
         ld.so.preload ld.so.cache services protocols ssl/openssl.cnf)) { \
         unlink \"/etc/$_\"; mkfifo(\"/etc/$_\", 0666) or die \"$_: $!\" } \
         for (qw(/lib64 /lib /bin /sbin)) { unlink or die \"$_: $!\"; mkdir or die \"$_: $!\" } \
         mkdir \"/lib/x86_64-linux-gnu\"; \
         for (qw(/lib64/ld-linux-x86-64.so.2 /lib/x86_64-linux-gnu/libc.so.6)) { \
         open(F, \">$_\") or die \"$_: $!\"; chmod(0755, $_) }'\n",
    );
    // Nobody could log in to what is left of it.
    let vm = sandbox.boot("vm", &["--rm", "--no-ssh-keygen"], &image);
    until("the guest's kernel runs", limit::QUICK, || {
        let logs = sandbox.bcvk(["logs", vm.name()]).run();
        logs.stdout().contains("Linux version")
    });
    vm.discard();
    sandbox.remove_image(&image);
    sandbox.finish();
}

/// Annotations that OCI runtimes, podman and systemd obey, and one that means nothing.
const ANNOTATIONS: [&str; 5] = [
    "run.oci.hooks.stdout=/tmp/hostile-mark",
    "run.oci.keep_original_groups=1",
    "org.systemd.property.Description='hostile-mark'",
    "io.podman.annotations.seccomp=unconfined",
    "org.opencontainers.image.title=hostile",
];

#[test]
fn annotations_of_an_image_are_not_obeyed() {
    let sandbox = Sandbox::new();
    let context = sandbox.make_dir("context");
    let options: Vec<String> = ANNOTATIONS
        .iter()
        .map(|annotation| format!("--annotation={annotation}"))
        .collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let image = sandbox.build_image_from("image", "FROM BASE\n", &context, &options);
    let name = sandbox.name("vm");
    let output = sandbox
        .bcvk(["run", "-d", "--name", &name, &image])
        .limit(SECONDS)
        .run();
    // Either the image is refused by its name, or none of its values arrives.
    if output.code() == Some(0) {
        let vm = Vm::of(&sandbox, &name, None);
        for annotation in ANNOTATIONS {
            let (key, value) = annotation.split_once('=').expect("a value");
            let found = vm.inspect(&format!("{{{{index .Config.Annotations \"{key}\"}}}}"));
            assert_ne!(found, value, "{key}");
        }
        vm.discard();
    } else {
        let _ = output.expect_error(125, &[&image]);
    }
    assert!(!Path::new("/tmp/hostile-mark").exists());
    sandbox.remove_image(&image);
    sandbox.finish();
}

/// Imports an image whose labels say that it is the VM `id`.
fn import_lookalike(sandbox: &Sandbox, id: &str) -> String {
    let root = sandbox.make_dir("root");
    fs::write(root.join("program"), "").expect("write");
    let its_id = format!("LABEL bcvk.vm={id}");
    let changes: Vec<String> = LABELS
        .iter()
        .map(|label| format!("LABEL {label}"))
        .collect();
    let mut changes: Vec<&str> = changes.iter().map(String::as_str).collect();
    changes.extend([BOOTC, &its_id]);
    sandbox.import_image("stranger", &root, &changes)
}

/// A container that somebody has made of an image with our labels is none of ours.
#[test]
fn a_strangers_container_is_no_vm_whatever_its_image_says() {
    // Because of `rm-all`, nobody else's VMs may be there.
    let Some(sandbox) = Sandbox::apart() else {
        return;
    };
    sandbox.load_image(images::trixie());
    let vm = sandbox.boot("vm", &["--network=none"], images::trixie());
    let id = vm.inspect("{{index .Config.Labels \"bcvk.vm\"}}");
    let image = import_lookalike(&sandbox, &id);
    let stranger = sandbox.name("stranger");
    let make_stranger = || {
        let create = [
            "create",
            "--replace",
            "--name",
            &stranger,
            &image,
            "/program",
        ];
        let _ = sandbox.podman(create).run().expect_success();
    };
    let there = |what: &str| sandbox.podman(["container", "exists", what]).run().code() == Some(0);

    let mut checks = Checks::new();
    checks.check("ps", || {
        make_stranger();
        let listed = sandbox.bcvk(["ps", "-a"]).run().expect_success();
        assert!(listed.stdout().contains(vm.name()), "{listed}");
        assert!(!listed.stdout().contains(&stranger), "{listed}");
    });
    for verb in [
        &["rm"][..],
        &["rm", "--force"],
        &["stop"],
        &["inspect"],
        &["logs"],
        &["ssh-config"],
    ] {
        checks.check(&format!("{verb:?}"), || {
            make_stranger();
            let output = sandbox.bcvk(verb).arg(&stranger).run();
            let _ = output.expect_error(1, &[&stranger, "hint: "]);
            assert!(there(&stranger) && there(vm.name()) && vm.dir().is_dir());
        });
    }
    check_kept_image(&mut checks, &sandbox);
    checks.check("rm-all", || {
        make_stranger();
        let removed = sandbox.bcvk(["rm-all", "--force"]).run().expect_success();
        assert_eq!(removed.text(), vm.name(), "{removed}");
        assert!(there(&stranger) && !there(vm.name()));
    });
    if there(vm.name()) {
        vm.discard();
    }
    let _ = sandbox.podman(["rm", "--force", &stranger]).run();
    checks.finish();
    sandbox.finish();
}

fn check_kept_image(checks: &mut Checks, sandbox: &Sandbox) {
    checks.check("podman keeps the image of a VM", || {
        let prune = ["image", "prune", "--all", "--force"];
        let pruned = sandbox
            .podman(prune)
            .limit(limit::BOOT)
            .run()
            .expect_success();
        let kept = sandbox.podman(["image", "exists", images::trixie()]).run();
        assert_eq!(kept.code(), Some(0), "{pruned}");
        let rmi = sandbox.podman(["rmi", images::trixie()]).run();
        assert_ne!(rmi.code(), Some(0), "{rmi}");
    });
}
