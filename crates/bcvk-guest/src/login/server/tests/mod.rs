//! OpenSSH's client with the server, over a TCP socket of this machine.

mod files;
mod forwarding;
mod sessions;
mod transfer;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::key_pair::KeyPair;
use bcvk_contract::spec::EnvVar;
use rustix::process::{getgid, getuid};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::fuzzing::server;
use super::session::Launcher;

/// Amount of data that no buffer between the programs holds.
const MUCH: u64 = 64 << 20;
/// Name of the user that the tests run as, in the server's passwd file.
const USER: &str = "tester";

/// A server for one test, with the files of its clients.
struct Server {
    dir: TempDir,
    port: u16,
    _runtime: Runtime,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let [host, user, stranger] =
            ["host", "user", "stranger"].map(|name| KeyPair::generate(name).expect("a key"));
        for (name, text) in [("key", &user), ("stranger", &stranger)] {
            let path = dir.path().join(name);
            fs::write(&path, text.private()).expect("written");
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
        }
        let given = EnvVar {
            name: "GIVEN".to_owned(),
            value: "a value".to_owned(),
        };
        let server = super::Server {
            root: guest(dir.path()),
            launcher: launcher(),
            ..server(&host, user.public(), vec![given])
        };
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)));
        let listener = listener.expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        runtime.spawn(accept(listener, server.into()));
        let server = Self {
            dir,
            port,
            _runtime: runtime,
        };
        server.configure(host.public());
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, host_key: &str) {
        let file = |name| self.path(name).display().to_string();
        fs::write(self.path("known_hosts"), format!("vm {host_key}\n")).expect("written");
        let config = format!(
            "Host vm\n HostName 127.0.0.1\n HostKeyAlias vm\n Port {}\n User {USER}\n \
             IdentityFile {}\n IdentitiesOnly yes\n IdentityAgent none\n UserKnownHostsFile {}\n \
             GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking yes\n BatchMode yes\n LogLevel ERROR\n",
            self.port,
            file("key"),
            file("known_hosts"),
        );
        fs::write(self.path("config"), config).expect("written");
    }

    /// Returns a command of OpenSSH's that knows the server as `vm`.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg("-F")
            .arg(self.path("config"))
            .stdin(Stdio::null());
        command
    }

    fn ssh<const N: usize>(&self, arguments: [&str; N]) -> Output {
        self.client("ssh")
            .args(arguments)
            .output()
            .expect("ssh runs")
    }

    /// Returns the output of a client that succeeds.
    #[track_caller]
    fn said<const N: usize>(&self, arguments: [&str; N]) -> String {
        let output = self.ssh(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{arguments:?}: {}: {errors}",
            output.status
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

async fn accept(listener: TcpListener, server: Arc<super::Server>) {
    while let Ok((stream, _)) = listener.accept().await {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.serve(stream).await });
    }
}

/// Makes a root that has the user of the tests, and shells.
fn guest(dir: &Path) -> PathBuf {
    let root = dir.join("root");
    let home = dir.join("home");
    fs::create_dir_all(root.join("etc")).expect("a directory");
    fs::create_dir(&home).expect("a directory");
    fs::create_dir(root.join("bin")).expect("a directory");
    for shell in ["bash", "sh"] {
        // The one that is executed is this machine's.
        let path = root.join("bin").join(shell);
        fs::write(&path, "").expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
    }
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let passwd = format!(
        "{USER}:!:{uid}:{gid}::{}:/bin/bash\nother:!:65534:65534::/:/usr/sbin/nologin\n",
        home.display()
    );
    fs::write(root.join("etc/passwd"), passwd).expect("written");
    fs::write(root.join("etc/group"), "more:x:64001:other\n").expect("written");
    root
}

/// Returns the example that becomes a session's process. It is built with the tests.
fn launcher() -> Launcher {
    let test = std::env::current_exe().expect("a program");
    let program = test
        .ancestors()
        .nth(2)
        .expect("a directory")
        .join("examples/session");
    assert!(
        program.exists(),
        "{} is built with the tests",
        program.display()
    );
    Launcher {
        program,
        arguments: Vec::new(),
    }
}

/// Waits until `condition` is met.
#[track_caller]
fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "the time is over");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Makes a file that does not repeat itself.
fn much(server: &Server) -> PathBuf {
    let path = server.path("much");
    let mut random = File::open("/dev/urandom").expect("a device").take(MUCH);
    std::io::copy(&mut random, &mut File::create(&path).expect("a file")).expect("copied");
    path
}

fn hash(path: &Path) -> Vec<u8> {
    Sha256::digest(fs::read(path).expect("read")).to_vec()
}
