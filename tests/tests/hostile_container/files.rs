//! Replacements for the files, sockets and locks that the host reads.

use bcvk_testkit::Checks;

use crate::scene::Scene;

/// Replacements for a file `$F`.
pub(crate) const REPLACEMENTS: [(&str, &str); 16] = [
    ("nothing", ":"),
    ("an empty file", ": >$F"),
    ("garbage", "head -c 300000 /dev/urandom >$F"),
    ("a file of a tebibyte", "truncate -s 1T $F"),
    ("deep JSON", "perl -e 'print \"[\" x 5000000' >$F"),
    (
        "many keys",
        "perl -e 'print \"{\"; print \"\\\"$_\\\":1,\" for 1..200000' >$F",
    ),
    ("a FIFO", "mkfifo $F"),
    ("a directory", "mkdir $F"),
    (
        "a socket that nobody serves",
        "perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un($ARGV[0])) or die' $F",
    ),
    ("a link to a file of the host", "ln -s $1/secret $F"),
    ("a link to a file that is not there", "ln -s $1/made $F"),
    ("a link to a socket of the host", "ln -s $1/socket $F"),
    ("a link to the other VM's", "ln -s $2/shared/$F $F"),
    ("a link to itself", "ln -s $F $F"),
    ("a link to what never ends", "ln -s /dev/zero $F"),
    ("a hard link", "ln $OTHER $F"),
];

/// Files that the host reads together.
pub(crate) struct Files {
    names: &'static [&'static str],
    /// Another file of the directory, for a hard link.
    other: &'static str,
    /// Commands that read them.
    readers: &'static [&'static [&'static str]],
}

pub(crate) const FILES: [Files; 3] = [
    Files {
        names: &["status.json", "events.jsonl", "status.reserve"],
        other: "supervisor.lock",
        readers: &[
            &["inspect", "VM"],
            &["wait", "--timeout=1s", "VM"],
            &["logs", "VM"],
        ],
    },
    Files {
        names: &[
            "console.log",
            "console.log.1",
            "journal.log",
            "ssh.sock",
            "checkpoint.sock",
        ],
        other: "status.json",
        readers: &[
            &["logs", "VM"],
            &["ssh-config", "VM"],
            &["ssh", "VM", "true"],
            &["checkpoint", "VM"],
        ],
    },
    Files {
        names: &["supervisor.lock", "stdout", "stderr"],
        other: "status.json",
        readers: &[
            &["inspect", "VM"],
            &["wait", "--timeout=1s", "VM"],
            &["rm", "VM"],
        ],
    },
];

pub(crate) fn check_files(checks: &mut Checks, scene: &Scene<'_>) {
    for files in FILES {
        let each = |what: &str| format!("for F in {}; do {what}\ndone", files.names.join(" "));
        for (name, replacement) in REPLACEMENTS {
            checks.check(&format!("{} becomes {name}", files.names[0]), || {
                let attack = format!(
                    "OTHER={}\n{}",
                    files.other,
                    each(&format!(
                        "if [ -e $F ]; then mv $F kept.$F; fi; {replacement} || exit 1"
                    ))
                );
                let _ = scene.attack(&attack).expect_success();
                scene.expect_listed();
                for command in files.readers {
                    let _ = scene.ask(command);
                }
            });
            checks.check("nobody has noticed", || {
                let restore = each("rm -rf $F; if [ -e kept.$F ]; then mv kept.$F $F; fi");
                let _ = scene.attack(&restore).expect_success();
                scene.expect_unchanged();
            });
        }
    }
}

/// Status files that can be read, and are untrue.
pub(crate) const LIES: [(&str, &str); 5] = [
    (
        "it has not begun",
        r#"s/"phase":\s*"[a-z-]+"/"phase":"starting"/"#,
    ),
    ("it has ended", r#"s/"phase":\s*"[a-z-]+"/"phase":"ended"/"#),
    (
        "there is no such phase",
        r#"s/"phase":\s*"[a-z-]+"/"phase":"owned\\u001b]0;x\\u0007"/"#,
    ),
    (
        "it has failed, in a terminal's words",
        r#"s/"phase":\s*"[a-z-]+"/"phase":"ended"/; s/"failure":\s*null/"failure":{"kind":"internal","message":"\\u001b[2J\\u202e"}/"#,
    ),
    (
        "it is of another version",
        r#"s/"version":\s*\d+/"version":99999999999999999999/"#,
    ),
];

pub(crate) fn check_lies(checks: &mut Checks, scene: &Scene<'_>) {
    for (name, edit) in LIES {
        checks.check(&format!("the status says that {name}"), || {
            let attack = format!("cp status.json kept && perl -0pi -e '{edit}' status.json");
            let _ = scene.attack(&attack).expect_success();
            scene.expect_listed();
            for command in [
                &["inspect", "VM"][..],
                &["wait", "--timeout=1s", "VM"],
                &["wait", "--timeout=1s", "--for=stopped", "VM"],
                &["logs", "VM"],
                &["rm", "VM"],
            ] {
                let _ = scene.ask(command);
            }
        });
        checks.check("nobody has noticed", || {
            let _ = scene.attack("mv kept status.json").expect_success();
            scene.expect_unchanged();
        });
    }
}

/// Servers that may listen in place of the guest's sshd.
pub(crate) const SERVERS: [(&str, &str); 3] = [
    ("says nothing", "sleep 60"),
    ("closes at once", "1"),
    (
        "is no sshd",
        "print C \"\\e]0;owned\\a\" x 100000; sleep 60",
    ),
];

pub(crate) fn check_sockets(checks: &mut Checks, scene: &Scene<'_>) {
    for (name, does) in SERVERS {
        checks.check(&format!("what listens on ssh.sock {name}"), || {
            let server = format!(
                "mv ssh.sock kept; perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); \
                 bind(S, pack_sockaddr_un(\"ssh.sock\")) or die; listen(S, 9); exit if fork; \
                 close STDIN; close STDOUT; close STDERR; alarm 50; \
                 while (accept(C, S)) {{ {does}; close C }}'"
            );
            let _ = scene.attack(&server).expect_success();
            let output = scene.ask(&["ssh", "-o", "ConnectTimeout=3", "VM", "true"]);
            assert_ne!(output.code(), Some(0), "{output}");
        });
        checks.check("nobody has noticed", || {
            let _ = scene
                .attack("rm ssh.sock; mv kept ssh.sock")
                .expect_success();
            scene.expect_unchanged();
        });
    }
}

pub(crate) fn check_locks(checks: &mut Checks, scene: &Scene<'_>) {
    let held = |file: &str| {
        format!(
            "perl -MFcntl=:flock -e 'open(F, \"<\", $ARGV[0]) or die; exit if fork; close STDIN; \
             close STDOUT; close STDERR; flock(F, LOCK_EX); sleep 8' {file}"
        )
    };
    let commands = [
        &["inspect", "VM"][..],
        &["wait", "--timeout=1s", "VM"],
        &["rm", "VM"],
        &["logs", "VM"],
    ];
    for (name, attack) in [
        ("supervisor.lock is waited for", held("supervisor.lock")),
        (
            "supervisor.lock is another's",
            format!(
                "mv supervisor.lock kept; : >supervisor.lock; {}",
                held("supervisor.lock")
            ),
        ),
        (
            "there are locks where the host has its own",
            format!("mkdir lock; mkfifo cli.lock; {}", held("supervisor.lock")),
        ),
    ] {
        checks.check(name, || {
            let _ = scene.attack(&attack).expect_success();
            scene.expect_listed();
            for command in commands {
                let _ = scene.ask(command);
            }
        });
        checks.check("nobody has noticed", || {
            let restore = "if [ -e kept ]; then mv kept supervisor.lock; fi; rm -rf lock cli.lock";
            let _ = scene.attack(restore).expect_success();
            scene.expect_unchanged();
        });
    }
}
