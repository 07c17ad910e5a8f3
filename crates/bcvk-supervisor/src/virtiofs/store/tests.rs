use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::syscalls;

const BASE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const CONTAINER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const PULLED: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

/// Podman's storage with an image, a container of it, and a secret.
struct Storage(tempfile::TempDir);

impl Storage {
    fn new() -> Self {
        let storage = Self(tempfile::tempdir().expect("a directory"));
        for file in [
            "storage.lock",
            "db.sqlite",
            "libpod/bolt_state.db",
            "secrets/filedriver/secretsdata.json",
            "volumes/v/_data/file",
            "overlay-containers/containers.json",
            "overlay-containers/1/userdata/config.json",
            "overlay/.has-mount-program",
            "overlay-images/images.lock",
            "overlay-images/1/manifest",
            "overlay-layers/layers.lock",
            "overlay-layers/volatile-layers.json",
            "vfs/dir/other/file",
        ] {
            storage.write(file, "");
        }
        storage.layer(BASE, "BASE");
        storage.layer(CONTAINER, "CONTAINER");
        storage.images(&[BASE]);
        storage.layers(&[(BASE, ""), (CONTAINER, BASE)]);
        storage
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        // podman replaces its files in the same way.
        let new = path.with_extension("new");
        fs::write(&new, text).expect("written");
        fs::rename(new, path).expect("renamed");
    }

    fn images(&self, tops: &[&str]) {
        let images: Vec<_> = tops
            .iter()
            .map(|top| serde_json::json!({"id": "1", "layer": top}))
            .collect();
        let images = serde_json::to_string(&images).expect("JSON");
        self.write("overlay-images/images.json", &images);
    }

    fn layers(&self, layers: &[(&str, &str)]) {
        let layers: Vec<_> = layers
            .iter()
            .map(|(id, parent)| serde_json::json!({"id": id, "parent": parent}))
            .collect();
        let layers = serde_json::to_string(&layers).expect("JSON");
        self.write("overlay-layers/layers.json", &layers);
    }

    fn layer(&self, id: &str, link: &str) {
        self.write(&format!("overlay/{id}/diff/etc/file"), "");
        self.write(&format!("overlay-layers/{id}.tar-split.gz"), "");
        let links = self.0.path().join("overlay/l");
        fs::create_dir_all(&links).expect("made");
        symlink(format!("../{id}/diff"), links.join(link)).expect("a link");
    }

    fn serve(&self) -> StoreFs {
        let fs = StoreFs::new(Config {
            root_dir: self.0.path().to_str().expect("text").to_owned(),
            ..Config::default()
        });
        let fs = fs.expect("a file server");
        fs.init(FsOptions::empty()).expect("a session");
        fs
    }
}

fn context() -> Context {
    Context {
        uid: 0.into(),
        gid: 0.into(),
        pid: 1,
    }
}

fn lookup(fs: &StoreFs, parent: Inode, name: &str) -> io::Result<Entry> {
    let name = CString::new(name).expect("a name");
    fs.lookup(context(), parent, &name)
}

/// Returns the inode of a path, each name of which is looked up.
fn walk(fs: &StoreFs, path: &str) -> io::Result<Inode> {
    let mut names = path.split('/');
    names.try_fold(ROOT_ID, |parent, name| Ok(lookup(fs, parent, name)?.inode))
}

/// Returns the names in a directory, each with true if it is a directory.
fn names(fs: &StoreFs, dir: Inode, size: u32) -> Vec<(String, bool)> {
    let (handle, _) = fs.opendir(context(), dir, 0).expect("a directory");
    let handle = handle.expect("a handle");
    let (mut found, mut offset) = (Vec::new(), 0);
    loop {
        let listed = fs.readdir(context(), dir, handle, size, offset);
        let mut listed = listed.expect("entries");
        let before = found.len();
        while let Some(entry) = listed.next() {
            offset = entry.offset;
            let name = entry.name.to_str().expect("text").to_owned();
            found.push((name, entry.type_ == u32::from(libc::DT_DIR)));
        }
        if found.len() == before {
            found.retain(|(name, _)| name != "." && name != "..");
            return found;
        }
    }
}

/// Returns the paths of all files that can be listed and looked up.
fn files(fs: &StoreFs) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![(ROOT_ID, String::new())];
    while let Some((dir, path)) = left.pop() {
        for (name, is_dir) in names(fs, dir, 4096) {
            let entry = lookup(fs, dir, &name).expect("what is listed is there");
            let path = format!("{path}/{name}");
            if is_dir {
                left.push((entry.inode, path));
            } else {
                found.insert(path);
            }
        }
    }
    found
}

#[test]
fn only_images_are_there() {
    let storage = Storage::new();
    let expected = [
        "/overlay-images/1/manifest".to_owned(),
        "/overlay-images/images.json".to_owned(),
        "/overlay-images/images.lock".to_owned(),
        format!("/overlay-layers/{BASE}.tar-split.gz"),
        "/overlay-layers/layers.json".to_owned(),
        "/overlay-layers/layers.lock".to_owned(),
        format!("/overlay/{BASE}/diff/etc/file"),
        "/overlay/l/BASE".to_owned(),
    ];
    assert_eq!(files(&storage.serve()), BTreeSet::from(expected));
}

#[test]
fn nothing_else_is_found_by_its_name() {
    let storage = Storage::new();
    let fs = storage.serve();
    let container = format!("overlay/{CONTAINER}");
    let record = format!("overlay-layers/{CONTAINER}.tar-split.gz");
    for path in [
        "secrets",
        "volumes",
        "libpod",
        "db.sqlite",
        "overlay-containers",
        "overlay/l/CONTAINER",
        &container,
        &record,
    ] {
        let there = storage.0.path().join(path).symlink_metadata();
        assert!(there.is_ok(), "{path}");
        assert!(walk(&fs, path).is_err(), "{path}");
    }
    let layer = walk(&fs, &format!("overlay/{BASE}/diff")).expect("an image's layer");
    let links = walk(&fs, "overlay/l").expect("links");
    let escape = format!("../../{CONTAINER}/diff");
    for parent in [ROOT_ID, layer, links] {
        for name in [
            "",
            ".",
            "..",
            "../..",
            &escape,
            "secrets/filedriver",
            "overlay/l",
        ] {
            assert!(lookup(&fs, parent, name).is_err(), "{name} in {parent}");
        }
    }
}

#[test]
fn a_place_that_the_guest_forgets_keeps_its_rules() {
    let storage = Storage::new();
    let fs = storage.serve();
    for _ in 0..3 {
        let overlay = walk(&fs, "overlay").expect("a directory");
        assert!(lookup(&fs, overlay, CONTAINER).is_err());
        fs.forget(context(), overlay, 99);
        fs.batch_forget(context(), vec![(overlay, 99)]);
        assert!(lookup(&fs, overlay, CONTAINER).is_err());
    }
    fs.destroy();
    fs.init(FsOptions::empty()).expect("a new session");
    assert_eq!(files(&fs), files(&storage.serve()));
}

#[test]
fn images_and_containers_come_while_the_guest_runs() {
    let storage = Storage::new();
    let fs = storage.serve();
    let pulled = format!("overlay/{PULLED}/diff");
    assert!(walk(&fs, &pulled).is_err());
    storage.layer(PULLED, "PULLED");
    storage.layers(&[(BASE, ""), (PULLED, BASE)]);
    assert!(walk(&fs, &pulled).is_err(), "it may be a container's");
    storage.images(&[PULLED]);
    assert!(walk(&fs, &pulled).is_ok());
    assert!(walk(&fs, &format!("overlay/{BASE}/diff")).is_ok());
    storage.write("overlay-images/images.json", "not JSON");
    assert!(walk(&fs, &pulled).is_err());
}

/// An answer may have space for a few entries only, and the guest may not see any of them.
#[test]
fn a_listing_goes_on_after_what_is_left_out() {
    let storage = Storage::new();
    for number in 0..300 {
        storage.write(&format!("overlay/other{number:060}/x"), "");
    }
    let fs = storage.serve();
    let overlay = walk(&fs, "overlay").expect("a directory");
    let found = names(&fs, overlay, 256).into_iter().map(|(name, _)| name);
    let expected = [BASE.to_owned(), LINKS.to_owned()];
    assert_eq!(found.collect::<BTreeSet<_>>(), BTreeSet::from(expected));
}

#[test]
fn vfs_has_its_layers_one_directory_further() {
    let storage = Storage::new();
    storage.write(&format!("vfs/dir/{BASE}/etc/passwd"), "");
    storage.write(
        "vfs-images/images.json",
        &format!(r#"[{{"layer":"{BASE}"}}]"#),
    );
    storage.write("vfs-layers/layers.json", &format!(r#"[{{"id":"{BASE}"}}]"#));
    let fs = storage.serve();
    assert!(walk(&fs, &format!("vfs/dir/{BASE}/etc/passwd")).is_ok());
    assert!(walk(&fs, "vfs/dir/other").is_err());
}

/// A file server of a store must get by with the same calls as virtiofsd, whatever else it does.
#[test]
fn the_calls_of_a_file_server_are_enough() {
    let storage = Storage::new();
    let expected = files(&storage.serve());
    let found = std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            syscalls::restrict(true).expect("restricted");
            files(&storage.serve())
        });
        server.join().expect("no panic")
    });
    assert_eq!(found, expected);
}
