//! The file server of an image: a tree that nobody changes.
//!
//! Each request costs an emulated guest a fraction of a millisecond, and a boot made 15000. Of a tree
//! that cannot change, the guest's kernel may know more by itself (Linux, fs/fuse, and
//! include/uapi/linux/fuse.h):
//!
//! - what is not there (a node ID of zero in the answer to a lookup);
//! - what symbolic links say (`FUSE_CACHE_SYMLINKS`);
//! - that there is nothing to write when a file is closed (`ENOSYS` to the first `FUSE_FLUSH`, which
//!   [`FileSystem`]'s own `flush` answers).
//!
//! That files need no opening either could be said in the same way. But then the guest reads them anew
//! each time (tried with Linux 6.12).

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use virtiofsd::filesystem::{
    Context, Entry, Extensions, FileSystem, FsOptions, GetxattrReply, ListxattrReply, OpenOptions,
    SerializableFileSystem, SetattrValid, SetxattrFlags, ZeroCopyWriter,
};
use virtiofsd::fuse::{Attr, SetattrIn};
use virtiofsd::passthrough::Config;
use virtiofsd::passthrough::read_only::PassthroughFsRo;

type Inode = <PassthroughFsRo as FileSystem>::Inode;
type Handle = <PassthroughFsRo as FileSystem>::Handle;

/// An image's tree.
pub(super) struct ImageFs {
    tree: PassthroughFsRo,
    /// How long the guest may remember a name, of something or of nothing.
    entry_timeout: Duration,
}

impl ImageFs {
    pub(super) fn new(config: Config) -> io::Result<Self> {
        Ok(Self {
            entry_timeout: config.entry_timeout,
            tree: PassthroughFsRo::new(config)?,
        })
    }

    fn nothing(&self) -> Entry {
        Entry {
            inode: 0,
            generation: 0,
            attr: Attr::default(),
            attr_timeout: Duration::ZERO,
            entry_timeout: self.entry_timeout,
        }
    }
}

/// Methods that do what the tree's do.
macro_rules! as_the_tree {
    ($(fn $name:ident$(<$w:ident: $writer:ident>)?(&self $(, $arg:ident: $type:ty)*) $(-> $result:ty)?;)+) => {
        $(fn $name$(<$w: $writer>)?(&self $(, $arg: $type)*) $(-> $result)? {
            self.tree.$name($($arg),*)
        })+
    };
}

impl FileSystem for ImageFs {
    type Inode = Inode;
    type Handle = Handle;
    type DirIter = <PassthroughFsRo as FileSystem>::DirIter;

    fn init(&self, capable: FsOptions) -> io::Result<FsOptions> {
        Ok(self.tree.init(capable)? | FsOptions::CACHE_SYMLINKS)
    }

    fn lookup(&self, ctx: Context, parent: Inode, name: &CStr) -> io::Result<Entry> {
        match self.tree.lookup(ctx, parent, name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(self.nothing()),
            found => found,
        }
    }

    as_the_tree! {
        fn destroy(&self);
        fn forget(&self, ctx: Context, inode: Inode, count: u64);
        fn batch_forget(&self, ctx: Context, requests: Vec<(Inode, u64)>);
        fn getattr(&self, ctx: Context, inode: Inode, handle: Option<Handle>) -> io::Result<(Attr, Duration)>;
        fn readlink(&self, ctx: Context, inode: Inode) -> io::Result<Vec<u8>>;
        fn open(&self, ctx: Context, inode: Inode, kill_priv: bool, flags: u32) -> io::Result<(Option<Handle>, OpenOptions)>;
        fn read<W: ZeroCopyWriter>(&self, ctx: Context, inode: Inode, handle: Handle, w: W, size: u32, offset: u64, lock_owner: Option<u64>, flags: u32) -> io::Result<usize>;
        fn fsync(&self, ctx: Context, inode: Inode, datasync: bool, handle: Handle) -> io::Result<()>;
        fn release(&self, ctx: Context, inode: Inode, flags: u32, handle: Handle, flush: bool, flock_release: bool, lock_owner: Option<u64>) -> io::Result<()>;
        fn statfs(&self, ctx: Context, inode: Inode) -> io::Result<libc::statvfs64>;
        fn getxattr(&self, ctx: Context, inode: Inode, name: &CStr, size: u32) -> io::Result<GetxattrReply>;
        fn listxattr(&self, ctx: Context, inode: Inode, size: u32) -> io::Result<ListxattrReply>;
        fn opendir(&self, ctx: Context, inode: Inode, flags: u32) -> io::Result<(Option<Handle>, OpenOptions)>;
        fn readdir(&self, ctx: Context, inode: Inode, handle: Handle, size: u32, offset: u64) -> io::Result<Self::DirIter>;
        fn fsyncdir(&self, ctx: Context, inode: Inode, datasync: bool, handle: Handle) -> io::Result<()>;
        fn releasedir(&self, ctx: Context, inode: Inode, flags: u32, handle: Handle) -> io::Result<()>;
        fn lseek(&self, ctx: Context, inode: Inode, handle: Handle, offset: u64, whence: u32) -> io::Result<u64>;
        fn syncfs(&self, ctx: Context, inode: Inode) -> io::Result<()>;
        fn setattr(&self, ctx: Context, inode: Inode, attr: SetattrIn, handle: Option<Handle>, valid: SetattrValid) -> io::Result<(Attr, Duration)>;
        fn symlink(&self, ctx: Context, target: &CStr, parent: Inode, name: &CStr, extensions: Extensions) -> io::Result<Entry>;
        fn mknod(&self, ctx: Context, parent: Inode, name: &CStr, mode: u32, rdev: u32, umask: u32, extensions: Extensions) -> io::Result<Entry>;
        fn mkdir(&self, ctx: Context, parent: Inode, name: &CStr, mode: u32, umask: u32, extensions: Extensions) -> io::Result<Entry>;
        fn unlink(&self, ctx: Context, parent: Inode, name: &CStr) -> io::Result<()>;
        fn rmdir(&self, ctx: Context, parent: Inode, name: &CStr) -> io::Result<()>;
        fn rename(&self, ctx: Context, from: Inode, name: &CStr, to: Inode, new: &CStr, flags: u32) -> io::Result<()>;
        fn link(&self, ctx: Context, inode: Inode, parent: Inode, name: &CStr) -> io::Result<Entry>;
        fn create(&self, ctx: Context, parent: Inode, name: &CStr, mode: u32, kill_priv: bool, flags: u32, umask: u32, extensions: Extensions) -> io::Result<(Entry, Option<Handle>, OpenOptions)>;
        fn setxattr(&self, ctx: Context, inode: Inode, name: &CStr, value: &[u8], flags: u32, extra: SetxattrFlags) -> io::Result<()>;
        fn removexattr(&self, ctx: Context, inode: Inode, name: &CStr) -> io::Result<()>;
    }
}

impl SerializableFileSystem for ImageFs {
    fn prepare_serialization(&self, cancel: Arc<AtomicBool>) {
        self.tree.prepare_serialization(cancel);
    }

    fn serialize(&self, state_pipe: File) -> io::Result<()> {
        self.tree.serialize(state_pipe)
    }

    fn deserialize_and_apply(&self, state_pipe: File) -> io::Result<()> {
        self.tree.deserialize_and_apply(state_pipe)
    }
}
