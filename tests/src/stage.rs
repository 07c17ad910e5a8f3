//! Running what a page prints, in a sandbox.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use bcvk_testkit::{Cmd, Output, ReservedPort, Sandbox, images, limit};

use crate::page::{Block, Mark, Page, root};

/// The image that pages boot.
const IMAGE: &str = "quay.io/fedora/fedora-bootc:42";
/// The image that pages build.
const OWN_IMAGE: &str = "localhost/mybootc";
/// The user's home on pages.
const HOME: &str = "/home/user";
/// The port of the host that pages publish.
const PORT: &str = "8080";
/// Limit for a block: a boot, and several commands.
const BLOCK: Duration = limit::BOOT.saturating_mul(2);
/// The network that pages make.
const NETWORK: &str = "testnet";

/// Correspondence between pages and tests: what pages print is a user's, and what runs here is a
/// test's own.
#[derive(Debug)]
pub struct Translation {
    prefix: String,
    own_image: String,
    home: String,
    port: ReservedPort,
}

impl Translation {
    /// Makes the correspondence for a test in this sandbox, whose directory `home` stands for the
    /// user's.
    #[must_use]
    pub fn new(sandbox: &Sandbox, home: &str) -> Self {
        Self {
            prefix: sandbox.name(""),
            own_image: format!("localhost/{}", sandbox.name("mybootc")),
            home: home.to_owned(),
            port: ReservedPort::new(),
        }
    }

    /// Returns the test's name for the image that the user builds.
    #[must_use]
    pub fn own_image(&self) -> &str {
        &self.own_image
    }

    /// Translates a page's text for the test to run. A word that ends in `vm` is a VM's name.
    #[must_use]
    pub fn to_test(&self, text: &str) -> String {
        // Words are replaced first, because the replacements below contain words too.
        each_word(text, |word| {
            let is_vm = word.len() > 3 && word.ends_with("vm");
            if is_vm || word == NETWORK {
                Some(format!("{}{word}", self.prefix))
            } else {
                (word == PORT).then(|| self.port.to_string())
            }
        })
        .replace(IMAGE, images::trixie())
        .replace(OWN_IMAGE, &self.own_image)
        .replace(HOME, &self.home)
        .replace("~/.config", &format!("{}/.config", self.home))
    }

    /// Translates what the test has seen into what a page would print.
    #[must_use]
    pub fn to_page(&self, text: &str) -> String {
        let text = text
            .replace(&self.home, HOME)
            .replace(images::trixie(), IMAGE)
            .replace(&self.prefix, "");
        each_word(&text, |word| {
            (word == self.port.to_string()).then(|| PORT.to_owned())
        })
    }
}

/// Replaces some of the words of a text, which are letters and digits.
fn each_word(text: &str, replacement: impl Fn(&str) -> Option<String>) -> String {
    text.split_inclusive(|c: char| !c.is_ascii_alphanumeric())
        .map(|part| {
            let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            match replacement(word) {
                Some(other) => format!("{other}{}", &part[word.len()..]),
                None => part.to_owned(),
            }
        })
        .collect()
}

/// Label by which the image that is there at first is known, whatever becomes of its name.
fn label(translation: &Translation) -> String {
    format!("bcvk.test={}", translation.own_image())
}

/// A sandbox in which the blocks of one page run, one after the other.
#[derive(Debug)]
pub struct Stage {
    sandbox: Sandbox,
    translation: Translation,
    home: PathBuf,
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    /// Makes a stage with bcvk on its `PATH`, and an image of the user's.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.install_bcvk();
        let home = sandbox.make_dir("work");
        let config = home.join(".config");
        fs::create_dir(&config).expect("make a directory");
        // For users other than root, podman has its settings in the home too.
        let podmans = sandbox.home().join(".config/containers");
        if !sandbox.is_root() && podmans.exists() {
            symlink(podmans, config.join("containers")).expect("make a link");
        }
        let translation = Translation::new(&sandbox, &home.display().to_string());
        // The image gets an ID of its own: if one image is given two names, or loses them, at the
        // same time, podman loses one.
        let _ = sandbox
            .podman(["build", "--quiet", "--pull=never", "--label"])
            .arg(label(&translation))
            .args(["--tag", translation.own_image(), "-"])
            .stdin(format!("FROM {}\n", images::trixie()))
            .run()
            .expect_success();
        let stage = Self {
            sandbox,
            translation,
            home,
        };
        stage.copy("examples/web");
        stage
    }

    /// Gives the user a directory of the source tree.
    fn copy(&self, directory: &str) {
        for entry in fs::read_dir(root().join(directory)).expect("read a directory") {
            let path = entry.expect("read a directory").path();
            let text = fs::read_to_string(&path).expect("read a file");
            let name = path.strip_prefix(root()).expect("it is below");
            self.write(&name.display().to_string(), &text);
        }
    }

    /// Runs every block of a page that is a shell's or a file, and ends.
    ///
    /// # Panics
    /// If one does not do what the page says.
    pub fn play(path: &str) {
        let stage = Self::new();
        stage.run_page(&Page::read(path));
        stage.finish();
    }

    /// Runs every block of a page that is a shell's or a file.
    ///
    /// # Panics
    /// If one does not do what the page says.
    #[allow(clippy::print_stderr, reason = "shown only with a test that failed")]
    pub fn run_page(&self, page: &Page) {
        for block in &page.blocks {
            eprintln!("{}:{}", page.path.display(), block.line);
            self.run(block);
        }
    }

    fn run(&self, block: &Block) {
        match (&block.mark, block.language.as_str()) {
            (Some(Mark::File(path)), _) => self.write(path, &block.text),
            (Some(Mark::Typed(line)), _) => self.type_into(&block.text, line),
            (Some(Mark::ExitCode(code)), _) => {
                let _ = self.shell(&block.text).run().expect_code(*code);
            }
            (None, "sh") => self.succeeds(&block.text),
            (None, "console") => self.compare(&block.text),
            _ => {}
        }
    }

    /// Runs a script, which must succeed.
    ///
    /// # Panics
    /// If it fails.
    pub fn succeeds(&self, script: &str) {
        let _ = self.shell(script).run().expect_success();
    }

    /// Writes a file below the user's home.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.home.join(path.trim_start_matches("~/"));
        fs::create_dir_all(path.parent().expect("a file")).expect("make a directory");
        fs::write(path, self.translation.to_test(text)).expect("write a file");
    }

    /// A command that runs a page's script, which ends at the first command that fails.
    fn shell(&self, script: &str) -> Cmd {
        let script = self.translation.to_test(script);
        let script = format!("set -e; cd '{}'\n{script}", self.home.display());
        self.sandbox
            .command("sh")
            .args(["-c", &script])
            .env("XDG_CONFIG_HOME", self.home.join(".config"))
            // The cache is beside the home: the home is what a page builds images from, which must
            // have no snapshots in them.
            .env("XDG_CACHE_HOME", self.home.with_file_name("cache"))
            // What a page does with its VMs does not depend on how they have come up.
            .env("BCVK_WARM", "auto")
            // The plugin is installed by these where `pip install` would find no network.
            .env(
                "PYTHONPATH",
                concat!(env!("CARGO_MANIFEST_DIR"), "/../python/src"),
            )
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTEST_PLUGINS", "pytest_bcvk.plugin")
            .limit(BLOCK)
    }

    /// Uses the shell that a script ends in, and leaves it.
    fn type_into(&self, script: &str, line: &str) {
        let mut shell = self.shell(script).at_a_terminal().spawn();
        shell.await_stdout("# ", limit::BOOT);
        shell.type_in(line);
        shell.type_in("\n");
        let _ = shell.wait(limit::BOOT).expect_success();
    }

    /// Runs the commands after `$`, and compares what they print with what the page says.
    fn compare(&self, text: &str) {
        const END: char = '\u{1e}';
        let exchanges = exchanges(text);
        let commands: String = exchanges
            .iter()
            .map(|(command, _)| format!("{command}\ncode=$?; printf '\\036'; (exit $code)\n"))
            .collect();
        let script = format!("set +e; exec 2>&1\n{commands}");
        let output: Output = self.shell(&script).run();
        let stdout = self.translation.to_page(&output.stdout());
        let answers: Vec<&str> = stdout.split(END).collect();
        assert_eq!(answers.len(), exchanges.len() + 1, "{output}");
        for ((command, expected), answer) in exchanges.iter().zip(answers) {
            // Progress and notices are left out, of which a terminal keeps little.
            let lines = answer.lines().filter(|line| !line.starts_with("bcvk: "));
            let answer: Vec<&str> = lines.map(str::trim_end).collect();
            assert!(
                matches(expected, &answer),
                "`{command}` printed\n{}\nand not\n{}",
                answer.join("\n"),
                expected.join("\n")
            );
        }
    }

    /// Removes everything of the stage, and fails the test if a page has left anything.
    pub fn finish(self) {
        self.sandbox.remove_image(self.translation.own_image());
        // A page that has built the image has taken the first image's name away.
        let _ = self
            .sandbox
            .podman(["image", "prune", "--force", "--filter"])
            .arg(format!("label={}", label(&self.translation)))
            .run()
            .expect_success();
        self.sandbox.finish();
    }
}

/// Splits a text into commands, which begin with `$ ` and go on after a backslash, and the lines
/// that each prints.
fn exchanges(text: &str) -> Vec<(String, Vec<&str>)> {
    let mut exchanges: Vec<(String, Vec<&str>)> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        match (line.strip_prefix("$ "), exchanges.last_mut()) {
            (_, Some((command, _))) if goes_on => {
                command.push('\n');
                command.push_str(line);
            }
            (Some(command), _) => exchanges.push((command.to_owned(), Vec::new())),
            (None, Some((_, answer))) => {
                answer.push(line);
                continue;
            }
            (None, None) => panic!("no command before {line:?}"),
        }
        goes_on = line.ends_with('\\');
    }
    exchanges
}

/// Returns true if `lines` are as expected, where `…` stands for anything, and alone for any lines.
fn matches(expected: &[&str], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((&"…", rest)) => (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..])),
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| line_matches(first, line) && matches(rest, others)),
    }
}

fn line_matches(expected: &str, line: &str) -> bool {
    match expected.split_once('…') {
        None => expected == line,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| line_matches(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_compared_but_for_what_stands_open() {
        let fits = |expected: &str, lines: &str| {
            let expected: Vec<&str> = expected.lines().collect();
            let lines: Vec<&str> = lines.lines().collect();
            matches(&expected, &lines)
        };
        assert!(fits("a\nb", "a\nb"));
        assert!(!fits("a", "a\nb"));
        assert!(!fits("a\nb", "a"));
        assert!(fits("a\n…", "a\nb\nc"));
        assert!(fits("…\nc", "a\nb\nc"));
        assert!(!fits("…\nc", "a\nb"));
        assert!(fits("up …, load …", "up 3 min, load 1, 2"));
        assert!(!fits("up …, load …", "up 3 min"));
    }

    #[test]
    fn commands_and_answers_are_told_apart() {
        let found = exchanges("$ a \\\n    b\n1\n2\n$ c\n");
        assert_eq!(
            found,
            [
                ("a \\\n    b".to_owned(), vec!["1", "2"]),
                ("c".to_owned(), vec![])
            ]
        );
    }

    #[test]
    fn words_are_replaced_as_wholes() {
        let vm = |word: &str| (word == "vm").then(|| "x".to_owned());
        assert_eq!(each_word("vm-vm.vms avm 'vm'", vm), "x-x.vms avm 'x'");
    }
}
