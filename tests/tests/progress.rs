//! Progress of a boot: at a terminal, in a pipe, and when it fails. No VM boots here: the test
//! takes the place of the supervisor.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use bcvk_contract::status::{Phase, StatusWriter};
use bcvk_testkit::{Checks, Cmd, FakeTools, Sandbox, Terminal, images, limit, until_some};

/// Columns of the terminal.
const COLUMNS: u16 = 80;

/// Script that shows text before and after the command. At the top of a screen, tmux would move the
/// rows of a line that it wraps to where no program can erase them; a shell's user has something
/// above it.
const SCRIPT: &str =
    r#"trap : INT; yes '' | head -n 8; echo before; "$@"; echo "after $?"; read line"#;

/// The supervisor of a VM whose guest does as the test says.
struct Guest {
    dir: PathBuf,
    status: StatusWriter,
}

impl Guest {
    /// Begins once `podman run` has been called.
    fn begin(tools: &FakeTools) -> Self {
        let dir = until_some("podman run", limit::QUICK, || tools.vm_dir());
        let status = StatusWriter::create(&dir).expect("write the status");
        Self { dir, status }
    }

    fn enter(&mut self, phase: Phase) {
        self.status.enter(phase).expect("write the status");
    }

    fn says(&self, text: &str) {
        let mut console = fs::File::options()
            .append(true)
            .create(true)
            .open(self.dir.join("console.log"))
            .expect("open the console");
        console.write_all(text.as_bytes()).expect("write");
    }
}

/// A sandbox with a podman that starts nothing, and an ssh whose session waits for a line.
fn sandbox() -> (Sandbox, FakeTools) {
    let sandbox = Sandbox::new();
    let tools = FakeTools::in_front(&sandbox);
    tools.podman_without_supervisor();
    tools.script("ssh", "echo in the session; read line; echo \"got $line\"");
    (sandbox, tools)
}

fn run_ssh(sandbox: &Sandbox, name: &str) -> Cmd {
    // The user asked for emulation, so it is not announced.
    sandbox
        .bcvk(["run-ssh", "--accel=tcg", "--name"])
        .args([&*sandbox.name(name), images::trixie()])
}

fn boot_times(sandbox: &Sandbox) -> PathBuf {
    sandbox.home().join(".cache/bcvk/boot-times.json")
}

/// Fails unless there is one line after `before`, which fits.
fn expect_one_line(screen: &str, columns: u16) {
    let lines: Vec<&str> = screen.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "before"), "{screen}");
    assert!(lines[1].chars().count() < columns.into(), "{screen}");
}

#[test]
fn a_boot_is_one_line_at_a_terminal() {
    let (sandbox, tools) = sandbox();
    let mut checks = Checks::new();
    let terminal = Terminal::run(&sandbox, COLUMNS, SCRIPT, run_ssh(&sandbox, "first"));
    let mut guest = Guest::begin(&tools);
    check_phase_and_unit(&mut checks, &terminal, &mut guest);
    checks.check("it fits, also when the terminal is resized", || {
        guest.says(&format!(
            "Starting {}.service - x...\n",
            "long-name-".repeat(20)
        ));
        let screen = terminal.await_screen("a cut name", |s| s.ends_with('…'));
        expect_one_line(&screen, COLUMNS);
        for columns in [40, 100, 25, 80] {
            terminal.resize(columns);
            let screen = terminal.await_screen("the line in its new width", |s| {
                let width = s.lines().last().unwrap_or_default().chars().count();
                // In between, the old line may fill several rows.
                s.lines().count() == 2 && width == usize::from(columns) - 1
            });
            expect_one_line(&screen, columns);
        }
    });
    checks.check("the session has the terminal to itself", || {
        guest.enter(Phase::Ready);
        let screen = terminal.await_screen("the session", |s| s.contains("session"));
        assert_eq!(screen, "before\nin the session");
        assert!(terminal.shows_cursor());
        terminal.press(&["x", "Enter"]);
        let screen = terminal.await_screen("the end", |s| s.contains("after"));
        assert_eq!(screen, "before\nin the session\nx\ngot x\nafter 0");
    });
    terminal.close();
    checks.check("how long it took is remembered, for its user alone", || {
        let mode = fs::metadata(boot_times(&sandbox))
            .expect("remembered")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    });
    checks.finish();
    sandbox.finish();
}

fn check_phase_and_unit(checks: &mut Checks, terminal: &Terminal, guest: &mut Guest) {
    checks.check("phase and unit", || {
        terminal.await_screen("the first phase", |s| s.contains("looking at the image"));
        guest.enter(Phase::Kernel);
        guest.says("[    0.5] Freeing unused memory\r\n");
        terminal.await_screen("a kernel's line", |s| {
            s.contains("booting kernel and initramfs: Freeing unused memory")
        });
        guest.enter(Phase::Userspace);
        guest.says(
            "         Starting \u{1b}[0;1;39mssh.service\u{1b}[0m - OpenBSD Secure Shell...\r\n",
        );
        let screen =
            terminal.await_screen("the unit", |s| s.contains("starting services: ssh.service"));
        expect_one_line(&screen, COLUMNS);
        assert!(!screen.contains(" of ~"), "not known yet: {screen}");
        let styled = terminal.styled_screen();
        assert!(styled.contains("\u{1b}[1mstarting services"), "{styled:?}");
        // tmux itself adds these codes where the text has the usual colour again.
        let colours = styled.replace("\u{1b}[39m", "").replace("\u{1b}[49m", "");
        assert!(
            !colours.contains("\u{1b}[3") && !colours.contains("\u{1b}[4"),
            "a colour: {styled:?}"
        );
    });
}

#[test]
fn a_boot_is_compared_with_the_last_one() {
    let (sandbox, tools) = sandbox();
    let mut checks = Checks::new();
    checks.check("a boot to remember", || {
        let mut run = run_ssh(&sandbox, "first").open_stdin().spawn();
        let mut guest = Guest::begin(&tools);
        guest.enter(Phase::Kernel);
        run.await_stderr("s kernel\n", limit::QUICK);
        // A wait of less than a second would show no time.
        std::thread::sleep(std::time::Duration::from_millis(2500));
        guest.enter(Phase::Ready);
        run.await_stdout("in the session", limit::QUICK);
        run.close_stdin();
        let _ = run.wait(limit::QUICK).expect_success();
    });
    let remembered = fs::read(boot_times(&sandbox)).expect("remembered");
    check_longer_boot(&mut checks, &sandbox, &tools);
    checks.check("a boot that failed is not remembered", || {
        assert_eq!(
            fs::read(boot_times(&sandbox)).expect("remembered"),
            remembered
        );
    });
    checks.check("a damaged file is ignored", || {
        fs::write(boot_times(&sandbox), "{").expect("write");
        let terminal = Terminal::run(&sandbox, COLUMNS, SCRIPT, run_ssh(&sandbox, "third"));
        let mut guest = Guest::begin(&tools);
        guest.enter(Phase::Kernel);
        let screen = terminal.await_screen("the phase", |s| s.contains("booting kernel"));
        expect_one_line(&screen, COLUMNS);
        guest.enter(Phase::Ready);
        terminal.await_screen("the session", |s| s.contains("session"));
        terminal.press(&["Enter"]);
        terminal.await_screen("the end", |s| s.contains("after 0"));
        terminal.close();
        let text = fs::read_to_string(boot_times(&sandbox)).expect("remembered");
        assert!(text.starts_with("{\"version\":1,"), "{text}");
    });
    checks.finish();
    sandbox.finish();
}

/// Checks the line of a boot that takes longer than the last one, and is interrupted.
fn check_longer_boot(checks: &mut Checks, sandbox: &Sandbox, tools: &FakeTools) {
    checks.check("how far along it is, until it takes longer", || {
        let command = run_ssh(sandbox, "second").env("NO_COLOR", "1");
        let terminal = Terminal::run(sandbox, COLUMNS, SCRIPT, command);
        let mut guest = Guest::begin(tools);
        guest.enter(Phase::Kernel);
        let screen = terminal.await_screen("the time of the last boot", |s| s.contains(" of ~"));
        assert!(screen.contains('─'), "a bar that is not full: {screen}");
        let screen = terminal.await_screen("that it takes longer", |s| s.contains("(last time "));
        assert!(
            screen.contains("━─") && !screen.contains(" of ~"),
            "{screen}"
        );
        expect_one_line(&screen, COLUMNS);
        let styled = terminal.styled_screen();
        assert!(!styled.contains('\u{1b}'), "NO_COLOR: {styled:?}");
        // Ctrl-C ends the command, and leaves nothing of the line.
        terminal.press(&["C-c"]);
        let screen = terminal.await_screen("the end", |s| s.contains("after 130"));
        assert_eq!(screen, "before\nerror: interrupted\nafter 130");
        assert!(terminal.shows_cursor());
        terminal.close();
    });
}

#[test]
fn what_is_read_later_gets_a_line_for_each_phase() {
    let (sandbox, tools) = sandbox();
    let mut checks = Checks::new();
    // Each phase is seen before the next one comes, if it is to be seen at all.
    let boot = |tools: &FakeTools, seen: &mut dyn FnMut(&str)| {
        let mut guest = Guest::begin(tools);
        seen("s preparing");
        guest.enter(Phase::Kernel);
        seen("s kernel");
        guest.says("Starting ssh.service - x...\n");
        guest.enter(Phase::Userspace);
        seen("s starting services");
        guest.enter(Phase::Ready);
    };
    checks.check("a pipe", || {
        let mut run = run_ssh(&sandbox, "pipe").stdin("\n").spawn();
        boot(&tools, &mut |words| run.await_stderr(words, limit::QUICK));
        let output = run.wait(limit::QUICK).expect_success();
        assert_eq!(output.stdout(), "in the session\ngot \n");
        let stderr = output.stderr();
        assert!(!stderr.contains(['\u{1b}', '\r']), "{stderr:?}");
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(lines.len(), 4, "{stderr}");
        for (line, phase) in lines
            .iter()
            .zip(["preparing", "kernel", "starting services", "ready"])
        {
            assert!(
                line.starts_with("bcvk: ") && line.ends_with(&format!("s {phase}")),
                "{stderr}"
            );
        }
    });
    checks.check("--quiet", || {
        let run = run_ssh(&sandbox, "quiet")
            .arg("--quiet")
            .stdin("\n")
            .spawn();
        boot(&tools, &mut |_| {});
        let output = run.wait(limit::QUICK).expect_success();
        assert_eq!(
            (output.stdout(), output.stderr()),
            ("in the session\ngot \n".into(), String::new())
        );
    });
    for (name, value) in [("TERM", "dumb"), ("CI", "true")] {
        checks.check(&format!("a terminal with {name}={value}"), || {
            let command = run_ssh(&sandbox, name).env(name, value).at_a_terminal();
            let mut run = command.spawn();
            boot(&tools, &mut |words| run.await_stdout(words, limit::QUICK));
            run.await_stdout("in the session", limit::QUICK);
            run.type_in("\n");
            let output = run.wait(limit::QUICK).expect_success();
            let text = output.stdout();
            assert!(!text.contains('\u{1b}'), "{text:?}");
        });
    }
    checks.finish();
    sandbox.finish();
}

#[test]
fn a_boot_that_takes_too_long_says_what_was_starting() {
    let (sandbox, tools) = sandbox();
    let command = run_ssh(&sandbox, "slow").arg("--timeout=3s");
    let terminal = Terminal::run(&sandbox, COLUMNS, SCRIPT, command);
    let mut guest = Guest::begin(&tools);
    guest.enter(Phase::Userspace);
    guest.says("[  OK  ] Started a.service - A.\nStarting slow.service - Slow...\nlast words\n");
    let screen = terminal.await_screen("the end", |s| s.contains("after 124"));
    let words = [
        "before\nerror: the VM was not ready after 3 s; it was still at: starting services\n",
        "  it was still starting:\n    slow.service\n",
        "  the console's last lines:\n    [  OK  ] Started a.service - A.\n",
        "    last words\n",
        "  hint: ",
    ];
    for words in words {
        assert!(screen.contains(words), "no {words:?} in\n{screen}");
    }
    assert!(terminal.shows_cursor());
    terminal.close();
    assert!(
        !boot_times(&sandbox).exists(),
        "a boot that failed is remembered"
    );
    sandbox.finish();
}
