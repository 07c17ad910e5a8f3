//! A recording of a session, as a picture that moves: `docs/images/session.svg`.
//!
//! The commands are typed into a real terminal (tmux), and run in a real VM. Of the time in which nothing
//! changes on the screen, the picture has a second at most.

mod styled;
mod svg;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use bcvk_testkit::drive::error::{Error, Result};
use bcvk_testkit::{Sandbox, Terminal, images};

use svg::Frame;

/// The picture.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/images/session.svg");

/// Columns of the terminal.
const COLUMNS: u16 = 92;

/// Prompts of the host's shell and of the guest's.
const PROMPT: &str = "$ ";
const GUEST_PROMPT: &str = "# ";

/// Pause between two looks at the screen.
const LOOK: Duration = Duration::from_millis(200);

/// Pause between two keys.
const KEY: Duration = Duration::from_millis(45);

/// Limit for what a line does. An emulated VM boots and is checked in a minute.
const LIMIT: Duration = Duration::from_secs(300);

/// Lines that are typed, and the end of the screen once each has been carried out. `IMAGE` is the image.
///
/// tmux has a use of its own for semicolons.
const LINES: [(&str, &str); 5] = [
    ("bcvk ephemeral run-ssh IMAGE", GUEST_PROMPT),
    ("findmnt /", GUEST_PROMPT),
    ("systemctl is-system-running", GUEST_PROMPT),
    ("exit", PROMPT),
    ("bcvk ephemeral check IMAGE", PROMPT),
];

/// Records the session anew.
pub(crate) fn record() -> Result<()> {
    let sandbox = Sandbox::new();
    sandbox.install_bcvk();
    // The session shows how many processors a user's VM has.
    let shell = sandbox.command("sh").env("PS1", PROMPT);
    let shell = shell.env("BCVK_VCPUS", "2");
    let terminal = Terminal::run(&sandbox, COLUMNS, "exec \"$@\"", shell);
    let mut recorder = Recorder {
        terminal: &terminal,
        begun: Instant::now(),
        frames: Vec::new(),
    };
    recorder.await_end(PROMPT)?;
    for (line, end) in LINES {
        recorder.type_in(&line.replace("IMAGE", images::trixie()));
        recorder.await_end(end)?;
    }
    let frames = recorder.frames;
    terminal.close();
    sandbox.finish();
    fs::write(FILE, svg::picture(&frames, COLUMNS)).map_err(Error::io(format!("write {FILE}")))
}

/// A terminal that is looked at.
struct Recorder<'a> {
    terminal: &'a Terminal<'a>,
    begun: Instant,
    frames: Vec<Frame>,
}

impl Recorder<'_> {
    /// Types a line as somebody would.
    fn type_in(&mut self, line: &str) {
        for key in line.chars() {
            self.terminal.press(&["-l", &key.to_string()]);
            thread::sleep(KEY);
            self.look();
        }
        self.terminal.press(&["Enter"]);
    }

    /// Waits until the last line of the screen is an empty prompt that was not there before.
    fn await_end(&mut self, prompt: &str) -> Result<()> {
        let begun = Instant::now();
        // The line that was typed is still the last one.
        let before = self.frames.len();
        while begun.elapsed() < LIMIT {
            self.look();
            let is_new = before == 0 || self.frames.len() > before;
            let ends = self.frames.last().is_some_and(|it| it.ends_with(prompt));
            if is_new && ends {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
        let screen = self.terminal.screen();
        Err(Error::other(format!(
            "waited in vain for {prompt:?}:\n{screen}"
        )))
    }

    /// Keeps the screen if it has changed.
    fn look(&mut self) {
        let lines = styled::lines(&self.terminal.styled_screen());
        if self.frames.last().is_none_or(|last| last.lines != lines) {
            let at = self.begun.elapsed();
            self.frames.push(Frame { at, lines });
        }
    }
}
