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
//!
//! If the guest is to be saved, what it looks at is recorded. Each request that tells something of the
//! image is a method of its own here; a method that is not here tells nothing, because the trait's
//! own answers that the request is not known.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use virtiofsd::filesystem::{
    Context, Entry, Extensions, FileSystem, FsOptions, GetxattrReply, ListxattrReply, OpenOptions,
    SerializableFileSystem, SetattrValid, SetxattrFlags, ZeroCopyWriter,
};
use virtiofsd::fuse::{Attr, SetattrIn};
use virtiofsd::passthrough::Config;
use virtiofsd::passthrough::read_only::PassthroughFsRo;

use crate::trace::Asked;

use super::record::Record;
use super::tree::{as_the_tree, rest_of_the_tree};

type Inode = <PassthroughFsRo as FileSystem>::Inode;
type Handle = <PassthroughFsRo as FileSystem>::Handle;

/// An image's tree.
pub(super) struct ImageFs {
    tree: PassthroughFsRo,
    /// Time for which the guest may remember a name, whether it exists or not.
    entry_timeout: Duration,
    /// Record of all that the guest looks at, if it is to be saved.
    record: Option<Record>,
    /// Set once the guest has mounted the tree.
    mounted: AtomicBool,
}

impl ImageFs {
    pub(super) fn new(config: Config, record: Option<Record>) -> io::Result<Self> {
        Ok(Self {
            entry_timeout: config.entry_timeout,
            tree: PassthroughFsRo::new(config)?,
            record,
            mounted: AtomicBool::new(false),
        })
    }

    fn record(&self, ask: impl FnOnce(&mut Asked)) {
        if let Some(record) = &self.record {
            record.add(ask);
        }
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
        self.mounted.store(true, Ordering::SeqCst);
        Ok(self.tree.init(capable)? | FsOptions::CACHE_SYMLINKS)
    }

    fn lookup(&self, ctx: Context, parent: Inode, name: &CStr) -> io::Result<Entry> {
        let found = match self.tree.lookup(ctx, parent, name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(self.nothing()),
            found => found,
        };
        self.record(|asked| match &found {
            Ok(entry) => {
                let inode = (entry.inode != 0).then_some(entry.inode);
                asked.looked_up(parent, name.to_bytes(), inode);
            }
            // No image has such a name.
            Err(error) if error.kind() == ErrorKind::InvalidFilename => {}
            Err(_) => asked.lose("a name could not be looked for"),
        });
        found
    }

    fn readdir(
        &self,
        ctx: Context,
        inode: Inode,
        handle: Handle,
        size: u32,
        offset: u64,
    ) -> io::Result<Self::DirIter> {
        self.record(|asked| asked.read(inode));
        self.tree.readdir(ctx, inode, handle, size, offset)
    }

    fn readlink(&self, ctx: Context, inode: Inode) -> io::Result<Vec<u8>> {
        self.record(|asked| asked.read(inode));
        self.tree.readlink(ctx, inode)
    }

    fn read<W: ZeroCopyWriter>(
        &self,
        ctx: Context,
        inode: Inode,
        handle: Handle,
        w: W,
        size: u32,
        offset: u64,
        lock_owner: Option<u64>,
        flags: u32,
    ) -> io::Result<usize> {
        self.record(|asked| asked.read(inode));
        self.tree
            .read(ctx, inode, handle, w, size, offset, lock_owner, flags)
    }

    fn lseek(
        &self,
        ctx: Context,
        inode: Inode,
        handle: Handle,
        offset: u64,
        whence: u32,
    ) -> io::Result<u64> {
        self.record(|asked| asked.read(inode));
        self.tree.lseek(ctx, inode, handle, offset, whence)
    }

    fn getxattr(
        &self,
        ctx: Context,
        inode: Inode,
        name: &CStr,
        size: u32,
    ) -> io::Result<GetxattrReply> {
        self.record(|asked| asked.asked_for_xattr(inode, name.to_bytes()));
        self.tree.getxattr(ctx, inode, name, size)
    }

    fn listxattr(&self, ctx: Context, inode: Inode, size: u32) -> io::Result<ListxattrReply> {
        self.record(|asked| asked.listed_xattrs(inode));
        self.tree.listxattr(ctx, inode, size)
    }

    // The guest mounts the image read-only, so that it never gets as far as this.
    fn create(
        &self,
        ctx: Context,
        parent: Inode,
        name: &CStr,
        mode: u32,
        kill_priv: bool,
        flags: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<(Entry, Option<Handle>, OpenOptions)> {
        self.record(|asked| asked.lose("a file was to be created"));
        self.tree
            .create(ctx, parent, name, mode, kill_priv, flags, umask, extensions)
    }

    as_the_tree! {
        fn destroy(&self);
        fn forget(&self, ctx: Context, inode: Inode, count: u64);
        fn batch_forget(&self, ctx: Context, requests: Vec<(Inode, u64)>);
    }
    rest_of_the_tree!();
}

impl SerializableFileSystem for ImageFs {
    fn prepare_serialization(&self, cancel: Arc<AtomicBool>) {
        self.tree.prepare_serialization(cancel);
    }

    fn serialize(&self, state_pipe: File) -> io::Result<()> {
        if let Some(record) = &self.record {
            if self.mounted.load(Ordering::SeqCst) {
                record.end();
            } else {
                record.write_early();
            }
        }
        self.tree.serialize(state_pipe)
    }

    fn deserialize_and_apply(&self, state_pipe: File) -> io::Result<()> {
        self.tree.deserialize_and_apply(state_pipe)
    }
}
