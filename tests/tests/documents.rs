//! The documents are true: what they print runs here, their links lead somewhere, and the messages
//! that they explain are the program's.

use std::path::{Path, PathBuf};
use std::{env, fs};

use bcvk_testkit::{Sandbox, limit};
use bcvk_tests::ci;
use bcvk_tests::links::{self, documents};
use bcvk_tests::page::{Mark, Page, root};
use bcvk_tests::stage::Stage;

/// Pages whose commands run here. The manual's examples are in `manual.rs`.
const PAGES: &[&str] = &[
    "README.md",
    "SECURITY.md",
    "docs/guide/ci.md",
    "docs/guide/comparison.md",
    "docs/guide/differences.md",
    "docs/guide/fidelity.md",
    "docs/guide/how-it-works.md",
    "docs/README.md",
    "docs/guide/quick-start.md",
    "docs/guide/recipes.md",
    "docs/guide/testing.md",
    "docs/guide/troubleshooting.md",
    "docs/performance.md",
    "docs/hosts.md",
    "docs/reliability.md",
    "docs/scale-out.md",
    "docs/threat-model.md",
];

#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_block_says_what_it_is() {
    let complaints: Vec<String> = PAGES
        .iter()
        .flat_map(|page| Page::read(page).unclear_blocks())
        .collect();
    assert_none(&complaints);
}

/// A new page has to be in the list above, and a page with commands in a test below.
#[test]
fn every_page_of_the_guide_is_looked_at() {
    let in_guide = |path: &PathBuf| path.starts_with("docs/guide");
    let forgotten: Vec<String> = documents()
        .into_iter()
        .filter(in_guide)
        .map(|path| path.display().to_string())
        .filter(|path| !PAGES.contains(&path.as_str()))
        .collect();
    assert_none(&forgotten);

    let source = include_str!("documents.rs");
    let idle = |page: &&&str| {
        let has_commands = Page::read(page).blocks.iter().any(|block| {
            let shells = ["sh", "console"].contains(&block.language.as_str());
            shells && block.mark.is_none()
        });
        // A page is named once in the list, and once where it is played.
        has_commands && source.matches(&format!("{page:?}")).count() < 2
    };
    let idle: Vec<String> = PAGES.iter().filter(idle).map(ToString::to_string).collect();
    assert_none(&idle);
}

/// Other pages build from the directory that this page shows.
#[test]
fn the_example_is_what_the_quick_start_shows() {
    let page = Page::read("docs/guide/quick-start.md");
    let mut shown = 0;
    for block in &page.blocks {
        if let Some(Mark::File(path)) = &block.mark {
            let file = root().join("examples").join(path);
            assert_eq!(fs::read_to_string(file).expect("read a file"), block.text);
            shown += 1;
        }
    }
    let files = fs::read_dir(root().join("examples/web")).expect("read a directory");
    assert_eq!(files.count(), shown);
}

#[test]
fn links_lead_somewhere() {
    let broken: Vec<String> = documents()
        .iter()
        .flat_map(|path| links::broken(&Page::read(path)))
        .collect();
    assert_none(&broken);
}

#[test]
fn the_book_has_every_document() {
    let summary = Page::read("docs/SUMMARY.md");
    let chapters: Vec<PathBuf> = summary
        .links
        .iter()
        .map(|link| Path::new("docs").join(&link.target))
        .collect();
    let forgotten: Vec<String> = documents()
        .into_iter()
        .filter(|path| path.starts_with("docs") && path != Path::new("docs/SUMMARY.md"))
        .filter(|path| !chapters.contains(path))
        .map(|path| format!("{} is in no line of docs/SUMMARY.md", path.display()))
        .collect();
    assert_none(&forgotten);
}

/// Each heading of the page is a message, in which `…` or capitals stand for what differs.
#[test]
fn messages_that_are_explained_are_the_programs() {
    let source = source_of("crates");
    let source = without_line_breaks(&source);
    let page = Page::read("docs/guide/troubleshooting.md");
    let messages: Vec<&String> = page
        .headings
        .iter()
        .filter(|(level, _)| *level as usize == 3)
        .map(|(_, text)| text)
        .collect();
    assert!(messages.len() > 20, "{messages:?}");
    let unknown: Vec<String> = messages
        .into_iter()
        .filter(|message| {
            let mut said: Vec<&str> = message
                .split(|c: char| c == '…' || c.is_ascii_uppercase())
                .collect();
            // These are places where the program itself puts a message together.
            for joint in [" has no ", " before ", "could not ", "the guest "] {
                said = said.iter().flat_map(|part| part.split(joint)).collect();
            }
            said = said
                .iter()
                .map(|part| part.trim_matches(|c: char| " :.,()\"".contains(c)))
                .filter(|part| part.len() > 2)
                .collect();
            said.is_empty() || !said.iter().all(|part| source.contains(part))
        })
        .map(|message| format!("the program does not say {message:?}"))
        .collect();
    assert_none(&unknown);
}

fn source_of(directory: &str) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(root().join(directory)).expect("read a directory") {
        let path = entry.expect("read a directory").path();
        if path.is_dir() {
            let below = path.strip_prefix(root()).expect("it is below");
            text += &source_of(&below.display().to_string());
        } else if path.extension().is_some_and(|end| end == "rs") {
            text += &fs::read_to_string(&path).expect("read a source file");
        }
    }
    text
}

/// Joins Rust's long texts, which a backslash breaks at the end of a line.
fn without_line_breaks(source: &str) -> String {
    source
        .split("\\\n")
        .enumerate()
        .map(|(n, part)| if n == 0 { part } else { part.trim_start() })
        .collect()
}

#[test]
fn readme() {
    Stage::play("README.md");
}

#[test]
fn quick_start() {
    Stage::play("docs/guide/quick-start.md");
}

#[test]
fn recipes() {
    Stage::play("docs/guide/recipes.md");
}

#[test]
fn testing() {
    Stage::play("docs/guide/testing.md");
}

/// The page's own commands run, and those of every file that it shows, as far as they need no service.
#[test]
fn ci_recipes() {
    let page = Page::read("docs/guide/ci.md");
    let files = ci::files();
    assert!(files.len() > 3, "{files:?}");
    let stage = Stage::new();
    stage.write("Containerfile", "FROM quay.io/fedora/fedora-bootc:42\n");
    stage.run_page(&page);
    for file in files {
        let directive = format!("{{{{#include ../../{}}}}}", file.path.display());
        let is_shown = page
            .blocks
            .iter()
            .any(|block| block.language == "yaml" && block.text.trim() == directive);
        assert!(
            is_shown,
            "docs/guide/ci.md does not show {}",
            file.path.display()
        );
        let here: Vec<&ci::Step> = file.steps.iter().filter(|s| s.runs_here()).collect();
        assert!(!here.is_empty(), "what does {file:?} test?");
        for step in here {
            stage.succeeds(&step.script_with(&file.variables));
        }
    }
    stage.finish();
}

/// The README begins with this one command. The release build is left out: the binary is there already.
#[test]
fn make_shell() {
    let sandbox = Sandbox::new();
    let from_outside = |name: &str| env::var(name).unwrap_or_default();
    let path = format!("{}:{}", sandbox.bin().display(), from_outside("PATH"));
    let mut shell = sandbox
        .command("make")
        .args(["--directory", &root().display().to_string(), "shell"])
        .args([
            "build=true",
            &format!("bcvk={}", sandbox.bcvk_path().display()),
        ])
        // Cargo finds Rust by this variable.
        .env("HOME", from_outside("HOME"))
        .env("PATH", path)
        .at_a_terminal()
        .spawn();
    // The tests' own set-up was the first run.
    shell.await_stdout("setup: everything is in place", limit::BOOT);
    shell.await_stdout("# ", limit::BOOT);
    shell.type_in("echo type=$(findmnt --noheadings --output FSTYPE /); exit\n");
    let _ = shell
        .wait(limit::SHUTDOWN)
        .expect_success()
        .expect_stdout("type=virtiofs");
    sandbox.finish();
}

#[test]
fn scale_out() {
    Stage::play("docs/scale-out.md");
}
