//! Methods of a file system that is a read-only tree of files, and that changes the meaning of some
//! requests.

/// Makes methods that call the same methods of the field `tree`.
macro_rules! as_the_tree {
    ($(fn $name:ident$(<$w:ident: $writer:ident>)?(&self $(, $arg:ident: $type:ty)*) $(-> $result:ty)?;)+) => {
        $(fn $name$(<$w: $writer>)?(&self $(, $arg: $type)*) $(-> $result)? {
            self.tree.$name($($arg),*)
        })+
    };
}

/// Makes the methods of [`FileSystem`](virtiofsd::filesystem::FileSystem) whose answers depend on what
/// is in the tree, but for looking up, listing and creating names.
macro_rules! questions_of_the_tree {
    () => {
        $crate::virtiofs::tree::as_the_tree! {
            fn readlink(&self, ctx: Context, inode: Inode) -> io::Result<Vec<u8>>;
            fn read<W: ZeroCopyWriter>(&self, ctx: Context, inode: Inode, handle: Handle, w: W, size: u32, offset: u64, lock_owner: Option<u64>, flags: u32) -> io::Result<usize>;
            fn getxattr(&self, ctx: Context, inode: Inode, name: &CStr, size: u32) -> io::Result<GetxattrReply>;
            fn listxattr(&self, ctx: Context, inode: Inode, size: u32) -> io::Result<ListxattrReply>;
            fn lseek(&self, ctx: Context, inode: Inode, handle: Handle, offset: u64, whence: u32) -> io::Result<u64>;
            fn create(&self, ctx: Context, parent: Inode, name: &CStr, mode: u32, kill_priv: bool, flags: u32, umask: u32, extensions: Extensions) -> io::Result<(Entry, Option<Handle>, OpenOptions)>;
        }
    };
}

/// Makes all methods that mean the same in every such tree, and that tell nothing of a file that its
/// name or its attributes do not.
macro_rules! rest_of_the_tree {
    () => {
        $crate::virtiofs::tree::as_the_tree! {
            fn getattr(&self, ctx: Context, inode: Inode, handle: Option<Handle>) -> io::Result<(Attr, Duration)>;
            fn open(&self, ctx: Context, inode: Inode, kill_priv: bool, flags: u32) -> io::Result<(Option<Handle>, OpenOptions)>;
            fn fsync(&self, ctx: Context, inode: Inode, datasync: bool, handle: Handle) -> io::Result<()>;
            fn release(&self, ctx: Context, inode: Inode, flags: u32, handle: Handle, flush: bool, flock_release: bool, lock_owner: Option<u64>) -> io::Result<()>;
            fn statfs(&self, ctx: Context, inode: Inode) -> io::Result<libc::statvfs64>;
            fn opendir(&self, ctx: Context, inode: Inode, flags: u32) -> io::Result<(Option<Handle>, OpenOptions)>;
            fn fsyncdir(&self, ctx: Context, inode: Inode, datasync: bool, handle: Handle) -> io::Result<()>;
            fn releasedir(&self, ctx: Context, inode: Inode, flags: u32, handle: Handle) -> io::Result<()>;
            fn syncfs(&self, ctx: Context, inode: Inode) -> io::Result<()>;
            fn setattr(&self, ctx: Context, inode: Inode, attr: SetattrIn, handle: Option<Handle>, valid: SetattrValid) -> io::Result<(Attr, Duration)>;
            fn symlink(&self, ctx: Context, target: &CStr, parent: Inode, name: &CStr, extensions: Extensions) -> io::Result<Entry>;
            fn mknod(&self, ctx: Context, parent: Inode, name: &CStr, mode: u32, rdev: u32, umask: u32, extensions: Extensions) -> io::Result<Entry>;
            fn mkdir(&self, ctx: Context, parent: Inode, name: &CStr, mode: u32, umask: u32, extensions: Extensions) -> io::Result<Entry>;
            fn unlink(&self, ctx: Context, parent: Inode, name: &CStr) -> io::Result<()>;
            fn rmdir(&self, ctx: Context, parent: Inode, name: &CStr) -> io::Result<()>;
            fn rename(&self, ctx: Context, from: Inode, name: &CStr, to: Inode, new: &CStr, flags: u32) -> io::Result<()>;
            fn link(&self, ctx: Context, inode: Inode, parent: Inode, name: &CStr) -> io::Result<Entry>;
            fn setxattr(&self, ctx: Context, inode: Inode, name: &CStr, value: &[u8], flags: u32, extra: SetxattrFlags) -> io::Result<()>;
            fn removexattr(&self, ctx: Context, inode: Inode, name: &CStr) -> io::Result<()>;
        }
    };
}

pub(super) use {as_the_tree, questions_of_the_tree, rest_of_the_tree};
