//! Preparation of everything that QEMU needs from a spec and an image, or of the reason why the image
//! cannot boot.
//!
//! All of the preparation happens before the first child is started.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::Path;
use std::thread;

use bcvk_contract::spec::{
    Accelerator, CONTAINER_EXE, CONTAINER_IGNITION, CONTAINER_IMAGE, CONTAINER_USER_DATA,
    Initramfs, Karg, Login, Purpose, STORAGE_TAG, Share, VmSpec, fits_unit,
};
use bcvk_guest::facts::{GuestFacts, SSH_PORT, Sshd};
use bcvk_guest::rooted::Rooted;
use bcvk_guest::{Absent, Content, OpenIdentity};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::boot::cpio::{Archive, padding};
use crate::boot::kernel::{BootSource, discover};
use crate::boot::modules::{self, Module};
use crate::boot::program::Program;
use crate::boot::zboot::ZbootError;
use crate::boot::{bootconfig, bzimage, cmdline, initramfs, kargs, uki, zboot};
use crate::container::{BootFile, Container};
use crate::problem::{Cause, Problem};
use crate::virtiofs::store::names::missing;
use crate::warm::Saved;

/// Limit for the size of a kernel, initramfs or UKI that is read into memory. Distributions' files
/// have at most a few hundred MiB.
const MAX_FILE: u64 = 1 << 30;

/// Store of logically bound images, as units name it (bootc's documentation, "Logically bound images").
const BOOTC_STORE: &str = "/usr/lib/bootc/storage";

/// Number of bound images that a notice names.
const NAMED: usize = 16;

/// Files that a VM boots from. They are in memory, and vanish with the container.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) kernel: BootFile,
    pub(super) initrd: BootFile,
    pub(super) memory: BootFile,
    /// Ignition's configuration.
    pub(super) ignition: Option<BootFile>,
    pub(super) cmdline: String,
    /// The identities that the guest gets from its VM.
    pub(super) identity: OpenIdentity,
    /// Warnings that the user should know before they wonder.
    pub(super) warnings: Vec<String>,
}

impl Prepared {
    /// Returns the files that QEMU opens.
    pub(super) fn files(&self) -> impl Iterator<Item = &BootFile> {
        [&self.kernel, &self.initrd, &self.memory]
            .into_iter()
            .chain(&self.ignition)
    }
}

/// Reads the image and makes the files that QEMU needs, in `container`. A guest that `waits` mounts the
/// image only once it is told to.
///
/// # Errors
/// If the image lacks something, or something could not be done here.
pub(super) fn prepare(
    spec: &VmSpec,
    waits: bool,
    container: &Container,
) -> Result<Prepared, Problem> {
    let root = Rooted::new(Path::new(CONTAINER_IMAGE)).map_err(Problem::OpenImage)?;
    let facts = GuestFacts::read(&root).map_err(Problem::LookIntoImage)?;
    check(spec, &facts)?;
    let unbootable = |hint: Option<String>, cause: Cause| Problem::Unbootable {
        image: spec.image.reference.clone(),
        cause,
        hint,
    };
    let unusable_kargs = |cause: Cause| Problem::KernelArguments {
        image: spec.image.reference.clone(),
        cause,
    };
    let source = discover(&root, spec.arch).map_err(|e| unbootable(e.hint(), e.into()))?;
    let files = BootFiles::read(&root, &source).map_err(|e| unbootable(None, e.into()))?;
    let from_image = match files.cmdline {
        Some(ref text) => Karg::split(text).map_err(|e| unusable_kargs(e.into()))?,
        None => kargs::read(&root, spec.arch).map_err(|e| unusable_kargs(e.into()))?,
    };
    let modules = match &files.release {
        Some(release) => modules::read(&root, release, spec.var.disk().is_some())
            .map_err(|e| unbootable(e.hint(), e.into()))?,
        None => Vec::new(),
    };
    let spec = &with_mount_points(spec, &root).map_err(Problem::MountPoint)?;
    let program = Program::read(Path::new(CONTAINER_EXE)).map_err(Problem::OwnProgram)?;
    let absent = Absent::new(spec, &facts, &from_image);
    let mut entries = bcvk_guest::initramfs_entries(spec, &facts, &absent, &from_image);
    if waits {
        entries.extend(bcvk_guest::wait_entries(spec));
    }
    if spec.cloud_init {
        let data = fs::read_to_string(CONTAINER_USER_DATA).map_err(Problem::FilesInMemory)?;
        entries.extend(bcvk_guest::user_data_entries(spec, data));
    }
    let emulated = spec.accel == Accelerator::Tcg;
    let unpack_initrd = if emulated { spec.memory.bytes() / 8 } else { 0 };
    // The two files are unpacked and written at the same time: each has a hundred megabytes or so.
    let (kernel, initrd) = thread::scope(|scope| {
        let kernel = scope.spawn(|| {
            unpacked(files.kernel, emulated).map(|kernel| container.boot_file("kernel", &[&kernel]))
        });
        let image: &[u8] = match spec.initramfs {
            Initramfs::Image => &files.initrd,
            Initramfs::Direct => &[],
        };
        let initrd = archive(&program, spec.initramfs, &entries, &modules)
            .map(|archive| initrd(image, archive, unpack_initrd))
            .and_then(|initrd| container.boot_file("initrd", &initrd.parts()));
        (kernel.join().expect("no panic"), initrd)
    });
    let kernel = kernel.map_err(|e| unbootable(None, e.into()))?;
    Ok(Prepared {
        initrd: initrd.map_err(Problem::FilesInMemory)?,
        kernel: kernel.map_err(Problem::FilesInMemory)?,
        memory: guest_memory(spec, container).map_err(Problem::FilesInMemory)?,
        ignition: ignition(spec, container).map_err(Problem::FilesInMemory)?,
        cmdline: cmdline::build(spec, &facts, &absent.remaining(&from_image)),
        identity: OpenIdentity::new(spec, &facts),
        warnings: warnings(spec, &facts, &absent),
    })
}

/// Checks that the image has everything that nothing else can stand in for.
fn check(spec: &VmSpec, facts: &GuestFacts) -> Result<(), Problem> {
    let image = || spec.image.reference.clone();
    if !facts.systemd {
        return Err(Problem::NoSystemd(image()));
    }
    if spec.ignition && !facts.ignition {
        return Err(Problem::NoIgnition(image()));
    }
    if spec.cloud_init && !facts.cloud_init_enabled {
        return Err(Problem::NoCloudInit(image()));
    }
    match spec.purpose() {
        Purpose::Login => {}
        Purpose::Boot | Purpose::Execute => return Ok(()),
    }
    match spec.login() {
        Some(Login::Image) => {}
        Some(Login::Own) | None => {
            return match facts.root_shell.as_ref().or(facts.stand_in_shell.as_ref()) {
                Some(_) => Ok(()),
                None => Err(Problem::NoShell(image())),
            };
        }
    }
    check_sshd(spec, facts)?;
    if facts.root_shell.is_none() {
        return Err(Problem::RootWithoutShell(image()));
    }
    if facts.root_home.is_none() {
        return Err(Problem::NoRootHome(image()));
    }
    Ok(())
}

/// Checks that the image's sshd starts by itself, unless a unit of the user's may start it.
fn check_sshd(spec: &VmSpec, facts: &GuestFacts) -> Result<(), Problem> {
    let names = spec
        .units
        .iter()
        .filter_map(|unit| unit.path.rsplit('/').next());
    if names.into_iter().any(Sshd::is_unit) {
        return Ok(());
    }
    let image = spec.image.reference.clone();
    Err(match facts.sshd.clone() {
        Sshd::Enabled { .. } | Sshd::SocketActivated { .. } => return Ok(()),
        Sshd::Absent => Problem::NoSshd(image),
        Sshd::Masked { unit } => Problem::SshdMasked { image, unit },
        Sshd::Installed { unit } => Problem::SshdDisabled { image, unit },
        Sshd::BinaryOnly { .. } => Problem::SshdWithoutUnit(image),
    })
}

/// Resolves the paths of mount points: systemd mounts on real paths only, and images are full of
/// links such as `/srv → var/srv`.
fn with_mount_points(spec: &VmSpec, root: &Rooted) -> io::Result<VmSpec> {
    let mut spec = spec.clone();
    let store = host_store(&spec).cloned();
    spec.shares.extend(store.map(|store| Share {
        guest_path: BOOTC_STORE.into(),
        ..store
    }));
    for share in &mut spec.shares {
        if !share.guest_path.starts_with("/run") {
            share.guest_path = root.destination(&share.guest_path)?;
            if !fits_unit(&share.guest_path) {
                let text = format!("{} cannot be a mount point", share.guest_path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        }
        if share.needs_mount_point() {
            root.create_dir_all(&share.guest_path)?;
        }
    }
    Ok(spec)
}

/// Returns the share of the host's images, if the guest's podman is to use it.
fn host_store(spec: &VmSpec) -> Option<&Share> {
    let mut shares = spec.shares.iter().filter(|_| spec.host_storage);
    shares.find(|share| share.tag == STORAGE_TAG)
}

/// Names the logically bound images that the guest's podman does not find.
fn unbound(spec: &VmSpec, facts: &GuestFacts) -> Option<String> {
    let bound = &facts.bound_images;
    let missing = match host_store(spec) {
        Some(store) => missing(&store.container_path(), bound),
        None => bound.iter().map(String::as_str).collect(),
    };
    let (first, rest) = missing.split_at(missing.len().min(NAMED));
    if first.is_empty() {
        return None;
    }
    let names = first.join(" ");
    let more = match rest.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Some(match host_store(spec) {
        Some(_) => {
            format!("the host lacks images that are bound to the VM's: `podman pull {names}`{more}")
        }
        None => format!(
            "the VM lacks images that are bound to its own, because it does not see the host's: \
             {names}{more}"
        ),
    })
}

fn warnings(spec: &VmSpec, facts: &GuestFacts, absent: &Absent) -> Vec<String> {
    let mut warnings: Vec<String> = absent
        .notice()
        .into_iter()
        .chain(unbound(spec, facts))
        .collect();
    if spec.login() == Some(Login::Image) && facts.sshd_port != SSH_PORT {
        let port = facts.sshd_port;
        warnings.push(format!(
            "the image's sshd listens on port {port}, through which sessions go"
        ));
    }
    if facts.selinux_enforcing {
        warnings.push(
            "the image enforces SELinux; the VM runs without, because virtiofs gives every file \
             one label"
                .to_owned(),
        );
    }
    warnings
}

/// Kernel, initramfs and kernel arguments of the image.
struct BootFiles {
    kernel: Vec<u8>,
    initrd: Vec<u8>,
    cmdline: Option<String>,
    /// The kernel's release, if it is known.
    release: Option<String>,
}

impl BootFiles {
    /// Reads the files as the image ships them.
    fn read(root: &Rooted, source: &BootSource) -> Result<Self, String> {
        let read = |path: &Path| {
            root.read(path, MAX_FILE)
                .map_err(|e| format!("{}: {e}", path.display()))
        };
        match source {
            BootSource::Split {
                kernel,
                initramfs,
                version,
            } => Ok(Self {
                kernel: read(kernel)?,
                initrd: read(initramfs)?,
                cmdline: None,
                release: Some(version.clone()),
            }),
            BootSource::Uki { path, version } => {
                let bytes = read(path)?;
                let uki =
                    uki::Uki::parse(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
                Ok(Self {
                    kernel: uki.linux.to_vec(),
                    initrd: uki.initrd.to_vec(),
                    cmdline: Some(uki.cmdline.unwrap_or_default()),
                    release: version.clone().or(uki.uname),
                })
            }
        }
    }
}

/// Returns a kernel as QEMU boots it. A kernel that unpacks itself is unpacked here if the VM is
/// `emulated`; otherwise the guest is as quick at that as the host.
fn unpacked(kernel: Vec<u8>, emulated: bool) -> Result<Vec<u8>, ZbootError> {
    if zboot::is_zboot(&kernel) {
        zboot::unpack(&kernel)
    } else if emulated {
        Ok(bzimage::unpack(&kernel).unwrap_or(kernel))
    } else {
        Ok(kernel)
    }
}

/// Builds our archive of `entries`, `modules` and `program`, beside the image's `initramfs` or alone.
fn archive(
    program: &Program,
    initramfs: Initramfs,
    entries: &[bcvk_guest::Entry],
    modules: &[Module],
) -> io::Result<Vec<u8>> {
    let mut archive = Archive::new();
    match initramfs {
        Initramfs::Image => program.add(&mut archive)?,
        Initramfs::Direct => program.add_as_init(&mut archive)?,
    }
    for entry in entries {
        match &entry.content {
            Content::File(text) => archive.file(&entry.path, 0o644, text.as_bytes())?,
            Content::Secret(text) => archive.file(&entry.path, 0o600, text.as_bytes())?,
            Content::Link(target) => archive.symlink(&entry.path, target)?,
        }
    }
    modules::add(&mut archive, modules)?;
    archive.finish()
}

/// Returns the initramfs `image` with `archive` at its end: before its boot configuration, if it has
/// one. The kernel unpacks archives one after the other, each at a 4-byte boundary (Linux,
/// Documentation/driver-api/early-userspace/buffer-format.rst).
///
/// The image's initramfs is decompressed if it has at most `unpack` bytes without its compression.
/// The result takes more of the guest's memory until the kernel has unpacked it.
fn initrd(image: &[u8], archive: Vec<u8>, unpack: u64) -> Initrd<'_> {
    let end = image.len().saturating_sub(bootconfig::END);
    let config = bootconfig::length(&image[end..], image.len() as u64);
    // `length` returns the image's length at most.
    let config = usize::try_from(config).unwrap_or_default();
    let (image, config) = image.split_at(image.len() - config);
    let image = initramfs::unpack(image, unpack);
    Initrd {
        image,
        archive,
        config,
    }
}

/// An initramfs with an archive of ours in it.
struct Initrd<'a> {
    /// The image's own initramfs.
    image: Cow<'a, [u8]>,
    archive: Vec<u8>,
    /// The image's boot configuration.
    config: &'a [u8],
}

impl Initrd<'_> {
    /// Returns the pieces of the initramfs, in this order.
    fn parts(&self) -> [&[u8]; 4] {
        let padding = padding(self.image.len() as u64);
        [&self.image, padding, &self.archive, self.config]
    }
}

fn guest_memory(spec: &VmSpec, container: &Container) -> io::Result<BootFile> {
    let memory = container.boot_file("memory", &[])?;
    ftruncate(&memory.file, spec.memory.bytes())?;
    Ok(memory)
}

/// Makes the files for a QEMU that waits for the state `saved`. The guest's memory is still empty.
pub(super) fn prepare_to_resume(
    spec: &VmSpec,
    saved: &Saved,
    container: &Container,
) -> io::Result<Prepared> {
    let root = Rooted::new(Path::new(CONTAINER_IMAGE))?;
    let facts = GuestFacts::read(&root)?;
    // The arguments of a UKI are not worth reading all of it once more.
    let from_image = kargs::read(&root, spec.arch).unwrap_or_default();
    let absent = Absent::new(spec, &facts, &from_image);
    Ok(Prepared {
        kernel: container.boot_file("kernel", &[&saved.kernel()?])?,
        initrd: container.boot_file("initrd", &[])?,
        memory: guest_memory(spec, container)?,
        ignition: None,
        cmdline: String::new(),
        identity: OpenIdentity::new(spec, &facts),
        warnings: warnings(spec, &facts, &absent),
    })
}

fn ignition(spec: &VmSpec, container: &Container) -> io::Result<Option<BootFile>> {
    if !spec.ignition {
        return Ok(None);
    }
    let config = fs::read(CONTAINER_IGNITION)?;
    container.boot_file("ignition", &[&config]).map(Some)
}

/// Makes a file in memory that has no name.
pub(super) fn memory_file(name: &std::ffi::CStr, content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_archive_is_the_end_of_the_initramfs_but_for_its_boot_configuration() {
        let config = b"a=1\n\x04\0\0\0\xbd\0\0\0#BOOTCONFIG\n";
        for (image, expected) in [
            (b"image".to_vec(), b"image\0\0\0OURS".to_vec()),
            (
                [b"image".as_slice(), config].concat(),
                [b"image\0\0\0OURS".as_slice(), config].concat(),
            ),
        ] {
            let initrd = initrd(&image, b"OURS".to_vec(), 0);
            assert_eq!(initrd.parts().concat(), expected);
        }
    }
}
