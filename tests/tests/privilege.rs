//! Each process of a VM may do as little as its work takes. `docs/threat-model.md` names these tests.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bcvk_testkit::{Checks, Process, Sandbox, Vm, images};
use bcvk_tests::rights::{Member, check_rights, members, with};
use bcvk_tests::stranger::Belongings;

#[test]
fn every_process_has_the_least_rights() {
    let sandbox = Sandbox::new();
    let (rw, ro) = (sandbox.make_dir("rw"), sandbox.make_dir("ro"));
    let vm = sandbox.boot(
        "vm",
        &[
            "--rm",
            &format!("--bind={}", rw.display()),
            &format!("--ro-bind={}", ro.display()),
            &format!("--log-dir=console={}/logs", rw.display()),
        ],
        images::trixie(),
    );
    vm.sh("true");
    let members = members(&vm);
    let mut checks = Checks::new();
    // The image and the read-only share; the other share.
    check_rights(&mut checks, &members, 2, 1);
    checks.check("each process sees its part of the container alone", || {
        let place = PathBuf::from(format!(
            "/bcvk-{}",
            vm.dir().file_name().expect("ID").display()
        ));
        let root = |member: &Member| fs::read_link(member.proc("root")).expect("its root");
        assert_eq!(root(with(&members, "supervise")[0]), place);
        assert_eq!(root(with(&members, "guest=")[0]), place.join("root"));
        for server in with(&members, "virtiofs") {
            let share = server.process.args.last().expect("a directory");
            assert_eq!(root(server), place.join(share.trim_start_matches('/')));
        }
    });
    check_surroundings(&mut checks, with(&members, "supervise")[0]);
    checks.check("no port of the host is open", || {
        assert_eq!(host_sockets(&vm, &members), [""; 0]);
    });
    check_secrets(&mut checks, &sandbox, &vm, &members);
    checks.check("another user of the host gets nothing", || {
        Belongings::default().of_vm(&vm).expect_closed(&sandbox);
    });
    vm.discard();
    checks.finish();
    sandbox.finish();
}

/// Checks what the container gives the process that starts the others.
fn check_surroundings(checks: &mut Checks, supervisor: &Member) {
    checks.check(
        "what can be written on the host is the VM's or was asked for",
        || {
            let mounts = fs::read_to_string(supervisor.proc("mountinfo")).expect("mounts");
            let written: BTreeSet<&str> = mounts.lines().filter_map(writable_mount).collect();
            let expected = BTreeSet::from([
                // It has the status, the console and the sockets.
                "/run/bcvk",
                // It is an overlay of the container's own above the image, without an upper layer
                // here: it takes the mount points of shares, and goes with the container.
                "/run/bcvk-image",
                // It has the guest's kernel, initramfs and memory.
                "/root/boot",
                // These are for --bind and --log-dir.
                "/run/bcvk-shares/mount_rw",
                "/run/bcvk-logs",
            ]);
            assert_eq!(written, expected, "{mounts}");
        },
    );
    checks.check("there is no device", || {
        for dev in ["root/dev", "root/root/dev"] {
            let found = fs::read_dir(supervisor.proc(dev)).into_iter().flatten();
            let found: Vec<_> = found
                .map(|entry| entry.expect("an entry"))
                .filter(|entry| !entry.file_type().expect("a type").is_file())
                .collect();
            assert!(found.is_empty(), "{found:?}");
        }
    });
}

/// Returns the place of a mount, as the supervisor's root has it, if it can be written to.
fn writable_mount(line: &str) -> Option<&str> {
    let fields: Vec<&str> = line.split(' ').collect();
    fields[5]
        .split(',')
        .any(|option| option == "rw")
        .then_some(fields[4])
}

fn check_secrets(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>, members: &[Member]) {
    let dir = vm.dir();
    let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    checks.check("the key is its owner's alone", || {
        assert_eq!(mode(&dir), 0o700);
        for file in ["ssh_key", "ssh_config", "spec.json", "shared/ssh.sock"] {
            assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
        }
    });
    checks.check("no key is where others look", || {
        let user = fs::read_to_string(dir.join("ssh_key")).expect("the key");
        let spec = fs::read_to_string(dir.join("spec.json")).expect("the spec");
        let spec: serde_json::Value = serde_json::from_str(&spec).expect("JSON");
        let host = spec["host_key"].as_str().expect("a key").to_owned();
        // The marks are lines from the middle, which are the same however the key is wrapped or quoted.
        let marks: Vec<&str> = [&user, &host]
            .iter()
            .map(|key| key.lines().nth(2).expect("a line of the key"))
            .collect();
        let bcvks = sandbox.bcvk(["inspect", vm.name()]).run().expect_success();
        let podmans = sandbox
            .podman(["inspect", vm.name()])
            .run()
            .expect_success();
        let mut places = vec![
            ("bcvk inspect", bcvks.stdout()),
            ("podman inspect", podmans.stdout()),
            ("podman logs", vm.logs()),
        ];
        for member in members {
            let environ = fs::read(member.proc("environ")).unwrap_or_default();
            places.push(("arguments", member.process.args.join(" ")));
            places.push((
                "environment",
                String::from_utf8_lossy(&environ).into_owned(),
            ));
        }
        for (place, text) in places {
            for mark in &marks {
                assert!(!text.contains(mark), "a key is in {place}");
            }
        }
    });
}

/// Sockets that processes of the VM have in this host's network: those of its container, and podman's for it,
/// which name it.
///
/// The kernel lists sockets with their inodes (`/proc/net/tcp`), and every process's descriptors name
/// theirs. No process of a VM has a reason to have any of those, listening or connected.
fn host_sockets(vm: &Vm<'_>, members: &[Member]) -> Vec<String> {
    let id = vm.inspect("{{.Id}}");
    let podmans = Process::all()
        .into_iter()
        .filter(|process| process.args.contains(&id));
    let sockets: BTreeSet<PathBuf> = podmans
        .chain(members.iter().map(|member| member.process.clone()))
        .filter_map(|process| {
            fs::read_dir(format!("/proc/{}/fd", process.pid.as_raw_nonzero())).ok()
        })
        .flatten()
        .filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
        .collect();
    ["tcp", "tcp6", "udp", "udp6"]
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(format!("/proc/net/{file}")).expect("sockets");
            let lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
            lines
        })
        .filter(|line| {
            let inode = line.split_whitespace().nth(9).expect("an inode");
            sockets.contains(Path::new(&format!("socket:[{inode}]")))
        })
        .collect()
}
