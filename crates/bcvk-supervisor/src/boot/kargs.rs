//! The kernel arguments that an image brings along.
//!
//! bootc puts the arguments in `/usr/lib/bootc/kargs.d/*.toml` on the command line of a host that it
//! deploys (<https://bootc-dev.github.io/bootc/building/kernel-arguments.html>).

use std::io;
use std::path::Path;

use bcvk_contract::spec::{Arch, Karg, SpecError};
use bcvk_guest::rooted::{Rooted, if_exists};
use serde::Deserialize;
use thiserror::Error;

/// Directory in which bootc looks for kernel arguments.
const DIRECTORY: &str = "/usr/lib/bootc/kargs.d";

/// Reason why the image's kernel arguments cannot be known.
#[derive(Debug, Error)]
pub(crate) enum KargsError {
    /// A file or the directory cannot be read.
    #[error("the image's kernel arguments cannot be read")]
    Read(#[source] io::Error),
    /// bootc would not accept the file either.
    #[error("the image's {path} is not a kargs.d file as bootc has them: line {line}: {problem}")]
    Syntax {
        /// Path of the file in the image.
        path: String,
        /// Number of the line.
        line: usize,
        /// Description of the mistake.
        problem: String,
    },
    /// The file has an argument that is not a kernel argument.
    #[error("the image's {path} has a kernel argument that cannot be used")]
    Argument {
        /// Path of the file in the image.
        path: String,
        /// The argument, and what is wrong with it.
        #[source]
        source: SpecError,
    },
}

/// A file of `kargs.d`. Its keys are bootc's, and so is the rule that other keys are errors.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct KargsFile {
    kargs: Vec<String>,
    /// Names of Rust's target architectures; without this key, the file is for any.
    match_architectures: Option<Vec<String>>,
}

/// Reads the kernel arguments of every file of the image's `kargs.d` that is for `arch`, in the order
/// of the files' names. There are none if the image has no such directory.
///
/// # Errors
/// See [`KargsError`].
pub(crate) fn read(root: &Rooted, arch: Arch) -> Result<Vec<Karg>, KargsError> {
    let entries = if_exists(root.read_dir(DIRECTORY)).map_err(KargsError::Read)?;
    let mut kargs = Vec::new();
    for entry in entries.unwrap_or_default() {
        let path = Path::new(DIRECTORY).join(&entry.name);
        if path.extension().is_some_and(|e| e == "toml") {
            let text = root.read_text(&path).map_err(KargsError::Read)?;
            kargs.extend(parse(&path.to_string_lossy(), &text, arch)?);
        }
    }
    Ok(kargs)
}

/// Returns the arguments of one file's `text`; `path` is for errors.
pub(crate) fn parse(path: &str, text: &str, arch: Arch) -> Result<Vec<Karg>, KargsError> {
    // The parser's own text is a drawing of several lines.
    let file: KargsFile = toml::from_str(text).map_err(|error| {
        let start = error.span().unwrap_or_default().start;
        let before = text.get(..start).unwrap_or_default();
        KargsError::Syntax {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            problem: error.message().to_owned(),
        }
    })?;
    let matches = |names: Vec<String>| names.iter().any(|name| name == arch.name());
    if !file.match_architectures.is_none_or(matches) {
        return Ok(Vec::new());
    }
    let mut kargs = Vec::new();
    for line in &file.kargs {
        // Entries with several arguments are common, and bootc hands them on as they are.
        let arguments = Karg::split(line).map_err(|source| KargsError::Argument {
            path: path.to_owned(),
            source,
        })?;
        kargs.extend(arguments);
    }
    Ok(kargs)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn one_file() {
        for (text, arch, expected) in [
            (r#"kargs = ["quiet", "a=b"]"#, Arch::X86_64, "quiet a=b"),
            ("kargs = []", Arch::X86_64, ""),
            (r#"kargs = ["a=1 b=2"]"#, Arch::X86_64, "a=1 b=2"),
            (
                "kargs = [\"a\"]\nmatch-architectures = [\"x86_64\"]",
                Arch::X86_64,
                "a",
            ),
            (
                "kargs = [\"a\"]\nmatch-architectures = [\"x86_64\"]",
                Arch::Aarch64,
                "",
            ),
            (
                "kargs = [\"a\"]\nmatch-architectures = [\"x86_64\", \"aarch64\"]",
                Arch::Aarch64,
                "a",
            ),
            (
                "kargs = [\"a\"]\nmatch-architectures = []",
                Arch::X86_64,
                "",
            ),
        ] {
            let kargs = parse("x.toml", text, arch).expect("kernel arguments");
            let shown: Vec<&str> = kargs.iter().map(Karg::as_str).collect();
            assert_eq!(shown.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn errors_name_the_file() {
        for (text, expected) in [
            (
                "kargs = ",
                "the image's x.toml is not a kargs.d file as bootc has them: line 1: ",
            ),
            (
                "karg = []",
                "the image's x.toml is not a kargs.d file as bootc has them: line 1: ",
            ),
            (
                "kargs = []\nother = 1",
                "the image's x.toml is not a kargs.d file as bootc has them: line 2: unknown field",
            ),
            (
                r#"kargs = ["a\nb"]"#,
                "the image's x.toml has a kernel argument that cannot be used",
            ),
        ] {
            let error = parse("x.toml", text, Arch::X86_64).expect_err("an error");
            let shown = error.to_string();
            assert!(shown.starts_with(expected), "{text}: {shown}");
            assert!(!shown.contains('\n'), "{shown}");
        }
    }

    #[test]
    fn files_in_order_of_their_names() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = Rooted::new(dir.path()).expect("the root");
        assert_eq!(read(&root, Arch::X86_64).expect("none"), []);

        let kargs_d = dir.path().join("usr/lib/bootc/kargs.d");
        fs::create_dir_all(&kargs_d).expect("directories");
        for (name, text) in [
            ("20-b.toml", r#"kargs = ["b"]"#),
            ("10-a.toml", r#"kargs = ["a"]"#),
            ("README", "not TOML"),
            ("30-c.toml.bak", "not TOML"),
        ] {
            fs::write(kargs_d.join(name), text).expect("a file");
        }
        let kargs = read(&root, Arch::X86_64).expect("kernel arguments");
        assert_eq!(
            kargs.iter().map(Karg::as_str).collect::<Vec<_>>(),
            ["a", "b"]
        );

        fs::write(kargs_d.join("40-bad.toml"), "=").expect("a file");
        let error = read(&root, Arch::X86_64).expect_err("an error");
        assert!(
            error
                .to_string()
                .contains("/usr/lib/bootc/kargs.d/40-bad.toml")
        );
    }
}
