//! Commands, shells and terminals.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::{Server, USER};

#[test]
fn a_command_has_its_exit_code_and_streams() {
    let server = Server::start();
    for code in [0, 7, 255] {
        let output = server.ssh(["vm", &format!("echo out; echo err >&2; exit {code}")]);
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
    }
}

#[test]
fn a_command_is_run_as_by_opensshs_server() {
    let server = Server::start();
    // The shell's name, and a signal that this program ignores.
    let text = server.said(["vm", "echo $0; (kill -PIPE $BASHPID); echo $?"]);
    assert_eq!(text, "bash\n141\n");
}

#[test]
fn a_killed_command_is_told() {
    let server = Server::start();
    let output = server
        .client("ssh")
        .args(["-v", "vm", "kill -TERM $$"])
        .output();
    let output = output.expect("ssh runs");
    assert_eq!(output.status.code(), Some(255));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("exit-signal"), "{errors}");
    // A signal that the protocol has no name for.
    assert_eq!(server.ssh(["vm", "kill -BUS $$"]).status.code(), Some(255));
}

#[test]
fn the_environment_is_that_of_a_login() {
    let server = Server::start();
    let home = server.path("home").display().to_string();
    for (expression, value) in [
        ("$USER $LOGNAME $SHELL", format!("{USER} {USER} /bin/bash")),
        ("$HOME $PWD", format!("{home} {home}")),
        ("$GIVEN", "a value".to_owned()),
        ("$SSH_CLIENT", "UNKNOWN 65535 65535".to_owned()),
        ("${CARGO-none}", "none".to_owned()),
        ("$LC_TEST ${OTHER-none}", "C none".to_owned()),
    ] {
        let mut client = server.client("ssh");
        client.args(["-o", "SendEnv=LC_TEST OTHER", "vm"]);
        client.arg(format!("echo \"{expression}\""));
        let output = client.env("LC_TEST", "C").env("OTHER", "x").output();
        let output = output.expect("ssh runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("{value}\n")
        );
    }
    assert!(server.said(["vm", "echo $PATH"]).contains("/usr/bin"));
}

#[test]
fn a_shell_is_a_login_shell() {
    let server = Server::start();
    let mut client = server
        .client("ssh")
        .arg("vm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ssh runs");
    let mut stdin = client.stdin.take().expect("a pipe");
    stdin
        .write_all(b"echo $0; shopt -q login_shell && echo login; exit 3\n")
        .expect("written");
    drop(stdin);
    let output = client.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "-bash\nlogin\n");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn strangers_are_refused() {
    let server = Server::start();
    let stranger = server.path("stranger").display().to_string();
    let config = fs::read_to_string(server.path("config")).expect("text");
    let key = server.path("key").display().to_string();
    let strange = server.path("strange");
    fs::write(&strange, config.replace(&key, &stranger)).expect("written");
    for (config, user) in [(&strange, USER), (&server.path("config"), "nobody-here")] {
        let mut client = Command::new("ssh");
        client
            .arg("-F")
            .arg(config)
            .args(["-l", user, "vm", "true"]);
        let output = client.output().expect("ssh runs");
        assert_eq!(output.status.code(), Some(255), "{user}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("Permission denied (publickey)"), "{errors}");
    }
    assert_eq!(server.said(["vm", "echo in"]), "in\n");
}

#[test]
fn another_user_has_their_ids_and_a_shell() {
    if !rustix::process::getuid().is_root() {
        // Only root may become somebody else; to anybody else it is refused.
        return;
    }
    let server = Server::start();
    assert_eq!(
        server.said(["-l", "other", "vm", "id -u; id -g; id -G; pwd; echo $SHELL"]),
        "65534\n65534\n65534 64001\n/\n/bin/bash\n"
    );
    // There is none in the file.
    assert_eq!(
        server.said(["-l", "root", "vm", "id -u; echo $HOME"]),
        "0\n/root\n"
    );
}

#[test]
fn a_terminal_controls_its_session() {
    let server = Server::start();
    let mut client = server.client("ssh");
    client.args([
        "-tt",
        "vm",
        "stty size; tty; ps -o tty= -o sid= -p $$; echo $TERM $SSH_TTY; exit 9",
    ]);
    let output = client.env("TERM", "vt220").output().expect("ssh runs");
    assert_eq!(output.status.code(), Some(9));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<_> = text.lines().collect();
    let &[size, tty, process, environment] = &lines[..] else {
        panic!("{text}");
    };
    assert_eq!(size, "0 0");
    assert!(tty.starts_with("/dev/pts/"), "{tty}");
    let words: Vec<_> = process.split_whitespace().collect();
    assert_eq!(format!("/dev/{}", words[0]), tty);
    assert_eq!(environment, format!("vt220 {tty}"));
}

#[test]
fn a_terminal_has_the_size_and_modes_of_the_clients() {
    let server = Server::start();
    let inner = format!(
        "stty rows 33 cols 77 -ixany erase ^H; ssh -tt -F {} vm 'stty -a'",
        server.path("config").display()
    );
    let output = Command::new("script")
        .args(["-qec", &inner, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .expect("script runs");
    let text = String::from_utf8_lossy(&output.stdout);
    for part in ["rows 33; columns 77;", "erase = ^H;", "-ixany"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_terminals_session_hangs_up_with_its_connection() {
    let server = Server::start();
    for terminal in ["-tt", "-T"] {
        let mark = server.path(&format!("mark{terminal}"));
        let mut client = server.client("ssh");
        // bash reports that sleep was killed too, to nobody.
        client.args([terminal, "vm"]).arg(format!(
            "exec 2> /dev/null; trap 'echo hangup > {}; exit' HUP; echo ready; while :; do sleep 0.05; done",
            mark.display()
        ));
        let mut client = client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ssh runs");
        let mut lines = BufReader::new(client.stdout.take().expect("a pipe")).lines();
        assert_eq!(lines.next().expect("a line").expect("text").trim(), "ready");
        client.kill().expect("killed");
        client.wait().expect("it ends");
        super::until(|| mark.exists());
    }
}

#[test]
fn a_signal_of_the_client_reaches_the_command() {
    let server = Server::start();
    let mut client = server.client("ssh");
    client.args([
        "-tt",
        "vm",
        "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done",
    ]);
    let mut client = client
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ssh runs");
    let mut lines = BufReader::new(client.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text").trim(), "ready");
    client
        .stdin
        .as_mut()
        .expect("a pipe")
        .write_all(b"\x03")
        .expect("written");
    assert!(lines.any(|line| line.expect("text").contains("caught")));
    let status = client.wait().expect("it ends");
    assert_eq!((status.code(), status.signal()), (Some(5), None));
}

#[test]
fn what_a_command_leaves_in_the_background_goes_on() {
    let server = Server::start();
    let mark = server.path("later");
    let command = format!(
        "(sleep 0.3; touch {}) > /dev/null 2>&1 < /dev/null &",
        mark.display()
    );
    server.said(["vm", &command]);
    assert!(!mark.exists());
    super::until(|| mark.exists());
}

#[test]
fn a_terminal_changes_its_size_with_the_clients() {
    let server = Server::start();
    let ready = server.path("home/ready");
    let there = "trap 'stty size; exit' WINCH; touch ready; while :; do sleep 0.05; done";
    let inner = format!(
        "(while ! test -e {ready}; do sleep 0.05; done; stty rows 41 cols 91 < /dev/tty) & \
         ssh -tt -F {config} vm \"{there}\"",
        ready = ready.display(),
        config = server.path("config").display(),
    );
    let mut script = Command::new("script");
    script
        .args(["-qec", &inner, "/dev/null"])
        .stdin(Stdio::null());
    let output = script.output().expect("script runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("41 91"), "{text}");
}

#[test]
fn a_client_hears_that_the_server_lives() {
    let server = Server::start();
    let [interval, count] = ["ServerAliveInterval=1", "ServerAliveCountMax=1"];
    server.said(["-o", interval, "-o", count, "vm", "sleep 3"]);
}

#[test]
fn bytes_of_a_command_need_not_be_utf_8() {
    let server = Server::start();
    let mut client = server.client("ssh");
    client.arg("vm").arg(OsStr::from_bytes(b"printf '\xff'"));
    assert_eq!(client.output().expect("ssh runs").stdout, b"\xff");
}
