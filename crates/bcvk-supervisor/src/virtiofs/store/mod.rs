//! The file server of a store of images: podman's storage without what is not an image's.
//!
//! The directory of podman's storage also has secrets, volumes, databases, and what containers write
//! (containers-storage, `store.go`). The guest sees what an additional image store consists of
//! (containers-storage.conf(5)), and nothing else: names in a [`Place`] are looked up and listed only
//! if they are allowed there. Everything else is in a directory that is an image's as a whole.

pub(crate) mod layers;

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

use super::tree::{as_the_tree, rest_of_the_tree};

type Inode = <PassthroughFsRo as FileSystem>::Inode;
type Handle = <PassthroughFsRo as FileSystem>::Handle;
type TreeIter = <PassthroughFsRo as FileSystem>::DirIter;

/// A storage driver.
#[derive(Debug)]
struct Driver {
    /// The name that its directories begin with.
    name: &'static str,
    /// Directory of the layers, in that of the driver; `None` if they are in that itself.
    inner: Option<&'static str>,
}

/// The drivers whose stores are served. Of any other, nothing is.
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

/// A directory in which only some names are the guest's business.
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

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    /// Another place.
    Place(Place),
    /// A file, or a directory that is an image's with all that is in it.
    Image,
}

/// Podman's storage, reduced to its images.
pub(super) struct StoreFs {
    tree: PassthroughFsRo,
    root: PathBuf,
    state: Mutex<State>,
}

/// What may change while requests are answered.
struct State {
    /// The places that the guest knows. A number is one directory's for as long as the server runs.
    places: HashMap<Inode, Place>,
    /// The layers of images, by driver.
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

    /// Nothing in it is left half done by a panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `name` in `place` is to the guest; `None` if it is not there for it.
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
                // By the call that a file server is left with; std's is another.
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
    /// All that are there.
    All(TreeIter),
    /// Those that are the guest's business.
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
        // Linux asks for none of these; a guest that does wants to leave the directory.
        let bytes = name.to_bytes();
        if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') {
            return Err(Errno::NOENT.into());
        }
        // Held until a place is known as one, lest its number be used before.
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

    /// A place is never forgotten: it would get another number.
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
    rest_of_the_tree!();
}

/// The state that another server would hand over names inodes, which are not checked here.
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
