//! Seeds of the fuzz targets, as tests: a parser must bear them on every machine, and with every change.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Makes a test of each fuzz target in the module above, and one that says whether these are all of the
/// crate's.
#[macro_export]
macro_rules! test_seeds {
    ($crate_name:ident: $($name:ident)*) => {
        $(#[test] fn $name() { $crate::seeds::run(stringify!($name), super::$name); })*

        #[test]
        fn every_target_is_fuzzed() {
            $crate::seeds::expect_fuzzed(stringify!($crate_name), &[$(stringify!($name)),*]);
        }
    };
}

fn fuzz(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz")
        .join(part)
}

/// Feeds the seeds of `target`, and what fuzzing has found, to `parse`, and prints the path of each, which is
/// shown if it panics.
#[allow(clippy::print_stdout, reason = "shown only with a test that failed")]
pub fn run(target: &str, parse: fn(&[u8])) {
    let entries = fs::read_dir(fuzz("seeds").join(target)).expect("seeds");
    // The seeds of a small parser may reach all of it.
    let found = fs::read_dir(fuzz("corpus").join(target));
    let entries = entries.chain(found.into_iter().flatten());
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seeds");
    for path in paths {
        println!("{}", path.display());
        parse(&fs::read(&path).expect("a seed"));
    }
}

/// Checks that the programs in `fuzz/` which call the crate are the ones of `targets`.
pub fn expect_fuzzed(crate_name: &str, targets: &[&str]) {
    let call = format!("{crate_name}::fuzzing::");
    let programs = fs::read_dir(fuzz("fuzz_targets")).expect("a directory");
    let fuzzed: BTreeSet<String> = programs
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| fs::read_to_string(path).expect("a program").contains(&call))
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(fuzzed, targets.iter().map(|&t| t.to_owned()).collect());
}
