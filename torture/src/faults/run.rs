//! One case on a VM of its own.

use std::fmt;
use std::fs;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use bcvk_testkit::{Output, Process, Running, Sandbox, Signal, limit, until, until_some};

use super::case::{Case, Fault, Moment, Outcome, Subject};

/// Time for which a subject is stopped.
const PAUSE: Duration = Duration::from_secs(10);

/// Limit for a command to end after a fault: the guest's shutdown at most.
const END: Duration = Duration::from_secs(60);

/// Grace period for a command that nobody promises anything about, before it is told to end.
const MAYBE: Duration = Duration::from_secs(5);

/// The file for which a guest waits.
const NOW: &str = "/run/now";

/// Work of a busy guest until it is ended.
const BUSY: &str = "cd /run/virtiofs-mnt-share; while :; do head -c 1000000 /dev/urandom >file; \
                    cat /usr/lib/x86_64-linux-gnu/*.so >/dev/null; done";

/// Report on one case.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) case: Case,
    /// The exit code, if the command ended as it has to.
    code: Option<i32>,
    /// The line that said why the command ended, if one did; or, on more lines, what was wrong.
    seen: String,
    /// Time from the fault to the end of the command.
    took: Duration,
}

impl Report {
    pub(super) fn passed(&self) -> bool {
        self.code.is_some()
    }

    pub(super) fn cell(&self) -> String {
        match self.code {
            Some(code) => format!("{code}, {:.1} s", self.took.as_secs_f64()),
            None => "FAILED".to_owned(),
        }
    }

    /// Returns what the user read, with the exit code.
    pub(super) fn said(&self) -> Option<String> {
        let code = self.code?;
        (!self.seen.is_empty()).then(|| format!("{code} {}", self.seen))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case {
            subject,
            moment,
            fault,
        } = self.case;
        write!(f, "{subject}, {moment}, {fault}: {}", self.cell())?;
        match self.code {
            Some(_) => write!(f, " {}", self.seen),
            None => write!(f, "\n{}", self.seen),
        }
    }
}

/// Makes one case.
pub(super) fn run(case: Case, image: &str) -> Report {
    let began = Instant::now();
    match catch_unwind(AssertUnwindSafe(|| attempt(case, image))) {
        Ok((code, seen, took)) => Report {
            case,
            code: Some(code),
            seen,
            took,
        },
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Report {
                case,
                code: None,
                seen: text.unwrap_or_else(|| "it panicked".to_owned()),
                took: began.elapsed(),
            }
        }
    }
}

fn attempt(case: Case, image: &str) -> (i32, String, Duration) {
    let sandbox = Sandbox::new();
    let name = sandbox.name("vm");
    if case.moment == Moment::Resuming {
        make_snapshot(&sandbox, image);
    }
    let mut command = start(case, &sandbox, &name, image);
    let told = case.subject == Subject::Guest && case.moment < Moment::Ready;
    if !told {
        await_moment(case.moment, &mut command, &sandbox, &name);
    }
    let began = Instant::now();
    commit(case, &mut command, &sandbox, &name);
    let output = match case.expected() {
        Outcome::Ends { .. } => command.wait(if told { limit::BOOT } else { END }),
        Outcome::GoesOn => {
            if case.moment != Moment::ShuttingDown {
                command.await_stdout("in the session", limit::BOOT);
                command.signal(Signal::TERM);
            }
            command.wait(END)
        }
        Outcome::Either => {
            let deadline = Instant::now() + MAYBE;
            while command.runs() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(50));
            }
            if command.runs() {
                command.signal(Signal::TERM);
            }
            command.wait(END)
        }
    };
    let took = began.elapsed();
    judge(case, &output);
    if (case.subject, case.moment) == (Subject::Cli, Moment::ShuttingDown) {
        // podman has to see the guest out.
        until("the guest has shut down", END, || {
            Process::qemu_of(&name).is_none()
        });
    }
    if case.breaks_saving() {
        expect_no_snapshot(&sandbox);
    }
    let seen = reason(&output).replace(&sandbox.path().display().to_string(), "");
    sandbox.finish();
    (output.shell_code(), seen, took)
}

fn start(case: Case, sandbox: &Sandbox, name: &str, image: &str) -> Running {
    let share = sandbox.make_dir("share");
    let mut options = vec![
        format!("--name={name}"),
        format!("--bind={}", share.display()),
    ];
    let work = match case.moment {
        Moment::Busy => BUSY,
        _ => ":",
    };
    let mut then = ":";
    if case.subject == Subject::Guest {
        let units = sandbox.make_dir("units");
        let does = deed(case.fault);
        match case.moment {
            // The kernel panics, because neither an initramfs nor another program can be started.
            Moment::Kernel => {
                options
                    .extend(["rdinit", "init"].map(|what| format!("--karg={what}=/nonexistent")));
            }
            Moment::Initrd => {
                let target = does.split(' ').next().unwrap_or_default();
                options.push(format!("--karg=rd.systemd.unit={target}.target"));
            }
            Moment::Userspace => {
                write_unit(&units, &format!("ExecStart=/bin/sh -c '{does}'"));
                options.push(format!("--systemd-units={}", units.display()));
            }
            Moment::ShuttingDown => {
                write_unit(
                    &units,
                    &format!("RemainAfterExit=yes\nExecStart=true\nExecStop=/bin/sh -c '{does}'"),
                );
                options.push(format!("--systemd-units={}", units.display()));
            }
            Moment::Start | Moment::Ready | Moment::Busy | Moment::Saving | Moment::Resuming => {
                then = does;
            }
        }
    }
    if matches!(case.moment, Moment::Saving | Moment::Resuming) {
        options.push("--warm=auto".to_owned());
    }
    let session = format!(
        "echo in the session; ({work}) & until test -e {NOW}; do sleep .1; done; {then}; sleep 600"
    );
    let command = if case.moment == Moment::ShuttingDown {
        sandbox.bcvk(["run", "--rm"]).args(&options).arg(image)
    } else {
        sandbox
            .bcvk(["run-ssh"])
            .args(&options)
            .args([image, &session])
    };
    command.spawn()
}

/// Boots a VM and ends it, so that there is a snapshot from which the next is resumed.
fn make_snapshot(sandbox: &Sandbox, image: &str) {
    let name = sandbox.name("earlier");
    let _ = sandbox
        .bcvk(["run-ssh", "--warm=auto", "--name", &name, image, "true"])
        .limit(limit::BOOT)
        .run()
        .expect_success();
}

/// Fails if a snapshot that nobody could finish would be used.
fn expect_no_snapshot(sandbox: &Sandbox) {
    let listed = sandbox.bcvk(["snapshots", "ls", "--json"]).run();
    let listed = listed.expect_success();
    assert!(!listed.stdout().contains("\"Usable\": true"), "{listed}");
}

/// Command that root types to make a guest do it, without asking systemd.
fn deed(fault: Fault) -> &'static str {
    match fault {
        Fault::PowerOff => "poweroff --force --force",
        Fault::Reboot => "reboot --force --force",
        _ => "echo c >/proc/sysrq-trigger",
    }
}

fn write_unit(units: &Path, lines: &str) {
    let text = format!(
        "[Unit]\nDefaultDependencies=no\nBefore=basic.target\nConflicts=shutdown.target\n\
         [Service]\nType=oneshot\n{lines}\n"
    );
    fs::write(units.join("deed.service"), text).expect("write");
    let wants = units.join("basic.target.wants");
    fs::create_dir(&wants).expect("make a directory");
    symlink("../deed.service", wants.join("deed.service")).expect("link");
}

fn await_moment(moment: Moment, command: &mut Running, sandbox: &Sandbox, name: &str) {
    match moment {
        Moment::Start => {}
        Moment::Kernel => command.await_stderr("s kernel\n", limit::BOOT),
        Moment::Initrd => command.await_stderr("s initramfs\n", limit::BOOT),
        Moment::Userspace => command.await_stderr("s starting services\n", limit::BOOT),
        Moment::Ready => command.await_stdout("in the session", limit::BOOT),
        Moment::Busy => {
            command.await_stdout("in the session", limit::BOOT);
            let file = sandbox.path().join("share/file");
            until("the guest writes", limit::QUICK, || file.exists());
        }
        Moment::Saving => {
            let snapshots = sandbox.home().join(".cache/bcvk/snapshots");
            until("the guest's memory is saved", limit::BOOT, || {
                is_saving(&snapshots)
            });
        }
        // The process exists before its machine does.
        Moment::Resuming => {
            let _ = find(Subject::Qemu, name);
        }
        Moment::ShuttingDown => {
            command.await_stderr("ready; ", limit::BOOT);
            let _ = sandbox
                .podman(["kill", "--signal=TERM", name])
                .run()
                .expect_success();
        }
    }
}

/// Returns true if a VM writes its memory to one of the `snapshots`, which are below a directory for each
/// machine.
fn is_saving(snapshots: &Path) -> bool {
    let children = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let all = children(snapshots);
    all.iter()
        .flat_map(|machine| children(machine))
        .any(|snapshot| {
            let memory = fs::metadata(snapshot.join("staging/memory"));
            memory.is_ok_and(|found| found.len() > 0)
        })
}

/// Does the deed, if the guest has not been told to at its start.
fn commit(case: Case, command: &mut Running, sandbox: &Sandbox, name: &str) {
    match (case.subject, case.fault) {
        (Subject::Guest, _) => {
            if matches!(case.moment, Moment::Ready | Moment::Busy) {
                // The guest may be gone before it can answer.
                let _ = sandbox.bcvk(["ssh", name, &format!("touch {NOW}")]).run();
            }
        }
        (Subject::Cli, fault) => send(fault, |signal| command.signal(signal)),
        (subject, fault) => {
            let subject = find(subject, name);
            send(fault, |signal| subject.signal(signal));
        }
    }
}

fn send(fault: Fault, to: impl Fn(Signal)) {
    match fault {
        Fault::Pause => {
            to(Signal::STOP);
            thread::sleep(PAUSE);
            to(Signal::CONT);
        }
        Fault::Term => to(Signal::TERM),
        _ => to(Signal::KILL),
    }
}

/// Finds a process of the VM's.
fn find(subject: Subject, name: &str) -> Process {
    let qemu = || until_some("QEMU runs", limit::QUICK, || Process::qemu_of(name));
    let supervisor = || qemu().parent().expect("the supervisor");
    let server = |dir: &str| {
        let mut servers = supervisor().children();
        servers.retain(|p| p.args.iter().any(|arg| arg.starts_with(dir)));
        servers.pop().expect("a file server")
    };
    match subject {
        Subject::Supervisor => supervisor(),
        Subject::Qemu => qemu(),
        Subject::RootServer => server("/run/bcvk-image"),
        Subject::BindServer => server("/run/bcvk-shares/"),
        Subject::Conmon => supervisor().parent().expect("conmon"),
        Subject::Cli | Subject::Guest => unreachable!("nothing of the container's"),
    }
}

fn judge(case: Case, output: &Output) {
    let _ = output.clone().expect_no_stderr("panicked at");
    let code = output.shell_code();
    match case.expected() {
        Outcome::Ends { codes, says } => {
            assert!(codes.contains(&code), "exit code {code}: {output}");
            assert!(output.stderr().contains(says), "no \"{says}\": {output}");
        }
        Outcome::GoesOn if case.moment == Moment::ShuttingDown => {
            assert_eq!(code, 0, "{output}");
        }
        Outcome::GoesOn => assert_eq!(code, 143, "{output}"),
        Outcome::Either => {}
    }
}

/// Returns the line that says why the command has ended.
fn reason(output: &Output) -> String {
    let stderr = output.stderr();
    let line = stderr
        .lines()
        .find(|line| line.starts_with("error: "))
        .or_else(|| stderr.lines().rfind(|line| line.contains("shut down")));
    line.unwrap_or_default().to_owned()
}
