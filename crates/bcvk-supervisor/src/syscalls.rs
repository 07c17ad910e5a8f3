//! The seccomp filter for the system calls of a file server, besides podman's for the container.
//!
//! A call that is not listed fails like a call that the kernel does not know, so that the C library
//! falls back to an older call where it tries a newer one first.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io;

use libc::{ENOSYS, c_long};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// Calls for serving, and those that the C library and Rust's standard library make for threads,
/// memory, time and signals.
const ALWAYS: &[c_long] = &[
    // These calls work on open files, and on files below an open directory.
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fadvise64,
    libc::SYS_fchdir,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_getdents64,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_lseek,
    libc::SYS_name_to_handle_at,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_statx,
    libc::SYS_syncfs,
    libc::SYS_write,
    libc::SYS_writev,
    // These calls are for the socket to QEMU, and for waiting.
    libc::SYS_accept4,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    // These calls make a thread act as the guest's user: with its IDs and fewer of the capabilities
    // that are left.
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_setgroups,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_umask,
    // These calls are about the process itself.
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    // An abort signals its own thread.
    libc::SYS_tgkill,
    // virtiofsd gives each of its threads a working directory of its own.
    libc::SYS_unshare,
];

/// Calls that changing a share takes besides.
const CHANGING: &[c_long] = &[
    libc::SYS_copy_file_range,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_ftruncate,
    libc::SYS_linkat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_pwrite64,
    libc::SYS_pwritev2,
    libc::SYS_removexattr,
    libc::SYS_renameat2,
    libc::SYS_setxattr,
    libc::SYS_symlinkat,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
];

/// Calls that only older architectures have.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = &[libc::SYS_epoll_wait, libc::SYS_open, libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[c_long] = &[];

/// Calls for changing a share that only older architectures have.
#[cfg(target_arch = "x86_64")]
const OLD_CHANGING: &[c_long] = &[libc::SYS_renameat, libc::SYS_unlink];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CHANGING: &[c_long] = &[];

/// Restricts the calling thread, and those that it starts from now on, for good to the calls that
/// serving a share takes.
///
/// # Errors
/// If the kernel has no seccomp filters.
pub(super) fn restrict(read_only: bool) -> io::Result<()> {
    let filter = filter(read_only).map_err(io::Error::other)?;
    apply_filter(&filter).map_err(io::Error::other)
}

fn filter(read_only: bool) -> Result<BpfProgram, seccompiler::BackendError> {
    let changing = if read_only {
        [].iter().chain(&[])
    } else {
        CHANGING.iter().chain(OLD_CHANGING)
    };
    let calls = ALWAYS.iter().chain(OLD).chain(changing);
    let rules: BTreeMap<i64, Vec<_>> = calls.map(|call| (*call, Vec::new())).collect();
    SeccompFilter::new(
        rules,
        SeccompAction::Errno(ENOSYS.unsigned_abs()),
        SeccompAction::Allow,
        ARCH.try_into()?,
    )?
    .try_into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;
    use std::thread;

    use rustix::fs::{CWD, RenameFlags, renameat_with};

    use super::*;

    #[test]
    fn a_server_of_a_read_only_share_changes_and_executes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        fs::write(&path, "text").expect("written");
        thread::spawn(move || {
            restrict(true).expect("restricted");
            assert_eq!(fs::read_to_string(&path).expect("read"), "text");
            assert!(fs::remove_file(&path).is_err());
            assert!(fs::create_dir(path.with_extension("new")).is_err());
            assert!(Command::new("/bin/true").status().is_err());
            assert!(std::os::unix::net::UnixStream::pair().is_err());
        })
        .join()
        .expect("no panic");
    }

    #[test]
    fn a_server_of_a_writable_share_changes_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        thread::spawn(move || {
            restrict(false).expect("restricted");
            fs::write(&path, "text").expect("written");
            let new = path.with_extension("new");
            let flags = RenameFlags::empty();
            renameat_with(CWD, &path, CWD, &new, flags).expect("renamed");
            fs::remove_file(&new).expect("removed");
            assert!(Command::new("/bin/true").status().is_err());
        })
        .join()
        .expect("no panic");
    }
}
