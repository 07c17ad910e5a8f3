//! Every claim of a document that makes them names a test, and the test exists.

mod manual;

use std::fs;
use std::path::{Path, PathBuf};

use bcvk_tests::page::root;

/// Documents with tables of claims: their last column is called "test".
const DOCUMENTS: [&str; 2] = ["docs/threat-model.md", "docs/reliability.md"];

/// Pages for users, which need not see tests: those of a paragraph, list or table are in a comment before
/// it, or at the end of each row.
const PAGES: [&str; 2] = ["docs/guide/fidelity.md", "docs/guide/differences.md"];

/// Beginning of such a comment.
const TESTS: &str = "<!-- test: ";

/// Beginning of a comment with the reason for which there is no test.
const NO_TEST: &str = "<!-- no test: ";

/// Names of crates in documents, and their directories.
const CRATES: [(&str, &str); 5] = [
    ("host", "crates/bcvk-host/src"),
    ("supervisor", "crates/bcvk-supervisor/src"),
    ("guest", "crates/bcvk-guest/src"),
    ("contract", "crates/bcvk-contract/src"),
    ("bcvk", "crates/bcvk/src"),
];

#[test]
fn every_claim_names_a_test_that_exists() {
    let mut complaints = Vec::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).expect("read a document");
        let claims = claims(&text);
        assert!(claims.len() > 5, "{document} has few claims: {claims:?}");
        for (claim, tests) in claims {
            let named = names(&tests);
            if named.is_empty() && !tests.contains("the same") {
                complaints.push(format!("{document}: no test is named for {claim:?}"));
            }
            let is_missing = |name: &&String| !exists(name);
            complaints.extend(
                named
                    .iter()
                    .filter(is_missing)
                    .map(|name| format!("{document}: {claim:?} names `{name}`, which is no test")),
            );
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_promise_of_a_page_names_a_test_that_exists() {
    let mut complaints = Vec::new();
    for page in PAGES {
        let text = fs::read_to_string(root().join(page)).expect("read a page");
        let missing = unproved(&text);
        complaints.extend(missing.iter().map(|part| format!("{page}: {part}")));
        complaints.extend(misnamed(page, &text));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Returns what is wrong with the comments of a page.
fn misnamed(page: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for comment in text.split(TESTS).skip(1) {
        let (tests, _) = comment.split_once(" -->").expect("an end");
        let named = names(tests);
        if named.is_empty() {
            complaints.push(format!("{page}: {tests} names nothing"));
        }
        let missing = named.iter().filter(|name| !exists(name));
        complaints.extend(missing.map(|name| format!("{page}: `{name}` is no test")));
    }
    complaints
}

#[test]
fn a_promise_without_a_test_is_noticed() {
    let page = "# Page\n\nIntroduction\n\n## Part\n\nAs follows:\n\n- a list\n\n\
        <!-- test: `a` -->\n\na text\n\na second text\n\n| a | b |\n|---|---|\n| c | d <!-- test: `e` --> |\n\n\
        | f | g |\n|---|---|\n| h | i <!-- test: `e` --> |\n| j | k |\n\n<!-- no test: reason -->\n\nlast\n";
    assert_eq!(unproved(page), ["- a list", "a second text", "| j | k |"]);
}

/// Returns the first lines of the paragraphs and lists, and the rows of tables, that name no test. An
/// introduction, to the page or to what follows, promises nothing.
fn unproved(page: &str) -> Vec<&str> {
    let (_, parts) = page.split_once("\n## ").expect("a heading");
    let mut unproved = Vec::new();
    let mut is_proved = false;
    for block in parts.split("\n\n").skip(1) {
        let block = block.trim();
        let is_comment = block.starts_with(TESTS) || block.starts_with(NO_TEST);
        if !is_comment && !is_proved && !block.starts_with('#') && !block.ends_with(':') {
            if block.starts_with('|') {
                let rows = block.lines().skip(2);
                unproved.extend(rows.filter(|row| !row.contains(TESTS)));
            } else {
                unproved.extend(block.lines().next());
            }
        }
        is_proved = is_comment;
    }
    unproved
}

#[test]
fn a_test_that_does_not_exist_is_noticed() {
    let table = "| claim | test |\n|---|---|\n| a | `warm::none` |\n\n| other | how |\n|---|---|\n| b | `c` |\n";
    let claims = claims(table);
    assert_eq!(claims, [("a".to_owned(), "`warm::none`".to_owned())]);
    for missing in [
        "warm::none",
        "none::a",
        "host::saved::none",
        "host::error",
        "nothing_…",
    ] {
        assert!(!exists(missing), "{missing}");
    }
    for there in [
        "host::saved",
        "guest::rooted",
        "a_busy_host_…",
        "status::store",
    ] {
        assert!(exists(there), "{there}");
    }
}

/// Returns first and last cell of the rows of all tables whose last column is called "test".
fn claims(text: &str) -> Vec<(String, String)> {
    let mut claims = Vec::new();
    let mut of_claims = false;
    for line in text.lines() {
        let Some(row) = line.strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
            of_claims = false;
            continue;
        };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (Some(first), Some(last)) = (cells.first(), cells.last()) else {
            continue;
        };
        if *last == "test" {
            of_claims = true;
        } else if of_claims && !first.starts_with("---") {
            claims.push(((*first).to_owned(), (*last).to_owned()));
        }
    }
    claims
}

/// Returns the names in a cell. What begins with `make` is a command.
fn names(cell: &str) -> Vec<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted
        .filter(|name| !name.starts_with("make "))
        .map(str::to_owned)
        .collect()
}

/// Returns true if `name` is a black-box test (`file::test`, or the beginning of its name and `…`), a
/// unit test, or a module with unit tests.
fn exists(name: &str) -> bool {
    !files_of(name).is_empty()
}

/// Returns the files of the test or module of tests with this name, or none if there is no such test.
fn files_of(name: &str) -> Vec<PathBuf> {
    if let Some(beginning) = name.strip_suffix('…') {
        let file = root().join("tests/tests/scarce.rs");
        let is_there = has_test(&file, beginning);
        return is_there.then_some(file).into_iter().collect();
    }
    let path: Vec<&str> = name.split("::").collect();
    let (last, before) = path.split_last().expect("a name");
    let function = format!("{last}(");
    let black_box = root().join("tests/tests").join(before.join("/"));
    let files: Vec<PathBuf> = forms(&black_box)
        .iter()
        .flat_map(|form| files_below(form))
        .collect();
    if files.iter().any(|file| has_test(file, &function)) {
        return files;
    }
    let with_tests = |modules: Vec<PathBuf>| {
        let modules = modules.into_iter().filter(|module| has_tests(module));
        let files: Vec<PathBuf> = modules.flat_map(|module| files_below(&module)).collect();
        files
    };
    let of_module = with_tests(modules(&path));
    if !of_module.is_empty() {
        return of_module;
    }
    let mut files = with_tests(modules(before));
    files.retain(|file| has_test(file, &function));
    files
}

/// Returns the files and directories of a module, whose path begins with a crate or anywhere in one.
fn modules(path: &[&str]) -> Vec<PathBuf> {
    let Some((first, rest)) = path.split_first() else {
        return Vec::new();
    };
    let of_crate = CRATES.iter().find(|(name, _)| name == first);
    let candidates: Vec<PathBuf> = match of_crate {
        Some((_, dir)) => vec![root().join(dir).join(rest.join("/"))],
        None => CRATES
            .iter()
            .map(|(_, dir)| root().join(dir).join(path.join("/")))
            .collect(),
    };
    candidates.iter().flat_map(|module| forms(module)).collect()
}

/// Returns the file and the directory that a module can be, as far as they exist.
fn forms(module: &Path) -> Vec<PathBuf> {
    let forms = [module.with_extension("rs"), module.to_owned()];
    forms.into_iter().filter(|form| form.exists()).collect()
}

fn has_tests(module: &Path) -> bool {
    let is_test = |file: &PathBuf| {
        fs::read_to_string(file)
            .is_ok_and(|text| text.contains("#[test]") || text.contains("test_seeds!"))
    };
    files_below(module).iter().any(is_test)
}

fn files_below(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else {
        return vec![path.to_owned()];
    };
    let entries = entries.map(|entry| entry.expect("read a directory").path());
    entries.flat_map(|entry| files_below(&entry)).collect()
}

/// Returns true if the file has a test whose name and parenthesis begin so.
fn has_test(file: &Path, beginning: &str) -> bool {
    let signature = format!("fn {beginning}");
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines().map(str::trim_start);
    while lines.any(|line| line == "#[test]") {
        if lines
            .find(|line| !line.starts_with("#["))
            .is_some_and(|line| line.starts_with(&signature))
        {
            return true;
        }
    }
    false
}
