//! Claims of the manual: its options have tables of their own, the rest names tests in comments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use bcvk_tests::page::root;

use super::{NO_TEST, TESTS, claims, exists, files_below, files_of, misnamed, names};

/// Directory of the pages.
const PAGES: &str = "docs/man";

/// Document with the tests of options and arguments: a table for each page.
const OPTIONS: &str = "docs/design/options.md";

/// Sections that promise nothing, or what other pages and tests hold.
const WITHOUT_PROMISES: [&str; 7] = [
    "NAME",
    "SYNOPSIS",
    "SUBCOMMANDS",
    "EXAMPLES",
    "DIFFERENCES",
    "SEE ALSO",
    "VERSION",
];

#[test]
fn every_promise_of_the_manual_names_a_test_that_exists() {
    let mut complaints = Vec::new();
    for (page, text) in manual() {
        let missing = unproved_of_manual(&text);
        complaints.extend(missing.iter().map(|part| format!("{page}: {part}")));
        complaints.extend(misnamed(&page, &text));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn a_promise_of_the_manual_without_a_test_is_noticed() {
    let page = "# NAME\n\nname\n\n# OPTIONS\n\n<!-- BEGIN GENERATED OPTIONS -->\n\n**-a**\n\n:   all\n\n\
        <!-- END GENERATED OPTIONS -->\n\nAs follows:\n\n- a list\n\n<!-- test: `a` -->\n\na text\n\na second text\n\n\
        <!-- no test: reason -->\n\n`A`\n\n:   a\n\n    more\n\n`B`\n\n:   b\n\na third text\n\n# FILES\n\n`C`\n\n:   c\n";
    let unproved = unproved_of_manual(page);
    assert_eq!(
        unproved,
        ["- a list", "a second text", "a third text", "`C`"]
    );
}

/// Returns the first lines of the paragraphs and lists of a page of the manual that name no test. A list
/// of definitions has one comment for all of them; the generated parts have a document of their own.
fn unproved_of_manual(page: &str) -> Vec<String> {
    let mut unproved = Vec::new();
    let page = without_generated(page);
    for section in format!("\n{page}").split("\n# ").skip(1) {
        let (title, text) = section.split_once('\n').expect("a section");
        if WITHOUT_PROMISES.contains(&title) {
            continue;
        }
        let blocks: Vec<&str> = text
            .split("\n\n")
            .map(|block| block.trim_matches('\n'))
            .collect();
        let blocks: Vec<&str> = blocks
            .into_iter()
            .filter(|block| !block.is_empty())
            .collect();
        let (mut is_proved, mut in_list) = (false, false);
        for (n, block) in blocks.iter().enumerate() {
            if block.starts_with('#') {
                (is_proved, in_list) = (false, false);
                continue;
            }
            let is_comment = block.starts_with(TESTS) || block.starts_with(NO_TEST);
            let is_term = blocks
                .get(n + 1)
                .is_some_and(|next| next.starts_with(":   "));
            let is_part = is_term || block.starts_with(":   ") || block.starts_with("    ");
            let goes_on = is_part && in_list;
            if !is_comment && !goes_on && !is_proved && !block.ends_with(':') {
                unproved.extend(block.lines().next().map(str::to_owned));
            }
            is_proved = is_comment;
            in_list = is_part;
        }
    }
    unproved
}

fn without_generated(page: &str) -> String {
    let mut kept = String::new();
    let mut rest = page;
    while let Some((before, generated)) = rest.split_once("<!-- BEGIN GENERATED ") {
        kept.push_str(before);
        let (_, after) = generated.split_once("<!-- END GENERATED ").expect("an end");
        (_, rest) = after.split_once("-->").expect("the end of a comment");
    }
    kept + rest
}

/// Returns the pages of the manual, by the names of their files.
fn manual() -> BTreeMap<String, String> {
    let pages = files_below(&root().join(PAGES)).into_iter().map(|path| {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        (name, fs::read_to_string(path).expect("read a page"))
    });
    pages.collect()
}

#[test]
fn every_option_of_the_manual_has_a_test_that_gives_it() {
    let text = fs::read_to_string(root().join(OPTIONS)).expect("read a document");
    let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for part in text.split("\n## ").skip(1) {
        let title = part.lines().next().unwrap_or_default();
        tables.insert(title.to_owned(), claims(part));
    }
    let mut complaints = Vec::new();
    let mut seen = 0;
    for (file, page) in manual() {
        let options = options_of(&page);
        let (name, section) = file
            .trim_end_matches(".md")
            .rsplit_once('.')
            .expect("a section");
        let table = tables
            .remove(&format!("{name}({section})"))
            .unwrap_or_default();
        let rows: BTreeSet<&str> = table
            .iter()
            .map(|(option, _)| option.trim_matches('`'))
            .collect();
        let known: BTreeSet<&str> = options.keys().map(String::as_str).collect();
        let different = rows.symmetric_difference(&known);
        complaints.extend(different.map(|option| format!("{name}: {option} is only in one place")));
        for (option, tests) in &table {
            let short = options.get(option.trim_matches('`')).copied().flatten();
            complaints
                .extend(untested(option, short, &names(tests)).map(|why| format!("{name}: {why}")));
            seen += 1;
        }
    }
    complaints.extend(
        tables
            .keys()
            .map(|title| format!("there is no page {title}")),
    );
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(seen > 80, "only {seen} options");
}

/// Returns the reason for which the tests do not show that an option works.
fn untested(option: &str, short: Option<char>, tests: &[String]) -> Option<String> {
    if let Some(missing) = tests.iter().find(|name| !exists(name)) {
        return Some(format!("{option} names `{missing}`, which is no test"));
    }
    let long = option.trim_matches('`');
    if !long.starts_with("--") {
        return tests.is_empty().then(|| format!("{option} names no test"));
    }
    let gives = |word: &str| {
        let cluster = word.strip_prefix('-').filter(|flags| flags.len() < 4);
        word == long
            || cluster
                .zip(short)
                .is_some_and(|(flags, short)| flags.contains(short))
    };
    let is_given = tests.iter().flat_map(|name| files_of(name)).any(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .any(gives)
    });
    (!is_given).then(|| format!("no test of {option} has it in its file"))
}

#[test]
fn an_option_without_a_test_is_noticed() {
    let page = "<!-- BEGIN GENERATED OPTIONS -->\n\n*IMAGE*\n\n:   it\n\n**-t**, **--tty**\n\n:   so\n\n## Part\n\n\
        **--var-disk**[=*SIZE*]\n\n:   disk\n\n## Options of bcvk-ephemeral-run(8)\n\n**--name** *NAME*\n\n\
        <!-- END GENERATED OPTIONS -->\n\n**--other**\n";
    let options = options_of(page);
    let names: Vec<&str> = options.keys().map(String::as_str).collect();
    assert_eq!(names, ["--tty", "--var-disk", "IMAGE", OF_RUN]);
    assert_eq!(options["--tty"], Some('t'));

    let untested =
        |option, short, test: &str| untested(option, short, &[test.to_owned()]).is_some();
    assert!(untested("`--tty`", Some('t'), "warm::none"));
    assert!(untested(
        "`--none-such`",
        None,
        "dry_run::debug_opens_a_shell_instead_of_a_vm"
    ));
    assert!(!untested(
        "`--debug`",
        None,
        "dry_run::debug_opens_a_shell_instead_of_a_vm"
    ));
    assert!(!untested(
        "`--tty`",
        Some('t'),
        "lifecycle::a_vm_at_a_terminal_is_used_left_alone_and_taken_up_again"
    ));
}

/// Row that stands for the options that a page takes from `run`'s.
const OF_RUN: &str = "options of run";

/// Returns the options and arguments that a page describes, and their letters. Those that all commands
/// have are on bcvk(8).
fn options_of(page: &str) -> BTreeMap<String, Option<char>> {
    let mut options = BTreeMap::new();
    let Some((_, generated)) = page.split_once("<!-- BEGIN GENERATED OPTIONS -->") else {
        return options;
    };
    let (generated, _) = generated
        .split_once("<!-- END GENERATED OPTIONS -->")
        .expect("an end");
    for line in generated.lines() {
        if line.starts_with("## Options of bcvk-ephemeral-run") {
            options.insert(OF_RUN.to_owned(), None);
            break;
        }
        if line == "## Everywhere" || line.contains("**--verbose**, **-h**") {
            break;
        }
        if let Some((_, long)) = line.split_once("**--").filter(|_| line.starts_with("**-")) {
            let long = long.split("**").next().expect("a name");
            let short = line
                .strip_prefix("**-")
                .and_then(|rest| rest.chars().next());
            options.insert(format!("--{long}"), short.filter(|letter| *letter != '-'));
        } else if let Some(argument) = line.strip_prefix('*').filter(|rest| !rest.starts_with('*'))
        {
            options.insert(argument.split('*').next().expect("a name").to_owned(), None);
        }
    }
    options
}
