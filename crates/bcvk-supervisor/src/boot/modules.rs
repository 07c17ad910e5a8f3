//! Kernel modules without which a guest cannot reach its root, or would wait for its network.
//!
//! An initramfs that was made for a real machine often lacks them, although the image has them in
//! `/usr/lib/modules`. bcvk does not check whether an initramfs has them, because it cannot unpack
//! every initramfs. It adds them all, about one megabyte, and the guest loads those that it does not
//! have yet.

use std::io;
use std::path::{Path, PathBuf};

use bcvk_guest::early;
use bcvk_guest::rooted::{Rooted, if_exists};
use thiserror::Error;

use super::compression::Compression;
use super::cpio::Archive;
use super::kernel::MODULES;

/// Modules that every guest needs early, in the order in which they are loaded.
const NEEDED: [Needed; 6] = [
    Needed {
        module: "virtio_pci",
        option: Some("CONFIG_VIRTIO_PCI"),
    },
    Needed {
        module: "virtiofs",
        option: Some("CONFIG_VIRTIO_FS"),
    },
    Needed {
        module: "overlay",
        option: Some("CONFIG_OVERLAY_FS"),
    },
    // Without this module, the host does not hear how far the boot is.
    Needed {
        module: "virtio_console",
        option: None,
    },
    // The image's udev would load it when it has looked at every other device, and the network would
    // come as much later.
    Needed {
        module: "virtio_net",
        option: None,
    },
    // systemd would start two programs for it and its mount.
    Needed {
        module: "configfs",
        option: None,
    },
];

/// Modules for a `/var` on a disk. Kernels before 6.14 ask for `crc32c` by an alias when they mount an
/// ext4, and there may be no modprobe that knows it.
const FOR_VAR_DISK: [Needed; 3] = [
    Needed {
        module: "virtio_blk",
        option: Some("CONFIG_VIRTIO_BLK"),
    },
    Needed {
        module: "crc32c_generic",
        option: None,
    },
    Needed {
        module: "ext4",
        option: Some("CONFIG_EXT4_FS"),
    },
];

#[derive(Debug, Clone, Copy)]
struct Needed {
    module: &'static str,
    /// The kernel's configuration option, if a guest cannot boot without it.
    option: Option<&'static str>,
}

/// Limit for the size of a module: the largest of a distribution's have about 20 MiB. It is also the
/// limit for all needed modules together.
const MAX_SIZE: u64 = 64 << 20;

/// Most modules that are loaded; the needed ones depend on half a dozen others.
const MAX_MODULES: usize = 64;

/// A module as it is loaded: without compression, because the program that loads it may not know the
/// compression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    /// Name of the module in the kernel.
    name: String,
    content: Vec<u8>,
}

/// Reason why an image's kernel cannot boot in a VM.
#[derive(Debug, Error)]
pub(crate) enum ModulesError {
    /// The modules cannot be read.
    #[error("the kernel's modules cannot be read")]
    Read(#[from] io::Error),
    /// The kernel has the module neither built in nor as a file.
    #[error(
        "the image's kernel {release} has no {module}: it is not built in, and no module in {MODULES}/{release}"
    )]
    Missing {
        /// The module.
        module: &'static str,
        /// Configuration option of the module.
        option: &'static str,
        /// The kernel's release.
        release: String,
    },
    /// The list of modules was not made by depmod.
    #[error(
        "the image's {MODULES}/{release}/modules.dep has more than {MAX_MODULES} modules to load before the root is mounted"
    )]
    TooMany {
        /// The kernel's release.
        release: String,
    },
}

impl ModulesError {
    /// Returns the remedy, as a sentence for the user; `None` if there is nothing to say.
    #[must_use]
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Read(_) => None,
            Self::TooMany { release } => Some(format!(
                "make the list anew in the image's build: depmod {release}"
            )),
            Self::Missing { option, .. } => Some(format!(
                "install all of the kernel's modules in the image's build (kernel-modules-core on \
                 Fedora and CentOS), or a kernel with {option}"
            )),
        }
    }
}

/// Reads the modules that kernel `release` needs early, also for a `/var` on a disk if it has one, in
/// the order in which to load them. There are none if the image has no list of the kernel's modules:
/// the guest then has only what its initramfs has.
///
/// # Errors
/// See [`ModulesError`].
pub(crate) fn read(
    root: &Rooted,
    release: &str,
    var_disk: bool,
) -> Result<Vec<Module>, ModulesError> {
    let mut modules = Vec::new();
    let mut left = MAX_SIZE;
    for path in files(root, release, var_disk)? {
        let path = path.display().to_string();
        let content = root.read(&path, left)?;
        let content = decompressed(&content, left)
            .map_err(|e| io::Error::new(e.kind(), format!("{path}: {e}")))?;
        left -= content.len() as u64;
        modules.push(Module {
            name: name_of(&path),
            content,
        });
    }
    Ok(modules)
}

/// Returns the files of these modules.
///
/// # Errors
/// See [`ModulesError`].
pub(crate) fn files(
    root: &Rooted,
    release: &str,
    var_disk: bool,
) -> Result<Vec<PathBuf>, ModulesError> {
    let [dependencies, builtin] = lists(release).map(|path| if_exists(root.read_text(path)));
    let (Some(dependencies), Some(builtin)) = (dependencies?, builtin?) else {
        return Ok(Vec::new());
    };
    let paths = load_order(&dependencies, &builtin, release, var_disk)?;
    let directory = Path::new(MODULES).join(release);
    Ok(paths.iter().map(|path| directory.join(path)).collect())
}

/// Returns the lists that depmod(8) has made of the modules of kernel `release`: those with what each
/// depends on, and those that are built in.
pub(crate) fn lists(release: &str) -> [PathBuf; 2] {
    let directory = Path::new(MODULES).join(release);
    ["modules.dep", "modules.builtin"].map(|name| directory.join(name))
}

/// Adds the modules to the initramfs, for the program that loads them there.
///
/// The modules become files of our own. The initramfs's own index (`modules.dep.bin`) stays as it
/// is, because the image's index would name files that this initramfs has elsewhere, not at all, or
/// compressed in another way.
///
/// # Errors
/// None in practice, see [`Archive::file`].
pub(crate) fn add(archive: &mut Archive, modules: &[Module]) -> io::Result<()> {
    for (number, module) in modules.iter().enumerate() {
        let path = format!("{}/{number:02}-{}.ko", early::MODULES, module.name);
        archive.file(&path, 0o644, &module.content)?;
    }
    Ok(())
}

/// Returns the paths of the modules that are needed and not built in, each after everything that it
/// depends on.
///
/// The lists are those of `depmod(8)`: a line `PATH: PATH…` for each module, with the modules that it
/// depends on in the order in which to unload them, and a line `PATH` for each module that is built
/// in.
pub(crate) fn load_order<'text>(
    dependencies: &'text str,
    builtin: &str,
    release: &str,
    var_disk: bool,
) -> Result<Vec<&'text str>, ModulesError> {
    let mut order = Vec::new();
    let for_var: &[Needed] = if var_disk { &FOR_VAR_DISK } else { &[] };
    for &Needed { module, option } in NEEDED.iter().chain(for_var) {
        if builtin.lines().any(|path| name_of(path) == module) {
            continue;
        }
        let mut lines = dependencies.lines().filter_map(|line| line.split_once(':'));
        match (lines.find(|(path, _)| name_of(path) == module), option) {
            (Some((path, needs)), _) => {
                for path in needs.split_whitespace().rev().chain([path]) {
                    if order.contains(&path) {
                        continue;
                    }
                    if order.len() == MAX_MODULES {
                        let release = release.to_owned();
                        return Err(ModulesError::TooMany { release });
                    }
                    order.push(path);
                }
            }
            (None, Some(option)) => {
                return Err(ModulesError::Missing {
                    module,
                    option,
                    release: release.to_owned(),
                });
            }
            (None, None) => {}
        }
    }
    Ok(order)
}

/// Returns the module's name in the kernel, which has no dashes.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split_once(".ko").map_or(file, |(name, _)| name);
    name.replace('-', "_")
}

/// Returns the module without its compression, which its first bytes tell, if it has at most `most`
/// bytes.
pub(crate) fn decompressed(bytes: &[u8], most: u64) -> io::Result<Vec<u8>> {
    match Compression::of(bytes) {
        Some(compression) => compression.undo(&mut &*bytes, most),
        None => Ok(bytes.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Dependencies in Debian 12, where all of the needed ones are modules.
    const DEPENDENCIES: &str = "\
kernel/fs/fuse/fuse.ko:
kernel/fs/fuse/virtiofs.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko kernel/fs/fuse/fuse.ko
kernel/fs/overlayfs/overlay.ko:
kernel/drivers/char/virtio_console.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
kernel/drivers/net/virtio_net.ko: kernel/net/core/failover.ko kernel/drivers/virtio/virtio.ko
kernel/net/core/failover.ko:
kernel/drivers/virtio/virtio.ko:
kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
";

    #[test]
    fn modules_come_after_what_they_depend_on() {
        assert_eq!(
            load_order(DEPENDENCIES, "", "6.1", false).expect("an order"),
            [
                "kernel/drivers/virtio/virtio.ko",
                "kernel/drivers/virtio/virtio_ring.ko",
                "kernel/drivers/virtio/virtio_pci.ko",
                "kernel/fs/fuse/fuse.ko",
                "kernel/fs/fuse/virtiofs.ko",
                "kernel/fs/overlayfs/overlay.ko",
                "kernel/drivers/char/virtio_console.ko",
                "kernel/net/core/failover.ko",
                "kernel/drivers/net/virtio_net.ko",
            ]
        );
    }

    #[test]
    fn a_disk_for_var_has_modules_of_its_own() {
        let builtin = "kernel/virtio_pci.ko\nkernel/virtiofs.ko\nkernel/overlay.ko\n";
        let dependencies = "\
kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko.xz kernel/fs/mbcache.ko.xz kernel/fs/jbd2/jbd2.ko.xz
kernel/fs/jbd2/jbd2.ko.xz:
kernel/crypto/crc32c_generic.ko.xz:
kernel/drivers/block/virtio_blk.ko.xz:
";
        assert_eq!(
            load_order(dependencies, builtin, "6.1", true).expect("an order"),
            [
                "kernel/drivers/block/virtio_blk.ko.xz",
                "kernel/crypto/crc32c_generic.ko.xz",
                "kernel/fs/jbd2/jbd2.ko.xz",
                "kernel/fs/mbcache.ko.xz",
                "kernel/lib/crc16.ko.xz",
                "kernel/fs/ext4/ext4.ko.xz",
            ]
        );
        assert_eq!(
            load_order(dependencies, builtin, "6.1", false).expect("an order"),
            [""; 0]
        );
        let error = load_order("", builtin, "6.1", true).expect_err("no virtio_blk");
        assert!(error.to_string().contains("has no virtio_blk"), "{error}");
    }

    #[test]
    fn what_is_built_in_is_not_loaded() {
        let builtin = "kernel/drivers/virtio/virtio-pci.ko\nkernel/fs/fuse/virtiofs.ko\n";
        for (dependencies, builtin, expected) in [
            (
                "kernel/fs/overlayfs/overlay.ko.xz:\n",
                builtin,
                Ok(vec!["kernel/fs/overlayfs/overlay.ko.xz"]),
            ),
            (
                "updates/overlay.ko.zst: updates/a.ko.zst\n",
                builtin,
                Ok(vec!["updates/a.ko.zst", "updates/overlay.ko.zst"]),
            ),
            (
                "",
                &format!("{builtin}kernel/fs/overlayfs/overlay.ko"),
                Ok(vec![]),
            ),
            ("", builtin, Err("overlay")),
            (
                "kernel/fs/fuse/virtiofs_test.ko:\n",
                "kernel/drivers/virtio/virtio_pci.ko",
                Err("virtiofs"),
            ),
        ] {
            let order = load_order(dependencies, builtin, "6.1", false).map_err(|e| match e {
                ModulesError::Missing { module, .. } => module,
                other => panic!("{other}"),
            });
            assert_eq!(order, expected, "{builtin}");
        }
    }

    #[test]
    fn a_list_that_is_too_long_is_refused_at_once() {
        let many: String = (0..500_000).map(|i| format!(" {i}.ko")).collect();
        let dependencies = format!("virtio_pci.ko:{many}\n");
        let error = load_order(&dependencies, "", "6.1", false).expect_err("an error");
        assert!(matches!(error, ModulesError::TooMany { .. }), "{error}");
    }

    #[test]
    fn a_module_may_be_compressed() {
        use std::io::Write;

        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"\x7fELF").expect("compresses");
        let packed = packed.finish().expect("compresses");
        for bytes in [packed.as_slice(), b"\x7fELF"] {
            assert_eq!(decompressed(bytes, MAX_SIZE).expect("a module"), b"\x7fELF");
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        use std::io::Write;

        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for _ in 0..65 {
            bomb.write_all(&vec![0; 1 << 20]).expect("compresses");
        }
        let error =
            decompressed(&bomb.finish().expect("compresses"), MAX_SIZE).expect_err("an error");
        assert_eq!(error.to_string(), "it has more than 64 MiB");
    }

    #[test]
    fn a_huge_dictionary_is_not_made() {
        let xz = include_bytes!("../../../../fuzz/seeds/module/xz-dictionary-of-4-gib");
        let error = decompressed(xz, MAX_SIZE).expect_err("too much");
        assert!(error.to_string().contains("mem"), "{error}");
    }

    fn said(files: &[(&str, &str)]) -> String {
        let image = tempfile::tempdir().expect("a directory");
        let directory = image.path().join("usr/lib/modules/6.1");
        for (path, content) in files {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            fs::write(path, content).expect("a file");
        }
        let root = Rooted::new(image.path()).expect("the root");
        match read(&root, "6.1", false) {
            Ok(modules) => modules.iter().map(|m| format!("{} ", m.name)).collect(),
            Err(e) => format!("{e}; {}", e.hint().unwrap_or_default()),
        }
    }

    #[test]
    fn read_from_an_image() {
        let dep = "kernel/virtio-pci.ko:\nkernel/virtiofs.ko:\nkernel/overlay.ko:\n";
        let file = |name| (name, "content");
        for (files, expected) in [
            (vec![], ""),
            // This is a kernel without modules, or one that depmod never saw.
            (vec![("modules.builtin", "")], ""),
            (
                vec![
                    ("modules.builtin", ""),
                    ("modules.dep", dep),
                    file("kernel/virtio-pci.ko"),
                    file("kernel/virtiofs.ko"),
                    file("kernel/overlay.ko"),
                ],
                "virtio_pci virtiofs overlay ",
            ),
            (
                vec![
                    ("modules.builtin", "kernel/virtio_pci.ko"),
                    ("modules.dep", "kernel/fs/fuse/fuse.ko:\n"),
                ],
                "the image's kernel 6.1 has no virtiofs: it is not built in, and no module in \
                 /usr/lib/modules/6.1; install all of the kernel's modules in the image's build \
                 (kernel-modules-core on Fedora and CentOS), or a kernel with CONFIG_VIRTIO_FS",
            ),
        ] {
            assert_eq!(said(&files), expected);
        }
    }
}
