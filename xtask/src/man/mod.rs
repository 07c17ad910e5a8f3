//! The manual: `docs/man/*.md`, whose lists of options come from the program, and pages for man(1).

mod generated;
mod options;
mod roff;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use bcvk_testkit::drive::error::{Error, Result};

/// Write the option lists of docs/man anew, or make manual pages of it
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Write nothing, and fail if a list is out of date
    #[arg(long, conflicts_with = "out")]
    check: bool,

    /// Make DIR/man5 and DIR/man8 instead, with a page for each of docs/man
    ///
    /// The pages bear the day of SOURCE_DATE_EPOCH, or of the last commit to docs/man.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Writes the lists, or makes the pages.
pub(crate) fn man(options: &Options) -> Result<()> {
    if let Some(dir) = &options.out {
        return make_pages(dir);
    }
    let stale = stale()?;
    if !options.check {
        for (page, text) in stale {
            let path = directory().join(page.file());
            fs::write(&path, text).map_err(Error::io(format!("write {}", path.display())))?;
        }
    } else if !stale.is_empty() {
        let names: Vec<String> = stale.iter().map(|(page, _)| page.file()).collect();
        let what = format!("out of date: {}; run cargo xtask man", names.join(", "));
        return Err(Error::other(what));
    }
    Ok(())
}

/// A page of `docs/man`.
#[derive(Debug)]
struct Page {
    name: String,
    section: String,
    text: String,
}

impl Page {
    fn file(&self) -> String {
        format!("{}.{}.md", self.name, self.section)
    }
}

/// Finds the pages that differ from the program, with the text that they have to have.
fn stale() -> Result<Vec<(Page, String)>> {
    let pages = sources()?;
    let texts = generated::written_anew(&pages).map_err(|e| Error::other(e.to_string()))?;
    let both = pages.into_iter().zip(texts);
    Ok(both.filter(|(page, text)| page.text != *text).collect())
}

fn repository() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

fn directory() -> PathBuf {
    repository().join("docs/man")
}

fn sources() -> Result<Vec<Page>> {
    let dir = directory();
    let mut pages = Vec::new();
    for entry in fs::read_dir(&dir).map_err(Error::io(format!("list {}", dir.display())))? {
        let path = entry.map_err(Error::io("list the pages"))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some((name, section)) = name
            .and_then(|name| name.strip_suffix(".md"))
            .and_then(|name| name.rsplit_once('.'))
        else {
            let what = format!("{} is not named NAME.SECTION.md", path.display());
            return Err(Error::other(what));
        };
        pages.push(Page {
            name: name.to_owned(),
            section: section.to_owned(),
            text: fs::read_to_string(&path)
                .map_err(Error::io(format!("read {}", path.display())))?,
        });
    }
    pages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(pages)
}

fn make_pages(out: &Path) -> Result<()> {
    let source = format!("bcvk {}", env!("CARGO_PKG_VERSION"));
    let date = date()?;
    for page in sources()? {
        let title = roff::Title {
            name: &page.name,
            section: &page.section,
            date: &date,
            source: &source,
        };
        let text = page.text.replace("<!-- VERSION PLACEHOLDER -->", &source);
        let roff = roff::page(&title, &text)
            .map_err(|what| Error::other(format!("{}: {what}", page.file())))?;
        let dir = out.join(format!("man{}", page.section));
        fs::create_dir_all(&dir).map_err(Error::io(format!("make {}", dir.display())))?;
        let path = dir.join(format!("{}.{}", page.name, page.section));
        fs::write(&path, roff).map_err(Error::io(format!("write {}", path.display())))?;
    }
    Ok(())
}

/// Returns the day that pages bear: that of SOURCE_DATE_EPOCH, or of the last commit to the manual.
/// Outside of a git repository they bear none, so that the same source always makes the same pages.
fn date() -> Result<String> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => seconds,
        Err(_) => output(Command::new("git").current_dir(repository()).args([
            "log",
            "-1",
            "--format=%ct",
            "--",
            "docs/man",
        ]))
        .unwrap_or_default(),
    };
    if seconds.is_empty() {
        return Ok(String::new());
    }
    output(
        Command::new("date")
            .args(["--utc", "+%F", "--date"])
            .arg(format!("@{seconds}")),
    )
    .ok_or_else(|| Error::other(format!("SOURCE_DATE_EPOCH is no time: {seconds}")))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_says_what_the_program_says() {
        let stale = stale().expect("a page for each command");
        let names: Vec<String> = stale.iter().map(|(page, _)| page.file()).collect();
        assert!(names.is_empty(), "run cargo xtask man: {names:?}");
    }

    /// A page may refer to another one, but it names each option.
    #[test]
    fn every_option_is_on_the_page_of_its_command() {
        let mut root = bcvk::described();
        root.build();
        let mut commands = Vec::new();
        generated::with_pages(&root, "bcvk", &mut commands);
        let pages = sources().expect("sources");
        let mut seen = 0;
        for (name, command) in commands
            .iter()
            .filter(|(_, c)| !c.is_disable_help_flag_set())
        {
            let page = pages.iter().find(|page| page.name == *name).expect(name);
            let (_, text) = page.text.split_once("# OPTIONS\n").expect(name);
            for option in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let Some(long) = option.get_long() else {
                    continue;
                };
                let is_term =
                    |line: &str| line.starts_with("**-") && line.contains(&format!("**--{long}**"));
                assert!(text.lines().any(is_term), "--{long} of {name}");
                seen += 1;
            }
        }
        assert!(seen > 150, "only {seen} options");
    }

    /// groff warns of nothing: a reader may not see what it warns of as it was meant.
    #[test]
    fn every_page_is_one_for_man() {
        let dir = tempfile::tempdir().expect("a directory");
        make_pages(dir.path()).expect("pages");
        let mut seen = 0;
        for page in sources().expect("sources") {
            let file = dir.path().join(format!(
                "man{section}/{}.{section}",
                page.name,
                section = page.section
            ));
            let output = Command::new("man")
                .args(["--warnings", "--local-file"])
                .arg(&file)
                .env("MANWIDTH", "80")
                .env("LC_ALL", "C.UTF-8")
                .output()
                .expect("run man, which setup/host.sh installs");
            let text = String::from_utf8_lossy(&output.stdout);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && said.is_empty(),
                "{}: {said}",
                page.name
            );
            assert!(text.contains(&format!("{} - ", page.name)), "{text}");
            assert!(
                !text.contains("GENERATED") && !text.contains("**"),
                "{text}"
            );
            seen += 1;
        }
        assert!(seen > 15, "only {seen} pages");
    }
}
