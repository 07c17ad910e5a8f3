//! Test of what code in a file server can reach, tried by a process that is confined like a file
//! server.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{self, Command, Stdio};

use bcvk_contract::procfs;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, openat, symlinkat};
use rustix::process::{Pid, Signal, chroot, getppid, kill_process};

use super::{View, confine_to};

/// Variable that tells the test's process that it is the confined one.
const SHARE: &str = "BCVK_TEST_SHARE";

/// Variable that tells that process that the share cannot be written.
const READ_ONLY: &str = "BCVK_TEST_READ_ONLY";

/// Attempts that succeed in a share that can be written, which shows that the attempts are real.
const CONTROLS: [&str; 4] = [
    "list the share",
    "make a file",
    "make a link",
    "read a file",
];

#[test]
fn code_in_a_file_server_has_no_way_out_of_its_share() {
    if let Some(share) = env::var_os(SHARE) {
        attempt_all(Path::new(&share));
    }
    if !rustix::process::geteuid().is_root() {
        // Only root may change the root directory.
        return;
    }
    for (read_only, expected) in [
        (false, &CONTROLS[..]),
        (true, &["list the share", "read a file"]),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("share")).expect("made");
        for file in ["share/file", "secret"] {
            fs::write(dir.path().join(file), "text").expect("written");
        }
        let worked = attempts_in(&dir.path().join("share"), read_only);
        assert_eq!(worked, expected.iter().map(|s| (*s).to_owned()).collect());
        let names: Vec<_> = fs::read_dir(dir.path()).expect("listed").collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}

/// Runs this test again as a process of its own, which is confined; returns the attempts that
/// succeeded there.
fn attempts_in(share: &Path, read_only: bool) -> BTreeSet<String> {
    let name = module_path!().split_once("::").expect("a crate").1;
    let test = "code_in_a_file_server_has_no_way_out_of_its_share";
    let output = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture", &format!("{name}::{test}")])
        .env(SHARE, share)
        .envs(read_only.then_some((READ_ONLY, "1")))
        .stdin(Stdio::null())
        .stdout(Stdio::from(procfs::for_child().expect("procfs")))
        .stderr(Stdio::piped())
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("refused"), "{said}");
    assert_eq!(output.status.code(), Some(0), "{said}");
    let worked = said.lines().filter_map(|line| line.strip_prefix("done "));
    worked.map(str::to_owned).collect()
}

/// A named attempt; one that is not in [`CONTROLS`] must end with an error.
type Attempt = (&'static str, fn(&Held) -> io::Result<()>);

/// Descriptors and IDs that a server has when it is taken over.
struct Held {
    view: View,
    /// A directory outside, such as a descriptor that was left open.
    outside: OwnedFd,
    /// The process that has started the server.
    parent: Pid,
}

impl Held {
    fn walk(&self, path: &str) -> io::Result<()> {
        open(&self.view.descriptors, path)
    }
}

fn open(dir: impl AsFd, path: &str) -> io::Result<()> {
    openat(dir, path, OFlags::RDONLY, Mode::empty())?;
    Ok(())
}

#[allow(clippy::print_stderr, reason = "the test that has started it reads it")]
fn attempt_all(share: &Path) -> ! {
    let outside = openat(
        CWD,
        share.parent().expect("a parent"),
        OFlags::PATH | OFlags::DIRECTORY,
        Mode::empty(),
    );
    let held = Held {
        outside: outside.expect("open"),
        parent: getppid().expect("a parent"),
        view: confine_to(share, env::var_os(READ_ONLY).is_some()).expect("confined"),
    };
    for (name, attempt) in ATTEMPTS {
        match attempt(&held) {
            Ok(()) => eprintln!("done {name}"),
            Err(error) => eprintln!("refused {name}: {error}"),
        }
    }
    process::exit(0)
}

const ATTEMPTS: &[Attempt] = &[
    ("read a file", |_| fs::read("/file").map(drop)),
    ("list the share", |_| fs::read_dir("/").map(drop)),
    ("make a file", |_| fs::write("/new", "")),
    ("make a link", |_| Ok(symlinkat("..", CWD, "/link")?)),
    ("read above the root", |_| fs::read("/../secret").map(drop)),
    ("read through a link", |_| {
        fs::read("/link/secret").map(drop)
    }),
    ("read outside", |held| open(&held.outside, "secret")),
    ("list outside", |held| open(&held.outside, ".")),
    ("write outside", |held| {
        let flags = OFlags::WRONLY | OFlags::CREATE;
        openat(&held.outside, "made", flags, Mode::RWXU)?;
        Ok(())
    }),
    ("make a directory outside", |held| {
        Ok(rustix::fs::mkdirat(&held.outside, "made", Mode::RWXU)?)
    }),
    ("remove outside", |held| {
        let flags = rustix::fs::AtFlags::empty();
        Ok(rustix::fs::unlinkat(&held.outside, "secret", flags)?)
    }),
    ("link from outside", |held| {
        let flags = rustix::fs::AtFlags::empty();
        Ok(rustix::fs::linkat(
            &held.outside,
            "secret",
            CWD,
            "/secret",
            flags,
        )?)
    }),
    ("move from outside", |held| {
        Ok(rustix::fs::renameat(
            &held.outside,
            "secret",
            CWD,
            "/secret",
        )?)
    }),
    ("list processes", |held| held.walk("../..")),
    ("read another's environment", |held| {
        held.walk("../../1/environ")
    }),
    ("another's root", |held| held.walk("../../1/root")),
    ("another's descriptors", |held| held.walk("../../1/fd")),
    ("read its own memory", |held| held.walk("../maps")),
    ("write its own memory", |held| {
        openat(
            &held.view.descriptors,
            "../mem",
            OFlags::RDWR,
            Mode::empty(),
        )?;
        Ok(())
    }),
    ("the kernel's settings", |held| {
        held.walk("../../sys/kernel/core_pattern")
    }),
    ("make a device", |_| {
        let mode = Mode::RUSR | Mode::WUSR;
        let zero = rustix::fs::makedev(1, 5);
        Ok(mknodat(
            CWD,
            "/zero",
            FileType::CharacterDevice,
            mode,
            zero,
        )?)
    }),
    ("change its root", |_| Ok(chroot("/")?)),
    ("execute", |_| Command::new("/file").status().map(drop)),
    ("signal another", |held| {
        Ok(kill_process(held.parent, Signal::CONT)?)
    }),
    ("listen", |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    ("connect", |_| TcpStream::connect("127.0.0.1:1").map(drop)),
    ("make a pair of sockets", |_| UnixStream::pair().map(drop)),
    ("listen in the share", |_| {
        UnixListener::bind("/socket").map(drop)
    }),
    ("make memory that can be executed", |_| {
        let flags = rustix::fs::MemfdFlags::EXEC;
        rustix::fs::memfd_create("code", flags).map(|fd| drop(File::from(fd)))?;
        Ok(())
    }),
];
