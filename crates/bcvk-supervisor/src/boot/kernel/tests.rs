//! Tests of images that boot, and of images that do not.

use std::fs;
use std::os::unix::fs::symlink;

use object::pe;

use super::*;
use crate::boot::uki::tests::efi;

const V: &str = "6.12.43-amd64";

/// Makes an image of these files, with `->` for symlinks.
fn image(files: &[&str]) -> (tempfile::TempDir, Rooted) {
    let dir = tempfile::tempdir().expect("a directory");
    for file in files {
        let (path, target) = match file.split_once(" -> ") {
            Some((path, target)) => (path, Some(target)),
            None => (*file, None),
        };
        let path = dir.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        match target {
            Some(target) => symlink(target, path).expect("a symlink"),
            None if file.ends_with('/') => fs::create_dir_all(path).expect("a directory"),
            None => fs::write(path, "content").expect("a file"),
        }
    }
    let root = Rooted::new(dir.path()).expect("the root");
    (dir, root)
}

fn said(files: &[&str]) -> (String, String) {
    let (_dir, root) = image(files);
    let error = discover(&root, Arch::X86_64).expect_err("an error");
    (error.to_string(), error.hint().unwrap_or_default())
}

fn split() -> BootSource {
    BootSource::Split {
        kernel: format!("/usr/lib/modules/{V}/vmlinuz").into(),
        initramfs: format!("/usr/lib/modules/{V}/initramfs.img").into(),
        version: V.into(),
    }
}

#[test]
fn found() {
    let kernel = &format!("/usr/lib/modules/{V}/vmlinuz");
    let initramfs = &format!("/usr/lib/modules/{V}/initramfs.img");
    let own_uki = &format!("/usr/lib/modules/{V}/{V}.efi");
    let uki = |path: &str, version: Option<&str>| BootSource::Uki {
        path: path.into(),
        version: version.map(str::to_owned),
    };
    for (files, expected) in [
        (vec![kernel.as_str(), initramfs], split()),
        // A kernel that was removed has left its modules behind.
        (
            vec![
                kernel,
                initramfs,
                "/usr/lib/modules/5.0/kernel/",
                "/usr/lib/modules/README",
            ],
            split(),
        ),
        // The symlinks are meant relative to the image's root.
        (
            vec![
                "/boot/vmlinuz-x",
                &format!("{kernel} -> /boot/vmlinuz-x"),
                "/usr/share/initramfs",
                &format!("{initramfs} -> ../../../share/initramfs"),
            ],
            split(),
        ),
        (vec![own_uki], uki(own_uki, Some(V))),
        (
            vec!["/boot/EFI/Linux/a.efi"],
            uki("/boot/EFI/Linux/a.efi", None),
        ),
        (
            vec!["/boot/EFI/Linux/bootc/a.EFI"],
            uki("/boot/EFI/Linux/bootc/a.EFI", None),
        ),
        // UKIs come first; their add-ons do not count.
        (
            vec![
                kernel,
                initramfs,
                "/boot/EFI/Linux/a.efi",
                "/boot/EFI/Linux/a.efi.extra.d/b.addon.efi",
            ],
            uki("/boot/EFI/Linux/a.efi", None),
        ),
    ] {
        let (_dir, root) = image(&files);
        assert_eq!(
            discover(&root, Arch::X86_64).expect("a kernel"),
            expected,
            "{files:?}"
        );
    }
}

#[test]
fn no_kernel() {
    let looked = "No kernel found in the image: there is no /boot/EFI/Linux/*.efi, \
                  /boot/EFI/Linux/bootc/*.efi, /usr/lib/modules/VERSION/VERSION.efi or \
                  /usr/lib/modules/VERSION/vmlinuz";
    for (files, found) in [
        (
            vec!["/etc/hostname"],
            "; /usr/lib/modules has no directory for any kernel",
        ),
        // There may be a kernel at this path outside of the image.
        (
            vec!["/usr/lib/modules/1/vmlinuz -> /bin/sh"],
            "; /usr/lib/modules has only modules, for 1",
        ),
        (
            vec!["/usr/lib/modules/1/", "/usr/lib/modules/2/"],
            "; /usr/lib/modules has only modules, for 1, 2",
        ),
    ] {
        let (sentence, hint) = said(&files);
        assert_eq!(sentence, format!("{looked}{found}"));
        assert!(hint.contains("bootc image"));
    }
}

#[test]
fn more_than_one() {
    let (sentence, _) = said(&["/usr/lib/modules/1/vmlinuz", "/usr/lib/modules/2/vmlinuz"]);
    assert_eq!(
        sentence,
        "the image has 2 kernels, and a VM can boot only one: \
         /usr/lib/modules/1/vmlinuz, /usr/lib/modules/2/vmlinuz"
    );
    let (sentence, _) = said(&["/boot/EFI/Linux/a.efi", "/usr/lib/modules/2/2.efi"]);
    assert_eq!(
        sentence,
        "the image has 2 unified kernel images, and a VM can boot only one: \
         /boot/EFI/Linux/a.efi, /usr/lib/modules/2/2.efi"
    );
}

#[test]
fn no_initramfs() {
    assert_eq!(
        said(&["/usr/lib/modules/1/vmlinuz"]),
        (
            "the image's kernel /usr/lib/modules/1/vmlinuz has no initramfs: \
             there is no /usr/lib/modules/1/initramfs.img"
                .into(),
            "make it in the image's build: dracut --force --no-hostonly --kver 1 \
             /usr/lib/modules/1/initramfs.img"
                .into()
        )
    );
}

#[test]
fn other_architectures() {
    let (dir, root) = image(&["/boot/EFI/Linux/a.efi"]);
    let path = dir.path().join("boot/EFI/Linux/a.efi");
    for (machine, arch, expected) in [
        (pe::IMAGE_FILE_MACHINE_AMD64, Arch::X86_64, None),
        (pe::IMAGE_FILE_MACHINE_ARM64, Arch::Aarch64, None),
        (pe::IMAGE_FILE_MACHINE_ARM64, Arch::X86_64, Some("aarch64")),
        (
            pe::IMAGE_FILE_MACHINE_RISCV64,
            Arch::X86_64,
            Some("another architecture"),
        ),
    ] {
        fs::write(&path, efi(machine, &[(".linux", b"k")])).expect("a file");
        let said = discover(&root, arch).err().map(|e| e.to_string());
        let expected = expected.map(|found| {
            format!(
                "the image's kernel /boot/EFI/Linux/a.efi is for {found}, and the image for {arch}"
            )
        });
        assert_eq!(said, expected);
    }
}

#[test]
fn serialised_with_its_kind() {
    let json = serde_json::to_value(split()).expect("serialises");
    assert_eq!(json["kind"], "split");
    assert_eq!(
        serde_json::from_value::<BootSource>(json).expect("deserialises"),
        split()
    );
}
