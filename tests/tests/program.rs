//! The program under test as a file: it runs in containers with an image's files, and loads none.

use std::env;
use std::fs;
use std::path::Path;

use bcvk_testkit::{Sandbox, limit};
use bcvk_tests::page::root;
use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

/// Returns the loader and libraries that an executable asks for.
fn loads(executable: &[u8]) -> object::read::Result<Vec<String>> {
    let header = FileHeader64::<Endianness>::parse(executable)?;
    let endian = header.endian()?;
    let mut found = Vec::new();
    for segment in header.program_headers(endian, executable)? {
        if let Some(loader) = segment.interpreter(endian, executable)? {
            found.push(String::from_utf8_lossy(loader).into_owned());
        }
        for entry in segment.dynamic(endian, executable)?.unwrap_or_default() {
            if entry.tag(endian) == DT_NEEDED {
                found.push(format!("the library at {}", entry.val(endian)));
            }
        }
    }
    Ok(found)
}

#[test]
fn the_program_asks_for_no_loader_and_no_library() {
    let sandbox = Sandbox::new();
    let program = fs::read(sandbox.bcvk_path()).expect("the program under test");
    assert_eq!(loads(&program).expect("an executable"), [""; 0]);
    let dynamic = fs::read("/usr/bin/env").expect("a program of the host");
    assert!(loads(&dynamic).expect("an executable").len() >= 2);
    sandbox.finish();
}

/// Returns every file below `dir`.
fn files(dir: &Path) -> Vec<String> {
    let find = std::process::Command::new("find")
        .arg(dir)
        .args(["-not", "-type", "d", "-printf", "/%P\\n"])
        .output();
    let found = String::from_utf8(find.expect("run find").stdout).expect("text");
    found.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_installed_is_removed_and_nothing_else() {
    let sandbox = Sandbox::new();
    let place = sandbox.make_dir("place");
    let others = place.join("usr/local/share/man/man8");
    fs::create_dir_all(&others).expect("made");
    fs::write(others.join("bcvkish.8"), "another's").expect("written");
    let from_outside = |name: &str| env::var(name).unwrap_or_default();
    let make = |target: &str| {
        let command = sandbox
            .command("make")
            .args(["--directory", &root().display().to_string(), target])
            .arg(format!("DESTDIR={}", place.display()))
            .arg("xtask=cargo xtask")
            .env("BCVK_BIN", sandbox.bcvk_path())
            // Cargo finds Rust by this variable.
            .env("HOME", from_outside("HOME"))
            .env("PATH", from_outside("PATH"))
            .limit(limit::BOOT);
        let _ = command.run().expect_success();
    };
    make("install");
    let installed = files(&place);
    for file in [
        "/usr/local/bin/bcvk",
        "/usr/local/share/man/man8/bcvk-ephemeral-run.8",
        "/usr/local/share/man/man5/bcvk-config.5",
        "/usr/local/share/fish/vendor_completions.d/bcvk.fish",
    ] {
        assert!(installed.iter().any(|found| found == file), "{installed:?}");
    }
    make("uninstall");
    assert_eq!(files(&place), ["/usr/local/share/man/man8/bcvkish.8"]);
    sandbox.finish();
}
