//! Confinement of QEMU, which may do as little as running a guest takes.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::{Gid, Uid, chroot, fchdir};
use rustix::thread::{CapabilitySet, set_thread_res_gid, set_thread_res_uid};

use crate::landlock::{May, Network, Rule, restrict};
use crate::rights::{keep_only, leave_groups, unbind};

/// The device through which KVM is used.
const KVM: &str = "/dev/kvm";

/// Description of how QEMU is confined.
#[derive(Debug, Clone, Default)]
pub struct QemuConfinement {
    /// True if QEMU changes to the root whose directory is standard input.
    pub root: bool,
    /// Directory in QEMU's root that has the guest's kernel, initramfs and memory, if they do not
    /// come as descriptors.
    pub files: Option<PathBuf>,
    /// User and group that QEMU becomes.
    pub user: Option<(u32, u32)>,
    /// True if QEMU uses KVM.
    pub kvm: bool,
}

impl QemuConfinement {
    /// Returns the arguments from which `bcvk internal exec-qemu` makes the same value again.
    pub(crate) fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["internal".into(), "exec-qemu".into()];
        if self.root {
            args.push("--root".into());
        }
        if let Some(files) = &self.files {
            let mut arg = OsString::from("--files=");
            arg.push(files);
            args.push(arg);
        }
        if let Some((uid, gid)) = self.user {
            args.push(format!("--user={uid}:{gid}").into());
        }
        if self.kvm {
            args.push("--kvm".into());
        }
        args.push("--".into());
        args
    }
}

/// Confines this process and all that it could execute, and becomes `program`. QEMU's disks and
/// sockets come as descriptors; everything that QEMU opens is in its root.
///
/// Returns only on failure.
#[must_use]
pub fn exec_confined(how: &QemuConfinement, program: &Path, args: &[OsString]) -> io::Error {
    match confine(how) {
        Ok(()) => Command::new(program).args(args).env_clear().exec(),
        Err(e) => e,
    }
}

fn confine(how: &QemuConfinement) -> io::Result<()> {
    if how.root {
        enter_root()?;
    }
    // This takes a capability that another user does not have, so it comes first.
    unbind(CapabilitySet::all());
    if let Some((uid, gid)) = how.user {
        become_user(Uid::from_raw(uid), Gid::from_raw(gid), how.kvm)?;
    }
    keep_only(CapabilitySet::empty())?;
    let rules = [
        ("/usr", May::Execute),
        ("/lib", May::Execute),
        ("/lib64", May::Execute),
        ("/etc", May::Read),
        (KVM, May::Use),
    ]
    .map(|(path, may)| Rule {
        path: Path::new(path),
        may,
    });
    let files = how.files.as_deref().map(|path| Rule {
        path,
        may: May::Use,
    });
    let rules: Vec<Rule<'_>> = rules
        .into_iter()
        .chain(files)
        .filter(|rule| rule.path.exists())
        .collect();
    restrict(&rules, Network::Container)
}

/// Changes to the root whose directory is standard input.
fn enter_root() -> io::Result<()> {
    fchdir(io::stdin().as_fd())?;
    Ok(chroot(".")?)
}

/// Becomes the user `uid` and leaves all groups for `gid`.
///
/// KVM's device may be accessible only to this container's root, for example if the host lets one
/// user access it by an access control list. Then QEMU stays root, which has no capability either.
fn become_user(uid: Uid, gid: Gid, kvm: bool) -> io::Result<()> {
    if kvm {
        // The saved user is still root, so there is a way back.
        set_thread_res_uid(None, uid, None)?;
        let usable = accessat(
            CWD,
            KVM,
            Access::READ_OK | Access::WRITE_OK,
            AtFlags::EACCESS,
        );
        set_thread_res_uid(None, Uid::ROOT, None)?;
        if usable.is_err() {
            return Ok(());
        }
    } else {
        leave_groups()?;
    }
    set_thread_res_gid(gid, gid, gid)?;
    Ok(set_thread_res_uid(uid, uid, uid)?)
}
