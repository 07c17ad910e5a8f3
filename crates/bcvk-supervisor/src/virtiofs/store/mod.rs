//! The file server of a store of images: podman's storage, reduced to its images.
//!
//! The directory of podman's storage also has secrets, volumes, databases, and files that containers
//! write (containers-storage, `store.go`). The guest sees the parts of an additional image store
//! (containers-storage.conf(5)), and nothing else: names in a [`Place`] are looked up and listed only
//! if they are allowed there. All other directories that the guest can reach belong to an image as a
//! whole.

pub(crate) mod layers;
pub(crate) mod names;

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use layers::ImageLayers;
use rustix::fs::{CWD, readlinkat};
use rustix::io::Errno;
use virtiofsd::filesystem::{
    Context, DirEntry, DirectoryIterator, Entry, Extensions, FileSystem, FsOptions, GetxattrReply,
    ListxattrReply, OpenOptions, ROOT_ID, SerializableFileSystem, SetattrValid, SetxattrFlags,
    ZeroCopyWriter,
};
use virtiofsd::fuse::{Attr, SetattrIn};
use virtiofsd::passthrough::Config;
use virtiofsd::passthrough::read_only::PassthroughFsRo;

use super::tree::{as_the_tree, questions_of_the_tree, rest_of_the_tree};

type Inode = <PassthroughFsRo as FileSystem>::Inode;
type Handle = <PassthroughFsRo as FileSystem>::Handle;
type TreeIter = <PassthroughFsRo as FileSystem>::DirIter;

/// A storage driver.
#[derive(Debug)]
struct Driver {
    /// Name that the driver's directories begin with.
    name: &'static str,
    /// Directory of the layers inside the driver's directory; `None` if that is itself the directory
    /// of the layers.
    inner: Option<&'static str>,
}

/// Drivers whose stores are served. Nothing of any other driver is.
static DRIVERS: [Driver; 2] = [
    Driver {
        name: "overlay",
        inner: None,
    },
    Driver {
        name: "vfs",
        inner: Some("dir"),
    },
];

/// Directory in which overlay has a short link to each layer.
const LINKS: &str = "l";

/// A directory of which the guest may see only some names.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The store itself.
    Root,
    /// `DRIVER-layers`: a list, and files about each layer.
    Records(&'static Driver),
    /// `DRIVER`
    Driver(&'static Driver),
    /// The directory of the layers' directories, if that is not `DRIVER`.
    Layers(&'static Driver),
    /// [`LINKS`]
    Links(&'static Driver),
}

/// Meaning of a name in a place.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    /// Another place.
    Place(Place),
    /// A file, or a directory that belongs to an image with all that is in it.
    Image,
}

/// Podman's storage, reduced to its images.
pub(super) struct StoreFs {
    tree: PassthroughFsRo,
    root: PathBuf,
    state: Mutex<State>,
}

/// State that may change while requests are answered.
struct State {
    /// Places that the guest knows. An inode number stands for one directory as long as the server
    /// runs.
    places: HashMap<Inode, Place>,
    /// Layers of images, by driver.
    layers: HashMap<&'static str, ImageLayers>,
}

impl StoreFs {
    pub(super) fn new(config: Config) -> io::Result<Self> {
        let root = PathBuf::from(&config.root_dir);
        let layers = DRIVERS
            .iter()
            .map(|driver| (driver.name, ImageLayers::new(&root, driver.name)));
        Ok(Self {
            state: Mutex::new(State {
                places: HashMap::from([(ROOT_ID, Place::Root)]),
                layers: layers.collect(),
            }),
            tree: PassthroughFsRo::new(config)?,
            root,
        })
    }

    /// Locks the state. A panic leaves nothing in it half done, so the state of a poisoned lock is
    /// valid.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the meaning of `name` in `place` for the guest; `None` if the guest may not see it.
    fn meaning(&self, state: &mut State, place: Place, name: &CStr) -> Option<Meaning> {
        let name = name.to_str().ok()?;
        let mut is_layer = |driver: &Driver, id: &str| {
            let layers = state.layers.get_mut(driver.name);
            layers.is_some_and(|layers| layers.contains(id))
        };
        let image = |allowed: bool| allowed.then_some(Meaning::Image);
        match place {
            Place::Root => {
                DRIVERS
                    .iter()
                    .find_map(|driver| match name.strip_prefix(driver.name)? {
                        "" => Some(Meaning::Place(Place::Driver(driver))),
                        "-images" => Some(Meaning::Image),
                        "-layers" => Some(Meaning::Place(Place::Records(driver))),
                        _ => None,
                    })
            }
            Place::Records(driver) => {
                let id = name.strip_suffix(".tar-split.gz").unwrap_or(name);
                image(matches!(name, "layers.json" | "layers.lock") || is_layer(driver, id))
            }
            Place::Driver(driver) => match driver.inner {
                Some(inner) if name == inner => Some(Meaning::Place(Place::Layers(driver))),
                Some(_) => None,
                None if name == LINKS => Some(Meaning::Place(Place::Links(driver))),
                None => image(is_layer(driver, name)),
            },
            Place::Layers(driver) => image(is_layer(driver, name)),
            Place::Links(driver) => {
                let link = self.root.join(driver.name).join(LINKS).join(name);
                // This is the call that a file server is left with; the standard library makes
                // another.
                let target = readlinkat(CWD, link, Vec::new()).ok()?;
                let id = target.to_str().ok()?.strip_prefix("../")?;
                image(is_layer(driver, id.strip_suffix("/diff")?))
            }
        }
    }

    /// Reads on until there is an entry for the guest: an answer without one is the directory's end.
    fn list(
        &self,
        place: Place,
        read: impl Fn(u64) -> io::Result<TreeIter>,
        from: u64,
    ) -> io::Result<Listed> {
        let mut offset = from;
        loop {
            let mut all = read(offset)?;
            let mut entries = Vec::new();
            let mut is_end = true;
            while let Some(entry) = all.next() {
                is_end = false;
                offset = entry.offset;
                if self.meaning(&mut self.state(), place, entry.name).is_some() {
                    entries.push(ListedEntry {
                        ino: entry.ino,
                        offset,
                        type_: entry.type_,
                        name: entry.name.to_owned(),
                    });
                }
            }
            if is_end || !entries.is_empty() {
                return Ok(Listed::Some { entries, next: 0 });
            }
        }
    }
}

/// Entries of a directory.
pub(super) enum Listed {
    /// All entries that are there.
    All(TreeIter),
    /// Entries that the guest may see.
    Some {
        entries: Vec<ListedEntry>,
        next: usize,
    },
}

/// A [`DirEntry`] that owns its name.
pub(super) struct ListedEntry {
    ino: libc::ino64_t,
    offset: u64,
    type_: u32,
    name: CString,
}

impl DirectoryIterator for Listed {
    fn next(&mut self) -> Option<DirEntry<'_>> {
        match self {
            Self::All(entries) => entries.next(),
            Self::Some { entries, next } => {
                let entry = entries.get(*next)?;
                *next += 1;
                Some(DirEntry {
                    ino: entry.ino,
                    offset: entry.offset,
                    type_: entry.type_,
                    name: &entry.name,
                })
            }
        }
    }
}

impl FileSystem for StoreFs {
    type Inode = Inode;
    type Handle = Handle;
    type DirIter = Listed;

    fn lookup(&self, ctx: Context, parent: Inode, name: &CStr) -> io::Result<Entry> {
        // Linux asks for none of these names; a guest that does wants to leave the directory.
        let bytes = name.to_bytes();
        if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') {
            return Err(Errno::NOENT.into());
        }
        // The lock is held until the new place is recorded, so that its number cannot be used before.
        let mut state = self.state();
        let Some(&place) = state.places.get(&parent) else {
            return self.tree.lookup(ctx, parent, name);
        };
        let meaning = self.meaning(&mut state, place, name);
        let meaning = meaning.ok_or(Errno::NOENT)?;
        let entry = self.tree.lookup(ctx, parent, name)?;
        if let Meaning::Place(place) = meaning {
            state.places.insert(entry.inode, place);
        }
        Ok(entry)
    }

    fn readdir(
        &self,
        ctx: Context,
        inode: Inode,
        handle: Handle,
        size: u32,
        offset: u64,
    ) -> io::Result<Listed> {
        let read = |offset| self.tree.readdir(ctx, inode, handle, size, offset);
        let place = self.state().places.get(&inode).copied();
        match place {
            Some(place) => self.list(place, read, offset),
            None => read(offset).map(Listed::All),
        }
    }

    /// Forgets an inode, but never a place: a place would get another number.
    fn forget(&self, ctx: Context, inode: Inode, count: u64) {
        if !self.state().places.contains_key(&inode) {
            self.tree.forget(ctx, inode, count);
        }
    }

    fn batch_forget(&self, ctx: Context, mut requests: Vec<(Inode, u64)>) {
        requests.retain(|(inode, _)| !self.state().places.contains_key(inode));
        self.tree.batch_forget(ctx, requests);
    }

    fn destroy(&self) {
        let mut state = self.state();
        self.tree.destroy();
        state.places.retain(|inode, _| *inode == ROOT_ID);
    }

    as_the_tree! {
        fn init(&self, capable: FsOptions) -> io::Result<FsOptions>;
    }
    questions_of_the_tree!();
    rest_of_the_tree!();
}

/// Refuses to hand over state to another server: the state names inodes, which are not checked here.
impl SerializableFileSystem for StoreFs {
    fn prepare_serialization(&self, _cancel: Arc<AtomicBool>) {}

    fn serialize(&self, _state_pipe: File) -> io::Result<()> {
        Err(Errno::OPNOTSUPP.into())
    }

    fn deserialize_and_apply(&self, _state_pipe: File) -> io::Result<()> {
        Err(Errno::OPNOTSUPP.into())
    }
}

#[cfg(test)]
mod tests;
