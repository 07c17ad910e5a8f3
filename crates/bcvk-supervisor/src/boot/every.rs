//! Tests of every reason why an image cannot boot, as its user reads it.

use std::fmt::Write as _;
use std::io;

use bcvk_contract::spec::{Arch, SpecError};
use bcvk_contract::status::causes;
use bcvk_testkit::every;

use super::kargs::KargsError;
use super::kernel::BootError;
use super::modules::ModulesError;
use super::uki::UkiError;
use super::zboot::ZbootError;

fn missing() -> io::Error {
    io::Error::from_raw_os_error(2)
}

fn line(name: &str, error: &dyn std::error::Error, hint: Option<String>) -> String {
    let mut text = format!("{name}: {error}\n");
    for cause in causes(error) {
        let _ = writeln!(text, "  caused by: {cause}");
    }
    if let Some(hint) = hint {
        let _ = writeln!(text, "  hint: {hint}");
    }
    text
}

#[test]
fn reasons() {
    let s = str::to_owned;
    let kernel = "/usr/lib/modules/6.12/vmlinuz";
    let mut text = String::new();
    for (name, error) in every!(BootError as BootError {
        Read: [BootError::Read(missing())],
        NoKernel: [BootError::NoKernel { looked: s("/usr/lib/modules/*/vmlinuz"), found: String::new() }],
        Several: [BootError::Several { what: "kernels", paths: vec![kernel.into(), "/usr/lib/modules/6.13/vmlinuz".into()] }],
        NoInitramfs: [BootError::NoInitramfs {
            kernel: kernel.into(),
            expected: "/usr/lib/modules/6.12/initramfs.img".into(),
            version: s("6.12"),
        }],
        WrongArch: [
            BootError::WrongArch { kernel: kernel.into(), arch: Arch::X86_64, found: Some(Arch::Aarch64) },
            BootError::WrongArch { kernel: kernel.into(), arch: Arch::X86_64, found: None },
        ],
    }) {
        let hint = error.hint();
        text.push_str(&line(name, &error, hint));
    }
    for (name, error) in every!(ModulesError as ModulesError {
        Read: [ModulesError::Read(missing())],
        Missing: [ModulesError::Missing { module: "virtiofs", option: "CONFIG_VIRTIO_FS", release: s("6.12") }],
        TooMany: [ModulesError::TooMany { release: s("6.12") }],
    }) {
        let hint = error.hint();
        text.push_str(&line(name, &error, hint));
    }
    for (name, error) in every!(KargsError as KargsError {
            Read: [KargsError::Read(missing())],
            Syntax: [KargsError::Syntax {
                path: s("/usr/lib/bootc/kargs.d/10.toml"),
    line: 1,
                problem: s("string values must be quoted"),
            }],
            Argument: [KargsError::Argument {
                path: s("/usr/lib/bootc/kargs.d/10.toml"),
                source: SpecError::KargEmpty,
            }],
        })
    {
        text.push_str(&line(name, &error, None));
    }
    let no_text = String::from_utf8(vec![0xff])
        .expect_err("no text")
        .utf8_error();
    let no_pe = object::read::File::parse(&b"text"[..])
        .map(drop)
        .expect_err("no program");
    for (name, error) in every!(UkiError as UkiError {
        NotPe: [UkiError::NotPe(no_pe)],
        NoSection: [UkiError::NoSection { section: ".linux", found: s(".text, .data") }],
        Incomplete: [UkiError::Incomplete { section: ".initrd" }],
        NotText: [UkiError::NotText { section: ".cmdline", source: no_text }],
    }) {
        text.push_str(&line(name, &error, None));
    }
    for (name, error) in every!(ZbootError as ZbootError {
        Incomplete: [ZbootError::Incomplete],
        Compression: [ZbootError::Compression(s("lzma"))],
        Damaged: [ZbootError::Damaged(io::ErrorKind::InvalidData.into())],
    }) {
        text.push_str(&line(name, &error, None));
    }
    insta::assert_snapshot!(text);
}
