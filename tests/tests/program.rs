//! The program under test as a file: it runs in containers with an image's files, and loads none.

use std::fs;

use bcvk_testkit::Sandbox;
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
