//! Rights of the processes of a VM.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use bcvk_testkit::{Checks, Process, Vm};

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
#[derive(Debug)]
pub struct Member {
    /// The process as the host sees it.
    pub process: Process,
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

    /// Returns the path of a file in the process's directory below `/proc`.
    #[must_use]
    pub fn proc(&self, file: &str) -> PathBuf {
        self.process.proc(file)
    }
}

/// Returns the processes of the VM's container.
#[must_use]
pub fn members(vm: &Vm<'_>) -> Vec<Member> {
    let members = vm.processes().into_iter().filter_map(|process| {
        let status = fs::read_to_string(process.proc("status")).ok()?;
        Some(Member { process, status })
    });
    members.collect()
}

/// Returns the processes with `word` in their arguments.
#[must_use]
pub fn with<'a>(members: &'a [Member], word: &str) -> Vec<&'a Member> {
    members.iter().filter(|m| m.is(word)).collect()
}

/// Checks that these are all processes of a VM, of which `shares` are read-only file servers and
/// `writable` are others, and that each can do what its role takes, and no more.
///
/// # Panics
/// A check that fails is noted in `checks`; one that cannot be made is too.
pub fn check_rights(checks: &mut Checks, members: &[Member], shares: usize, writable: usize) {
    checks.check(
        "there are those processes that are needed, and no other",
        || {
            let counts = ["supervise", "--read-only", "virtiofs", "guest="];
            let counts = counts.map(|word| with(members, word).len());
            assert_eq!(counts, [1, shares, shares + writable, 1]);
            assert_eq!(members.len(), 2 + shares + writable);
        },
    );
    checks.check("seccomp filters all, and none can gain rights", || {
        for member in members {
            assert_eq!(member.number("Seccomp", 10), 2, "{:?}", member.process);
            assert_eq!(member.number("NoNewPrivs", 10), 1, "{:?}", member.process);
        }
    });
    check_qemu(checks, members);
    check_file_servers(checks, members);
    checks.check("the supervisor may only end what it has started", || {
        let tasks = fs::read_dir(with(members, "supervise")[0].proc("task"));
        for task in tasks.expect("its threads") {
            let task = task.expect("a thread").path().join("status");
            let status = fs::read_to_string(task).expect("its state");
            for set in ["CapPrm", "CapEff"] {
                let found = field(&status, set);
                assert_eq!(found & !cap::KILL, 0, "{set} {found:x}");
            }
        }
    });
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
            // Where podman is an ordinary user's, that user is root of the container.
            let supervisors = with(members, "supervise")[0].line(field);
            assert!(!supervisors.contains(ids.first().expect("one")), "{ids:?}");
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
    });
}

/// A set of capabilities in the state of a process or thread.
fn field(status: &str, set: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(set));
    let digits = line.expect(set).trim_start_matches(':').trim();
    u64::from_str_radix(digits, 16).expect("a number")
}
