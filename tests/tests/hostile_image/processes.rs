//! Traces of an image in the processes and the container of its VM.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bcvk_testkit::{Checks, MappedFile, Process, Sandbox, Vm};

use crate::marked;

pub(crate) fn check_marks(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>, given: &[&Path]) {
    checks.check("no mark on the host", || {
        let dir = vm.dir();
        for dir in [&[dir.as_path()][..], given].concat() {
            assert_eq!(marked(sandbox, dir), "", "below {}", dir.display());
        }
        assert!(!Path::new("/tmp/hostile-mark").exists());
    });
    checks.check("no mark in the container", || {
        let diff = sandbox.podman(["diff", vm.name()]).run().expect_success();
        assert!(!diff.stdout().contains("hostile-mark"), "{diff}");
    });
}

/// Memory that has a name: of a file that is nowhere, or shared without one.
pub(crate) fn is_memory(file: &MappedFile) -> bool {
    let path = file.path.to_string_lossy();
    ["/memfd:", "/dev/zero", "/anon_hugepage"]
        .iter()
        .any(|start| path.starts_with(start))
}

/// Returns true if a mapped file is the host's file of that name below `/usr`.
pub(crate) fn is_the_hosts(file: &MappedFile) -> bool {
    let path = file.path.to_string_lossy();
    let hosts = path.find("/usr/").map(|at| fs::metadata(&path[at..]));
    hosts.is_some_and(|hosts| hosts.is_ok_and(|hosts| hosts.ino() == file.inode))
}

pub(crate) fn check_processes(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    let processes = vm.processes();
    let is = |process: &Process, word: &str| process.args.iter().any(|arg| arg.contains(word));
    checks.check("no process has mapped a file of the image", || {
        let qemu = vm.qemu();
        let inode = |path: PathBuf| fs::metadata(path).expect("metadata").ino();
        let program = inode(sandbox.bcvk_path().to_owned());
        let boot = |name: &str| inode(qemu.proc(&format!("root/boot/{name}")));
        for process in &processes {
            let files = process.mapped_files();
            assert!(!files.is_empty(), "{process:?}");
            let foreign = files.iter().filter(|file| {
                let own = match file.path.file_name().and_then(|name| name.to_str()) {
                    Some("bcvk-exe") => file.inode == program,
                    Some(name @ ("memory" | "kernel" | "initrd")) => file.inode == boot(name),
                    _ => is_the_hosts(file),
                };
                !own && !is_memory(file)
            });
            let foreign: Vec<_> = foreign.collect();
            assert!(foreign.is_empty(), "{foreign:?} in {:?}", process.args);
        }
    });
    checks.check("no process has the image's root", || {
        let id = vm.inspect("{{index .Config.Labels \"bcvk.vm\"}}");
        for process in &processes {
            let root = fs::read_link(process.proc("root")).expect("its root");
            let cwd = fs::read_link(process.proc("cwd")).expect("its directory");
            let expected = if is(process, "supervise") {
                format!("/bcvk-{id}").into()
            } else if is(process, "guest=") {
                format!("/bcvk-{id}/root").into()
            } else {
                let share = process.args.last().expect("a share");
                PathBuf::from(format!("/bcvk-{id}{share}"))
            };
            assert_eq!(root, expected, "{:?}", process.args);
            assert!(
                cwd.starts_with(&root),
                "{} {:?}",
                cwd.display(),
                process.args
            );
        }
        let counts = ["supervise", "virtiofs", "guest="]
            .map(|word| processes.iter().filter(|p| is(p, word)).count());
        assert_eq!(counts, [1, 2, 1]);
    });
    checks.check("no process has the image's environment", || {
        for process in &processes {
            for text in ["hostile", "LD_", "GLIBC_", "RUST_", "BCVK_VCPUS=7"] {
                assert!(
                    !process.has_in_environment(text),
                    "{text} {:?}",
                    process.args
                );
            }
        }
    });
}

pub(crate) fn check_container(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    checks.check("the container is made by bcvk's words alone", || {
        for (field, expected) in [
            ("{{.Config.User}}", "0:0"),
            ("{{.Config.WorkingDir}}", "/"),
            ("{{.Config.StopSignal}}", "15"),
            ("{{index .Config.Labels \"bcvk.ephemeral\"}}", "1"),
            ("{{.HostConfig.Privileged}}", "false"),
        ] {
            assert_eq!(vm.inspect(field), expected, "{field}");
        }
        let all = sandbox
            .podman(["inspect", vm.name()])
            .run()
            .expect_success();
        for word in [
            "health\"",
            "\"/hostile",
            "mark.so",
            "GLIBC_TUNABLES",
            "\"volume\"",
        ] {
            assert!(!all.stdout().contains(word), "{word} {all}");
        }
        assert_ne!(
            vm.inspect("{{index .Config.Labels \"bcvk.vm\"}}"),
            "0123456789abcdef"
        );
    });
    checks.check("it has the rights of any other VM's", || {
        let status = fs::read_to_string(format!("/proc/{}/status", vm.inspect("{{.State.Pid}}")));
        let status = status.expect("its status");
        let filters = status.lines().find(|line| line.starts_with("Seccomp:"));
        assert_eq!(
            filters.expect("Seccomp").split_whitespace().last(),
            Some("2")
        );
    });
}

/// Checks that podman and bcvk show the VM and its image.
pub(crate) fn check_listings(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>, image: &str) {
    checks.check("podman knows whose image it is", || {
        let name = vm.name();
        let by = |args: &[&str]| sandbox.podman(args).run().expect_success().stdout();
        let found = by(&[
            "ps",
            "--filter",
            &format!("ancestor={image}"),
            "--format={{.Names}} {{.Image}}",
        ]);
        assert!(found.starts_with(&format!("{name} {image}")), "{found}");
        assert_eq!(found.lines().count(), 1, "{found}");
        let refused = sandbox.podman(["rmi", image]).run();
        assert_ne!(refused.code(), Some(0), "{refused}");
        let _ = refused.expect_stderr("in use");
    });
    checks.check("bcvk does, too", || {
        let _ = sandbox
            .bcvk(["ps"])
            .run()
            .expect_success()
            .expect_stdout(vm.name());
    });
}
