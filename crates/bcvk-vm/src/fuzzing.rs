//! Every parser that reads what others wrote, as a function of bytes that panics where what it
//! gives back cannot be right. `fuzz/` feeds them; the tests here feed them its seeds.

mod values;

pub use crate::guest::fuzzing::{assignments, environment, mount_unit, storage_conf};
pub use crate::host::fuzzing::{activity, podman_json, podman_mount};
pub use crate::supervisor::fuzzing::{
    bootconfig, bzimage, console, control, cpio, image_layers, initramfs, journal, kargs_d, module,
    modules_dep, qemu_option, uki, usernet, zboot,
};
pub use crate::timeline::fuzzing::timeline;
pub use values::{
    disk, karg, printable, publish, share, shell, size, spec, status, stream, timeout,
};

#[cfg(test)]
mod seeds {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    macro_rules! targets {
        ($($name:ident)*) => {
            const TARGETS: &[&str] = &[$(stringify!($name)),*];
            $(#[test] fn $name() { run(stringify!($name), super::$name); })*
        };
    }

    targets! {
        activity assignments bootconfig bzimage console control cpio disk environment image_layers initramfs journal karg kargs_d
        module modules_dep mount_unit podman_json podman_mount printable publish qemu_option share shell
        size spec status storage_conf stream timeline timeout uki usernet zboot
    }

    fn fuzz(part: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../fuzz")
            .join(part)
    }

    fn run(target: &str, parse: fn(&[u8])) {
        let entries = fs::read_dir(fuzz("seeds").join(target)).expect("seeds");
        let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{target} has no seeds");
        for path in paths {
            println_on_failure(&path);
            parse(&fs::read(&path).expect("a seed"));
        }
    }

    #[allow(clippy::print_stdout, reason = "shown only with a test that failed")]
    fn println_on_failure(path: &Path) {
        println!("{}", path.display());
    }

    /// A target is fuzzed, and a fuzzed target has seeds.
    #[test]
    fn every_target_is_fuzzed() {
        let stems = |part: &str| -> BTreeSet<String> {
            fs::read_dir(fuzz(part))
                .expect("a directory")
                .map(|entry| entry.expect("an entry").path())
                .map(|path| {
                    path.file_stem()
                        .expect("a name")
                        .to_string_lossy()
                        .into_owned()
                })
                .collect()
        };
        let targets: BTreeSet<String> = TARGETS.iter().map(|&t| t.to_owned()).collect();
        assert_eq!(stems("seeds"), targets);
        assert_eq!(stems("fuzz_targets"), targets);
    }
}
