//! Ports, sockets and the agent.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use super::Server;

/// A client that forwards something, until it is dropped.
struct Forwarding(Child);

impl Drop for Forwarding {
    fn drop(&mut self) {
        // It may have failed before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn forward<const N: usize>(server: &Server, arguments: [&str; N]) -> Forwarding {
    let mut client = server.client("ssh");
    client
        .args(["-N", "-o", "ExitOnForwardFailure=yes"])
        .args(arguments)
        .arg("vm");
    Forwarding(client.spawn().expect("ssh runs"))
}

/// Answers each connection with what it has sent, in capitals.
fn shout(mut stream: impl Read + Write) {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    stream
        .write_all(text.to_uppercase().as_bytes())
        .expect("written");
}

fn shouting_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(|| shout(stream.expect("a connection")));
        }
    });
    port
}

/// Says something to a port once it listens, and returns the answer.
fn ask(port: u16) -> String {
    let mut stream = None;
    super::until(|| {
        stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok();
        stream.is_some()
    });
    let mut stream = stream.expect("a connection");
    stream.write_all(b"hello").expect("written");
    stream.shutdown(Shutdown::Write).expect("shut down");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    text
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    listener.local_addr().expect("an address").port()
}

#[test]
fn ports_lead_in_and_out() {
    let server = Server::start();
    let target = shouting_port();
    for flag in ["-L", "-R"] {
        for host in ["127.0.0.1", "localhost"] {
            let port = free_port();
            let _client = forward(&server, [flag, &format!("{port}:{host}:{target}")]);
            assert_eq!(ask(port), "HELLO", "{flag} {host}");
        }
    }
}

#[test]
fn a_port_is_free_once_its_forwarding_is_cancelled() {
    let server = Server::start();
    let control = format!("ControlPath={}", server.path("control").display());
    let port = free_port();
    let remote = format!("{port}:127.0.0.1:{}", shouting_port());
    let _client = forward(&server, ["-M", "-o", &control, "-R", &remote]);
    assert_eq!(ask(port), "HELLO");
    let output = server.ssh(["-o", &control, "-O", "cancel", "-R", &remote, "vm"]);
    assert!(output.status.success(), "{output:?}");
    super::until(|| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    // The server chooses a port if it is to.
    let any = format!("0:127.0.0.1:{}", shouting_port());
    let output = server.ssh(["-o", &control, "-O", "forward", "-R", &any, "vm"]);
    let chosen = String::from_utf8_lossy(&output.stdout).trim().parse();
    assert_eq!(ask(chosen.expect("a port")), "HELLO");
}

#[test]
fn a_proxy_leads_anywhere() {
    let server = Server::start();
    let (port, target) = (free_port(), shouting_port());
    let _client = forward(&server, ["-D", &port.to_string()]);
    let mut stream = None;
    super::until(|| {
        stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok();
        stream.is_some()
    });
    let mut stream = stream.expect("a connection");
    // SOCKS 4 (no user), which OpenSSH's client speaks too.
    let [high, low] = target.to_be_bytes();
    stream
        .write_all(&[4, 1, high, low, 127, 0, 0, 1, 0])
        .expect("written");
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer[1], 90);
    stream.write_all(b"hello").expect("written");
    stream.shutdown(Shutdown::Write).expect("shut down");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    assert_eq!(text, "HELLO");
}

#[test]
fn a_refused_connection_is_told() {
    let server = Server::start();
    for target in [
        format!("127.0.0.1:{}", free_port()),
        "no-such-host.invalid:1".to_owned(),
    ] {
        let output = server.ssh(["-v", "-W", &target, "vm"]);
        assert_eq!(output.status.code(), Some(255));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("open failed: connect failed"), "{errors}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "nobody else is in the directory")]
fn sockets_lead_in_and_out() {
    let server = Server::start();
    let target = server.path("target");
    let listener = UnixListener::bind(&target).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming() {
            shout(stream.expect("a connection"));
        }
    });
    for flag in ["-L", "-R"] {
        let socket = server.path(flag);
        let _client = forward(
            &server,
            [flag, &format!("{}:{}", socket.display(), target.display())],
        );
        let mut stream = None;
        super::until(|| {
            stream = UnixStream::connect(&socket).ok();
            stream.is_some()
        });
        let mut stream = stream.expect("a connection");
        stream.write_all(b"hello").expect("written");
        stream.shutdown(Shutdown::Write).expect("shut down");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text");
        assert_eq!(text, "HELLO", "{flag}");
    }
    super::until(|| !server.path("-R").exists());
}

#[test]
fn the_agent_is_reached_from_a_session() {
    let server = Server::start();
    let socket = server.path("agent");
    let agent = Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .expect("ssh-agent runs");
    let _agent = Forwarding(agent);
    super::until(|| socket.exists());
    let added = Command::new("ssh-add")
        .arg("-q")
        .arg(server.path("key"))
        .env("SSH_AUTH_SOCK", &socket)
        .status();
    assert!(added.expect("ssh-add runs").success());
    let identity = format!("IdentityAgent={}", socket.display());
    let listed = server.said([
        "-A",
        "-o",
        &identity,
        "vm",
        "ssh-add -l; echo $SSH_AUTH_SOCK",
    ]);
    let (keys, path) = listed.trim().rsplit_once('\n').expect("two lines");
    assert!(keys.contains("ED25519"), "{keys}");
    super::until(|| {
        !std::path::Path::new(path)
            .parent()
            .expect("a directory")
            .exists()
    });
    assert_eq!(server.said(["vm", "echo ${SSH_AUTH_SOCK-none}"]), "none\n");
}
