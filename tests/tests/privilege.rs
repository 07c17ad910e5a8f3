//! What each process of a VM may do: as little as its work takes. `docs/threat-model.md` names
//! these tests.

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
    pub(super) const SETPCAP: u64 = 1 << 8;
    pub(super) const NET_BIND_SERVICE: u64 = 1 << 10;
    pub(super) const NET_RAW: u64 = 1 << 13;
    pub(super) const SYS_CHROOT: u64 = 1 << 18;
    pub(super) const MKNOD: u64 = 1 << 27;
    pub(super) const AUDIT_WRITE: u64 = 1 << 29;
    pub(super) const SETFCAP: u64 = 1 << 31;

    /// What any podman gives a container that asks for nothing.
    pub(super) const PODMANS: u64 = CHOWN
        | DAC_OVERRIDE
        | FOWNER
        | FSETID
        | KILL
        | SETGID
        | SETUID
        | SETPCAP
        | NET_BIND_SERVICE
        | NET_RAW
        | SYS_CHROOT
        | MKNOD
        | AUDIT_WRITE
        | SETFCAP;
    /// What acting for a guest's users takes.
    pub(super) const WRITERS: u64 =
        CHOWN | DAC_OVERRIDE | FOWNER | FSETID | SETGID | SETUID | SETFCAP;
}

/// A process of the VM's container.
struct Member {
    process: Process,
    status: String,
}

impl Member {
    fn number(&self, field: &str, radix: u32) -> u64 {
        let line = self.status.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name == field).then(|| value.trim())
        });
        u64::from_str_radix(line.expect(field), radix).expect("a number")
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
    let the = |word: &str| -> Vec<&Member> { members.iter().filter(|m| m.is(word)).collect() };
    let mut checks = Checks::new();
    checks.check(
        "there are those processes that are needed, and no other",
        || {
            let counts = ["supervise", "virtiofs", "guest="].map(|word| the(word).len());
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
    checks.check("QEMU has no capability, and can get none", || {
        let qemu = &the("guest=")[0];
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(qemu.capabilities(set), 0, "{set}");
        }
        // QEMU's own, besides podman's.
        assert!(qemu.number("Seccomp_filters", 10) >= 2);
    });
    checks.check("file servers have what serving takes", || {
        for server in the("virtiofs") {
            let allowed = if server.is("--read-only") {
                cap::DAC_OVERRIDE
            } else {
                cap::WRITERS
            };
            for set in ["CapPrm", "CapEff", "CapBnd"] {
                let found = server.capabilities(set);
                assert_eq!(found & !allowed, 0, "{set} {found:x} {:?}", server.process);
            }
        }
        let readers = the("--read-only").len();
        assert_eq!(readers, 2, "the image and the read-only share");
    });
    checks.check("a file server sees its share alone", || {
        for server in the("virtiofs") {
            let root = fs::read_link(server.proc("root")).expect("its root");
            let share = server.process.args.last().expect("a directory");
            assert_eq!(root, Path::new(share));
        }
    });
    check_surroundings(&mut checks, the("supervise")[0]);
    checks.check("no port of the host is open", || {
        assert_eq!(host_sockets(&vm, &members), [""; 0]);
    });
    check_secrets(&mut checks, &sandbox, &vm, &members);
    vm.discard();
    checks.finish();
    sandbox.finish();
}

/// What the container gives the process that starts the others.
fn check_surroundings(checks: &mut Checks, supervisor: &Member) {
    checks.check("the supervisor has podman's defaults", || {
        for set in ["CapEff", "CapBnd"] {
            let found = supervisor.capabilities(set);
            assert_eq!(found & !cap::PODMANS, 0, "{set} {found:x}");
        }
    });
    checks.check(
        "what can be written on the host is the VM's or was asked for",
        || {
            let mounts = fs::read_to_string(supervisor.proc("mountinfo")).expect("mounts");
            let written: BTreeSet<&str> = mounts
                .lines()
                .filter_map(|line| {
                    let fields: Vec<&str> = line.split(' ').collect();
                    let separator = fields.iter().position(|field| *field == "-")?;
                    let kind = fields[separator + 1];
                    let memory = [
                        "tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2",
                    ];
                    let own = fields[4] == "/"
                        || memory.contains(&kind) && !fields[4].starts_with("/run/bcvk");
                    let writable = fields[5].split(',').any(|option| option == "rw");
                    // podman follows the host's link, if it is one.
                    let resolver = fields[4].ends_with("resolv.conf");
                    (writable && !own && !resolver).then_some(fields[4])
                })
                .collect();
            let expected = BTreeSet::from([
                // Status, console, sockets.
                "/run/bcvk",
                // An overlay of the container's own above the image, which takes the mount points
                // of shares and goes with the container.
                "/run/bcvk-image",
                // --bind and --log-dir.
                "/run/bcvk-shares/mount_rw",
                "/run/bcvk-logs",
                // podman's own, for every container.
                "/etc/hostname",
                "/etc/hosts",
                "/run/.containerenv",
            ]);
            let unexpected: Vec<_> = written.difference(&expected).collect();
            assert!(unexpected.is_empty(), "{unexpected:?} in\n{mounts}");
            assert!(written.contains("/run/bcvk"), "{mounts}");
        },
    );
    checks.check("no device but those that every container has", || {
        let dev = supervisor.proc("root/dev");
        let found: BTreeSet<String> = fs::read_dir(dev)
            .expect("its /dev")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        let usual = [
            "console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm",
            "stderr", "stdin", "stdout", "tty", "urandom", "zero",
        ];
        let odd: Vec<_> = found
            .iter()
            .filter(|n| !usual.contains(&n.as_str()))
            .collect();
        assert!(odd.is_empty(), "{odd:?}");
    });
}

fn check_secrets(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>, members: &[Member]) {
    let dir = vm.dir();
    let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    checks.check("the key is its owner's alone", || {
        assert_eq!(mode(&dir), 0o700);
        for file in ["ssh_key", "ssh_config", "spec.json"] {
            assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
        }
    });
    checks.check("no key is where others look", || {
        let user = fs::read_to_string(dir.join("ssh_key")).expect("the key");
        let spec = fs::read_to_string(dir.join("spec.json")).expect("the spec");
        let spec: serde_json::Value = serde_json::from_str(&spec).expect("JSON");
        let host = spec["host_key"].as_str().expect("a key").to_owned();
        // A line from the middle, which is the same however the key is wrapped or quoted.
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
