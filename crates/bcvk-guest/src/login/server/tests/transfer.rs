//! Much data and many sessions.

use std::fs::File;
use std::process::{Command, Stdio};
use std::thread;

use super::{MUCH, Server, hash, much};

#[test]
fn much_data_goes_both_ways_at_once() {
    let server = Server::start();
    let (from, to) = (much(&server), server.path("back"));
    let status = server
        .client("ssh")
        .args(["vm", "cat"])
        .stdin(File::open(&from).expect("a file"))
        .stdout(File::create(&to).expect("a file"))
        .status()
        .expect("ssh runs");
    assert!(status.success());
    assert_eq!(hash(&from), hash(&to));
}

#[test]
fn new_keys_are_exchanged_on_the_way() {
    let server = Server::start();
    let (from, to) = (much(&server), server.path("back"));
    let output = server
        .client("ssh")
        .args(["-v", "-o", "RekeyLimit=4M", "vm", "cat"])
        .stdin(File::open(&from).expect("a file"))
        .stdout(File::create(&to).expect("a file"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("ssh runs")
        .wait_with_output()
        .expect("it ends");
    assert!(output.status.success());
    assert_eq!(hash(&from), hash(&to));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        log.matches("SSH2_MSG_NEWKEYS received").count() > 8,
        "{log}"
    );
}

#[test]
fn each_method_of_key_exchange_works() {
    let server = Server::start();
    let known = Command::new("ssh")
        .args(["-Q", "kex"])
        .output()
        .expect("ssh runs");
    let known = String::from_utf8_lossy(&known.stdout).into_owned();
    let methods = [
        "mlkem768x25519-sha256",
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
    ];
    for method in methods
        .into_iter()
        .filter(|method| known.lines().any(|known| known == *method))
    {
        let option = format!("KexAlgorithms={method}");
        assert_eq!(
            server.said(["-o", &option, "vm", "echo in"]),
            "in\n",
            "{method}"
        );
    }
}

/// A program that produces much before it reads much needs both windows: neither may wait for the other.
#[test]
fn data_that_nobody_reads_stop_nothing_else() {
    let server = Server::start();
    let from = much(&server);
    let output = server
        .client("ssh")
        .args([
            "vm",
            "dd if=/dev/zero bs=1M count=64 status=none; wc -c >&2",
        ])
        .stdin(File::open(from).expect("a file"))
        .stdout(Stdio::null())
        .output()
        .expect("ssh runs");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr).trim(),
        MUCH.to_string()
    );
}

#[test]
fn sessions_of_one_connection_do_not_wait_for_each_other() {
    let server = Server::start();
    let control = format!("ControlPath={}", server.path("control").display());
    let share = [
        "-o",
        &control,
        "-o",
        "ControlMaster=auto",
        "-o",
        "ControlPersist=60",
    ];
    let mut stuck = server
        .client("ssh")
        .args(share)
        .args(["vm", "read -r end < $HOME/end"])
        .stdin(File::open("/dev/zero").expect("a device"))
        .spawn()
        .expect("ssh runs");
    super::until(|| server.path("control").exists());
    let fifo = server.path("home/end");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .expect("mkfifo runs")
            .success()
    );
    thread::scope(|scope| {
        for number in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let output = server
                    .client("ssh")
                    .args(share)
                    .args(["vm", &format!("echo {number}")])
                    .output();
                assert_eq!(
                    output.expect("ssh runs").stdout,
                    format!("{number}\n").as_bytes()
                );
            });
        }
    });
    stuck.kill().expect("killed");
    stuck.wait().expect("it ends");
    let mut stop = server.client("ssh");
    stop.args(share)
        .args(["-O", "exit", "vm"])
        .output()
        .expect("ssh runs");
}

#[test]
fn forty_connections_are_served_at_once() {
    let server = Server::start();
    thread::scope(|scope| {
        for number in 0..40 {
            let server = &server;
            scope.spawn(move || {
                assert_eq!(
                    server.said(["vm", &format!("echo {number}")]),
                    format!("{number}\n")
                );
            });
        }
    });
}

#[test]
fn a_terminal_loses_nothing_of_much_output() {
    let server = Server::start();
    let text = server.said(["-tt", "vm", "seq 1 300000"]);
    assert!(
        text.lines()
            .map(|line| line.trim_end().parse())
            .eq((1..=300_000).map(Ok))
    );
}
