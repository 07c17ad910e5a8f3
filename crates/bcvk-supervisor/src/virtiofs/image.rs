//! The file server of an image: a tree that nobody changes.
//!
//! Each request costs an emulated guest a fraction of a millisecond, and a boot made 15000. If a tree
//! cannot change, the guest's kernel may remember more of it (Linux, fs/fuse, and
//! include/uapi/linux/fuse.h):
//!
//! - names that do not exist (a node ID of zero in the answer to a lookup);
//! - targets of symbolic links (`FUSE_CACHE_SYMLINKS`);
//! - that there is nothing to write when a file is closed (`ENOSYS` to the first `FUSE_FLUSH`, which
//!   [`FileSystem`]'s own `flush` answers).
//!
//! A server could tell the guest in the same way that files need no opening. But then the guest reads
//! the files anew each time (tried with Linux 6.12).

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

use super::tree::{as_the_tree, rest_of_the_tree};

type Inode = <PassthroughFsRo as FileSystem>::Inode;
type Handle = <PassthroughFsRo as FileSystem>::Handle;

/// An image's tree.
pub(super) struct ImageFs {
    tree: PassthroughFsRo,
    /// Time for which the guest may remember a name, whether it exists or not.
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
        fn readdir(&self, ctx: Context, inode: Inode, handle: Handle, size: u32, offset: u64) -> io::Result<Self::DirIter>;
    }
    rest_of_the_tree!();
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
