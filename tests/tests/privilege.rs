//! Each process of a VM may do as little as its work takes. `docs/threat-model.md` names these tests.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bcvk_testkit::{Checks, Process, Sandbox, Vm, images};

/// Numbers of capabilities (Linux, include/uapi/linux/capability.h).
mod cap {
    pub(super) const CHOWN: u64 = 1 << 0;
    pub(super) const DAC_OVERRIDE: u64 = 1 << 1;
    pub(super) const FOWNER: u64 = 1 << 3;
    pub(super) const FSETID: u64 = 1 << 4;
    pub(super) const KILL: u64 = 1 << 5;
    pub(super) const SETGID: u64 = 1 << 6;
    pub(super) const SETUID: u64 = 1 << 7;
    pub(super) const SETFCAP: u64 = 1 << 31;

    /// Capabilities that acting for a guest's users takes.
    pub(super) const WRITERS: u64 =
        CHOWN | DAC_OVERRIDE | FOWNER | FSETID | SETGID | SETUID | SETFCAP;
}

/// A process of the VM's container.
struct Member {
    process: Process,
    status: String,
}

impl Member {
    fn line(&self, field: &str) -> &str {
        let line = self.status.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name == field).then(|| value.trim())
        });
        line.expect(field)
    }

    fn number(&self, field: &str, radix: u32) -> u64 {
        u64::from_str_radix(self.line(field), radix).expect("a number")
    }

    fn capabilities(&self, field: &str) -> u64 {
        self.number(field, 16)
    }

    fn is(&self, word: &str) -> bool {
        self.process.args.iter().any(|arg| arg.contains(word))
    }

    fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.process.pid.as_raw_nonzero()).into()
    }
}

fn members(vm: &Vm<'_>) -> Vec<Member> {
    let first = vm.inspect("{{.State.Pid}}");
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let container = namespace(&first);
    Process::all()
        .into_iter()
        .filter_map(|process| {
            let pid = process.pid.as_raw_nonzero().to_string();
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            (namespace(&pid) == container).then_some(Member { process, status })
        })
        .collect()
}

/// Returns the processes with `word` in their arguments.
fn with<'a>(members: &'a [Member], word: &str) -> Vec<&'a Member> {
    members.iter().filter(|m| m.is(word)).collect()
}

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
    checks.check(
        "there are those processes that are needed, and no other",
        || {
            let counts = ["supervise", "virtiofs", "guest="].map(|word| with(&members, word).len());
            assert_eq!(counts, [1, 3, 1]);
            assert_eq!(members.len(), 5);
        },
    );
    checks.check("seccomp filters all, and none can gain rights", || {
        for member in &members {
            assert_eq!(member.number("Seccomp", 10), 2, "{:?}", member.process);
            assert_eq!(member.number("NoNewPrivs", 10), 1, "{:?}", member.process);
        }
    });
    check_qemu(&mut checks, &members);
    check_file_servers(&mut checks, &members);
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
    vm.discard();
    checks.finish();
    sandbox.finish();
}

fn check_qemu(checks: &mut Checks, members: &[Member]) {
    checks.check("QEMU has no capability, and can get none", || {
        let qemu = &with(members, "guest=")[0];
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(qemu.capabilities(set), 0, "{set}");
        }
        // QEMU has its own filter, besides podman's.
        assert!(qemu.number("Seccomp_filters", 10) >= 2);
    });
    checks.check("QEMU is a user of its own", || {
        let qemu = &with(members, "guest=")[0];
        let ids = |field: &str| -> BTreeSet<String> {
            let line = qemu.line(field);
            line.split_whitespace().map(str::to_owned).collect()
        };
        for field in ["Uid", "Gid"] {
            let ids = ids(field);
            assert_eq!(ids.len(), 1, "{field}: {ids:?}");
            assert!(!ids.contains("0"), "{field}: {ids:?}");
        }
        assert!(ids("Groups").is_empty());
    });
}

fn check_file_servers(checks: &mut Checks, members: &[Member]) {
    checks.check("file servers have what serving takes", || {
        for server in with(members, "virtiofs") {
            let allowed = if server.is("--read-only") {
                cap::DAC_OVERRIDE
            } else {
                cap::WRITERS
            };
            for set in ["CapPrm", "CapEff", "CapBnd"] {
                let found = server.capabilities(set);
                assert_eq!(found & !allowed, 0, "{set} {found:x} {:?}", server.process);
            }
            // The server has its own filter, besides podman's.
            assert!(server.number("Seccomp_filters", 10) >= 2);
        }
        let readers = with(members, "--read-only").len();
        assert_eq!(readers, 2, "the image and the read-only share");
    });
}

/// A set of capabilities in the state of a process or thread.
fn field(status: &str, set: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(set));
    let digits = line.expect(set).trim_start_matches(':').trim();
    u64::from_str_radix(digits, 16).expect("a number")
}

/// Checks what the container gives the process that starts the others.
fn check_surroundings(checks: &mut Checks, supervisor: &Member) {
    checks.check("the supervisor may only end what it has started", || {
        let tasks = fs::read_dir(supervisor.proc("task")).expect("its threads");
        for task in tasks.map(|task| task.expect("a thread").path().join("status")) {
            let status = fs::read_to_string(task).expect("its state");
            for set in ["CapPrm", "CapEff"] {
                let found = field(&status, set);
                assert_eq!(found & !cap::KILL, 0, "{set} {found:x}");
            }
        }
    });
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
