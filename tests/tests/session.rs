//! A command in the guest is like a command at home: streams, exit codes, words, terminals.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bcvk_testkit::{
    Checks, Output, ReservedPort, Sandbox, Signal, Terminal, Vm, images, limit, until, until_some,
};

/// A MiB of every byte value, the same on every run, with no pattern that buffers would hide.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..1 << 20)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// One command goes the whole way.
#[test]
fn run_ssh_runs_a_command_with_its_streams_and_exit_code() {
    let sandbox = Sandbox::new().resuming();
    let noise = noise();
    let output = sandbox
        .command(sandbox.bcvk_path())
        .args([
            "-q",
            "ephemeral",
            "run-ssh",
            "--name",
            &sandbox.name("vm"),
            images::trixie(),
        ])
        .args([
            "--",
            "sh",
            "-c",
            "tee /dev/stderr; test -t 0 && echo terminal; exit 42",
        ])
        .stdin(noise.clone())
        .limit(limit::BOOT)
        .run()
        .expect_code(42);
    assert_same("stdout", output.stdout_bytes(), &noise);
    assert_same("stderr", output.stderr_bytes(), &noise);
    sandbox.finish();
}

/// daemon's shell lets nobody in, so that another one stands in.
#[test]
fn run_ssh_runs_a_command_as_another_user_at_a_terminal() {
    let sandbox = Sandbox::new().resuming();
    let session = |options: &[&str]| {
        let command = sandbox.bcvk(["run-ssh", "--user=daemon", "--name", &sandbox.name("vm")]);
        command
            .args(options)
            .args([images::trixie(), "id -un; test -t 0 && echo terminal"])
            .limit(limit::BOOT)
    };
    let output = session(&["-t"]).at_a_terminal().run().expect_success();
    let _ = output.expect_stdout("daemon\r\nterminal\r\n");
    let output = session(&["--keep-on-failure"]).run().expect_code(1);
    assert_eq!(output.stdout(), "daemon\n", "{output}");
    let vm = sandbox.name("vm");
    let kept = format!("VM {vm} is kept; `bcvk ephemeral ssh {vm}` enters it");
    let _ = output.expect_stderr(&kept);
    let again = sandbox
        .bcvk(["ssh", &format!("daemon@{vm}"), "id -un"])
        .run();
    let _ = again.expect_success().expect_stdout("daemon");
    let _ = sandbox.bcvk(["rm", "-f", &vm]).run().expect_success();
    sandbox.finish();
}

/// `~^Z` stops ssh alone; the shell waits for bcvk.
#[test]
fn a_session_that_is_stopped_gives_the_prompt_back() {
    let sandbox = Sandbox::new().resuming();
    sandbox.install_bcvk();
    let script = "PS1='host> ' exec bash --norc --noprofile -i";
    let terminal = Terminal::run(&sandbox, 80, script, sandbox.command("true"));
    let type_line = |line: &str| terminal.press(&[line, "Enter"]);
    let await_line = |line: &str, limit| {
        until(&format!("{line:?} is on the screen"), limit, || {
            terminal.screen().lines().any(|shown| shown == line)
        });
    };
    // ssh gets what is typed before it has let the terminal go.
    let await_prompt = || {
        until("the shell asks", limit::QUICK, || {
            terminal.screen().lines().last() == Some("host>")
        });
    };
    await_prompt();
    type_line(&format!(
        "clear; bcvk -q ephemeral run-ssh --pull never --name {} {}",
        sandbox.name("vm"),
        images::trixie()
    ));
    type_line("echo in $((40 + 2)) guest");
    await_line("in 42 guest", limit::BOOT);
    terminal.press(&["~", "C-z"]);
    await_prompt();
    type_line("fg");
    type_line("echo still in $((40 + 2)) guest; exit 3");
    await_line("still in 42 guest", limit::QUICK);
    await_prompt();
    type_line("echo code=$?");
    await_line("code=3", limit::QUICK);
    terminal.close();
    sandbox.finish();
}

#[test]
fn a_session_is_transparent() {
    let sandbox = Sandbox::new().resuming();
    let vm = sandbox.boot("vm", &["--rm"], images::trixie());
    let mut checks = Checks::new();
    check_transparency(&mut checks, &sandbox, &vm);
    checks.check("a lost connection is 255", || {
        let mut session = vm.ssh(&["echo here; exec sleep 600"]).spawn();
        session.await_stdout("here", limit::BOOT);
        vm.sh("kill $(pgrep -f 'sleep [6]00' | xargs -n1 ps -o ppid= -p)");
        let _ = session.wait(limit::QUICK).expect_code(255);
    });
    vm.discard();
    checks.finish();
    sandbox.finish();
}

/// Where the image has no sshd, bcvk's own server does the same.
#[test]
fn a_session_without_an_sshd_is_as_transparent() {
    let sandbox = Sandbox::new();
    let options = ["--rm", "--env=GREETING=hello \"you\""];
    let vm = sandbox.boot("vm", &options, images::minimal());
    let mut checks = Checks::new();
    check_transparency(&mut checks, &sandbox, &vm);
    checks.check("it has the environment of a login", || {
        assert_eq!(
            vm.sh("echo $HOME $USER $LOGNAME $SHELL"),
            "/root root root /bin/bash"
        );
        assert_eq!(
            vm.sh("echo $PATH"),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        );
        assert_eq!(vm.sh("echo \"$GREETING\"; umask"), "hello \"you\"\n0022");
    });
    checks.check("100 MB there and back, at the same time", || {
        let noise = noise().repeat(100);
        let output = vm.ssh(&["cat"]).stdin(noise.clone()).run().expect_success();
        assert_same("stdout", output.stdout_bytes(), &noise);
    });
    checks.check("connections in both directions", || check_forwards(&vm));
    check_files(&mut checks, &sandbox, &vm);
    checks.check("nothing of all that stays", || {
        until("no process is left of a session", limit::QUICK, || {
            vm.sh("pgrep -c -P $(pgrep -f 'internal [l]ogin')") == "1"
        });
        vm.sh("! ps -eo stat= | grep -q Z");
    });
    vm.discard();
    checks.finish();
    sandbox.finish();
}

/// Checks a port of the guest that leads to the host, and one of the host that leads to that.
fn check_forwards(vm: &Vm<'_>) {
    let shouter = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let shouts = shouter.local_addr().expect("its address").port();
    thread::spawn(move || {
        for stream in shouter.incoming() {
            let mut stream = stream.expect("a connection");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("text");
            let shout = text.to_uppercase();
            stream.write_all(shout.as_bytes()).expect("written");
        }
    });
    let port = ReservedPort::new();
    let session = vm
        .ssh(&[
            "-N",
            "-R",
            &format!("7007:127.0.0.1:{shouts}"),
            "-L",
            &format!("127.0.0.1:{port}:localhost:7007"),
        ])
        .spawn();
    let answer = until_some("the ports lead there", limit::QUICK, || {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).ok()?;
        stream.write_all(b"hello").ok()?;
        stream.shutdown(Shutdown::Write).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text).filter(|text| !text.is_empty())
    });
    assert_eq!(answer, "HELLO");
    session.signal(Signal::TERM);
    let _ = session.wait(limit::GONE);
}

fn check_files(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    sandbox.install_bcvk();
    let run = |script: &str| {
        let script = format!("bcvk ephemeral ssh-config $1 >config\n{script}");
        let command = sandbox.command("sh");
        let output = command
            .args(["-euc", &script, "sh", vm.name()])
            .limit(limit::BOOT)
            .run();
        let _ = output.expect_success();
    };
    // The image has sftp-server; without it, bcvk's own serves files.
    for (name, prepare) in [
        ("the image's sftp-server", "true"),
        (
            "bcvk's own",
            "mount --bind /etc/passwd /usr/lib/openssh/sftp-server",
        ),
    ] {
        vm.sh(prepare);
        checks.check(&format!("scp and sftp with {name}"), || {
            run("mkdir -p tree/inner
                 head -c 1000000 /dev/urandom >tree/inner/file
                 scp -qrp -F config tree $1:/tmp/
                 scp -qrp -F config $1:/tmp/tree back
                 cmp tree/inner/file back/inner/file
                 printf 'get /etc/os-release\nrm /tmp/tree/inner/file\nrmdir /tmp/tree/inner\n' |
                     sftp -q -b - -F config $1 >/dev/null
                 grep -q trixie os-release
                 ssh -F config $1 rmdir /tmp/tree
                 rm -r tree back os-release");
        });
    }
}

/// Checks what a session is, whoever serves it.
fn check_transparency(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    for code in [0, 1, 7, 42, 254] {
        checks.check(&format!("exit code {code}"), || {
            let _ = vm.ssh(&[&format!("exit {code}")]).run().expect_code(code);
        });
    }
    checks.check("a command that a signal ends is 255, as in ssh", || {
        let _ = vm.run_sh("kill -TERM $$").expect_code(255);
    });
    check_streams(checks, vm);
    check_words(checks, sandbox, vm);
    check_terminals(checks, vm);
    checks.check("SIGTERM ends the session on the host", || {
        let mut session = vm.ssh(&["echo here; exec sleep 602"]).spawn();
        session.await_stdout("here", limit::BOOT);
        session.signal(Signal::TERM);
        let output = session.wait(Duration::from_secs(5));
        assert_ne!(output.code(), Some(0), "{output}");
    });
    checks.check("six sessions at once", || {
        let sessions: Vec<_> = (0..6)
            .map(|n| vm.ssh(&[&format!("echo {n}")]).spawn())
            .collect();
        for (n, session) in sessions.into_iter().enumerate() {
            assert_eq!(
                session.wait(limit::BOOT).expect_success().text(),
                n.to_string()
            );
        }
    });
}

fn check_streams(checks: &mut Checks, vm: &Vm<'_>) {
    let noise = noise();
    checks.check("1 MiB in on stdin, out on stdout", || {
        let output = vm.ssh(&["cat"]).stdin(noise.clone()).run().expect_success();
        assert_same("stdout", output.stdout_bytes(), &noise);
        assert!(output.stderr().is_empty(), "{output}");
    });
    checks.check("1 MiB out on stderr alone", || {
        let output = vm
            .ssh(&["cat >&2"])
            .stdin(noise.clone())
            .run()
            .expect_success();
        assert_same("stderr", output.stderr_bytes(), &noise);
        assert!(output.stdout().is_empty());
    });
    checks.check("the end of stdin arrives", || {
        let output = vm.ssh(&["cat; echo end"]).stdin("text").run();
        assert_eq!(output.expect_success().stdout(), "textend\n");
    });
}

fn check_words(checks: &mut Checks, sandbox: &Sandbox, vm: &Vm<'_>) {
    checks.check("one word is a shell's command line", || {
        let output = vm.ssh(&["echo 'a  b'; echo c | tr c d"]).run();
        assert_eq!(output.expect_success().stdout(), "a  b\nd\n");
    });
    checks.check("several words arrive as they are", || {
        let words = ["a  b", "", "$HOME", "it's", "\"", "*", "\\", "-n", "ü\n"];
        let output = vm.ssh(&[&["printf", "<%s>"][..], &words].concat()).run();
        let expected: String = words.iter().map(|word| format!("<{word}>")).collect();
        assert_eq!(output.expect_success().stdout(), expected);
    });
    checks.check("options of ssh, before and after the name", || {
        let run = |words: &[&str]| -> Output {
            let args = [&["ssh"], words].concat();
            sandbox.bcvk(args).limit(limit::BOOT).run()
        };
        let _ = run(&["-v", vm.name(), "true"])
            .expect_success()
            .expect_stderr("debug1:");
        let _ = run(&[vm.name(), "-v", "true"])
            .expect_success()
            .expect_stderr("debug1:");
        let _ = run(&[
            "-o",
            "User=none-such",
            "-o",
            "BatchMode=yes",
            vm.name(),
            "true",
        ])
        .expect_code(255);
    });
}

fn check_terminals(checks: &mut Checks, vm: &Vm<'_>) {
    checks.check("no terminal where there is none", || {
        vm.sh("! test -t 0 && ! test -t 1 && ! test -t 2");
    });
    checks.check("a command has no terminal, even at one", || {
        let output = vm
            .ssh(&["test -t 0 || echo no terminal"])
            .at_a_terminal()
            .run();
        let _ = output.expect_success().expect_stdout("no terminal");
    });
    checks.check("-t gives a command one", || {
        let output = vm
            .ssh(&["-t", "test -t 0 && test -t 1 && tty"])
            .at_a_terminal()
            .run();
        let _ = output.expect_success().expect_stdout("/dev/pts/");
    });
    checks.check("a shell at a terminal has one", || {
        let mut shell = vm.ssh(&[]).at_a_terminal().spawn();
        shell.await_stdout("# ", limit::BOOT);
        shell.type_in("tty; echo code=$((40 + 2))\n");
        shell.await_stdout("code=42", limit::QUICK);
        shell.await_stdout("/dev/pts/", limit::QUICK);
        shell.type_in("exit 3\n");
        let _ = shell.wait(limit::QUICK).expect_code(3);
    });
    checks.check("a shell without one reads its commands from stdin", || {
        let output = vm
            .ssh(&[])
            .stdin("test -t 0 || echo no terminal\nexit 5\n")
            .run();
        let _ = output.expect_code(5).expect_stdout("no terminal");
    });
    checks.check("Ctrl-C ends the command in the guest too", || {
        let mut session = vm
            .ssh(&["-t", "echo here; exec sleep 601"])
            .at_a_terminal()
            .spawn();
        session.await_stdout("here", limit::BOOT);
        session.type_in("\u{3}");
        let output = session.wait(limit::QUICK);
        assert_ne!(output.code(), Some(0), "{output}");
        until("the guest's sleep is gone", limit::QUICK, || {
            vm.run_sh("pgrep -f 'sleep [6]01'").code() == Some(1)
        });
    });
}

/// Compares without printing the bytes themselves, which would fill the screen.
#[track_caller]
fn assert_same(what: &str, seen: &[u8], expected: &[u8]) {
    let common = seen
        .iter()
        .zip(expected)
        .take_while(|(a, b)| a == b)
        .count();
    assert!(
        seen == expected,
        "{what} has {} bytes, of which the first {common} are right, not {}; then comes {:?}",
        seen.len(),
        expected.len(),
        String::from_utf8_lossy(&seen[common..seen.len().min(common + 200)])
    );
}
