//! Tests that snapshots are made, found and removed.

mod key;

use std::fs;
use std::os::unix::fs::MetadataExt;

use bcvk_contract::examples::example;
use bcvk_contract::snapshot::example as make;

use super::*;
use crate::VmDir;

fn key(spec: &VmSpec) -> SnapshotKey {
    let spec = VmSpec {
        qemu: "/proc/self/exe".into(),
        ..spec.clone()
    };
    SnapshotKey::new(&spec, Path::new("/proc/self/exe")).expect("a key")
}

type Found = Option<(HeldSnapshot, SavedFiles, SnapshotImage)>;

fn find_for(
    snapshots: &Snapshots,
    key: &SnapshotKey,
    spec: &VmSpec,
    told: &mut dyn FnMut(&SnapshotError),
) -> io::Result<Found> {
    snapshots.find(SnapshotStage::Ready, key, &spec.image, &[], told)
}

#[test]
fn a_whole_snapshot_is_found_and_what_is_left_of_others_goes() {
    let cache = tempfile::tempdir().expect("a directory");
    let snapshots = Snapshots::open(cache.path()).expect("made");
    let spec = example();
    let key = key(&spec);
    let mut told = Vec::new();
    let mut find = || {
        let found = find_for(&snapshots, &key, &spec, &mut |error| {
            told.push(error.to_string());
        });
        found
            .expect("read")
            .map(|(held, _, _)| held.entry().id().to_owned())
    };
    assert_eq!(find(), None);

    let hold = snapshots
        .create(SnapshotStage::Ready, &key, &spec, &[])
        .expect("made");
    let entry = hold.entry().clone();
    let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
    assert_eq!(mode(entry.path()), 0o700);
    assert_eq!(mode(&cache.path().join("bcvk/snapshots")), 0o700);
    assert_eq!(find(), None);
    assert!(entry.path().exists(), "it is in the making");
    let _ = make(entry.path());
    assert_eq!(find().as_deref(), Some(entry.id()));
    let about = entry.about().expect("said");
    assert_eq!(about.image, "localhost/mybootc");

    drop(hold);
    fs::write(entry.path().join("sealed/state"), "").expect("cut");
    assert_eq!(find(), None);
    assert!(!entry.path().exists());
    assert_eq!(told, ["its file state is damaged"]);
}

#[test]
fn a_vm_that_may_start_again_finds_the_directory() {
    let cache = tempfile::tempdir().expect("a directory");
    let snapshots = Snapshots::open(cache.path()).expect("made");
    let spec = example();
    let held = snapshots
        .create(SnapshotStage::Ready, &key(&spec), &spec, &[])
        .expect("made");
    let entry = held.entry().clone();
    let _ = make(entry.path());
    let vm = cache.path().join("vm");
    fs::create_dir(&vm).expect("made");
    entry.keep_for(&VmDir::at(&vm)).expect("kept");
    assert!(!entry.remove_if_unused().expect("looked at"), "it is held");
    drop(held);

    assert_eq!(snapshots.prune(0).expect("pruned"), 1);
    assert!(entry.path().is_dir());
    assert!(entry.check().is_err());
    assert!(!entry.path().join("sealed/memory").exists());
    assert!(
        entry.path().join("staging/memory").exists(),
        "podman has it"
    );
    assert_eq!(snapshots.prune(0).expect("pruned"), 0);

    fs::remove_dir(&vm).expect("removed");
    assert_eq!(snapshots.prune(0).expect("pruned"), 1);
    assert!(!entry.path().exists());
}

#[test]
fn those_used_longest_ago_go_first() {
    let cache = tempfile::tempdir().expect("a directory");
    let snapshots = Snapshots::open(cache.path()).expect("made");
    let spec = example();
    let made: Vec<_> = (0..3)
        .map(|_| {
            let held = snapshots
                .create(SnapshotStage::Ready, &key(&spec), &spec, &[])
                .expect("made");
            let entry = held.entry().clone();
            let _ = make(entry.path());
            entry.touch().expect("touched");
            std::thread::sleep(std::time::Duration::from_millis(20));
            entry
        })
        .collect();
    let size = made[0].size().expect("looked at");
    assert_eq!(snapshots.prune(2 * size).expect("pruned"), 1);
    assert!(!made[0].path().exists() && made[1].path().exists() && made[2].path().exists());
    let found = snapshots.by_id(&made[1].id()[..40]).expect("read");
    assert_eq!(found.expect("one").id(), made[1].id());
    assert!(snapshots.by_id("").expect("read").is_none());
    let hold = made[2].hold().expect("held");
    assert_eq!(snapshots.prune(0).expect("pruned"), 1);
    drop(hold);
    assert_eq!(snapshots.prune(0).expect("pruned"), 1);
}

#[test]
fn a_snapshot_that_is_not_this_hosts_or_users_is_left_alone() {
    let cache = tempfile::tempdir().expect("a directory");
    let snapshots = Snapshots::open(cache.path()).expect("made");
    let spec = example();
    let held = snapshots
        .create(SnapshotStage::Ready, &key(&spec), &spec, &[])
        .expect("made");
    let entry = held.entry().clone();
    drop(held);
    let about = entry.path().join("about.json");
    let text = fs::read_to_string(&about).expect("text");
    let own = bcvk_contract::snapshot::boot_id().expect("an ID");
    assert!(text.contains(&own), "{text}");
    fs::write(&about, text.replace(&own, "another")).expect("written");
    assert_eq!(snapshots.prune(0).expect("pruned"), 0);

    // The snapshot was last used in an earlier boot of this host.
    let used = fs::File::options()
        .write(true)
        .open(entry.path().join("used"))
        .expect("opened");
    used.set_modified(std::time::UNIX_EPOCH).expect("set");
    assert_eq!(snapshots.prune(0).expect("pruned"), 1);

    let parent = entry.path().parent().expect("a parent").to_owned();
    let foreign = parent.join("foreign");
    std::os::unix::fs::symlink(cache.path(), &foreign).expect("linked");
    assert!(snapshots.list().expect("read").is_empty());
    assert_eq!(snapshots.prune(0).expect("pruned"), 0);
    assert!(foreign.is_symlink());
}

#[test]
fn others_may_remove_snapshots_meanwhile() {
    let cache = tempfile::tempdir().expect("a directory");
    let snapshots = Snapshots::open(cache.path()).expect("made");
    let spec = example();
    let entries: Vec<_> = (0..50)
        .map(|_| {
            let held = snapshots
                .create(SnapshotStage::Ready, &key(&spec), &spec, &[])
                .expect("made");
            let _ = make(held.entry().path());
            held.entry().clone()
        })
        .collect();
    let key = key(&spec);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| snapshots.prune(0).expect("pruned"));
        }
        scope.spawn(|| {
            while find_for(&snapshots, &key, &spec, &mut |_| ())
                .expect("found")
                .is_some()
            {}
        });
        for entry in &entries {
            entry.size().expect("looked at");
            // The search holds what it finds for a moment, and ends only once nothing is left.
            while !entry.remove_if_unused().expect("removed") {}
        }
    });
    snapshots.prune(0).expect("pruned");
    for entry in entries {
        assert_eq!(entry.size().expect("gone"), 0);
        assert!(entry.remove_if_unused().expect("gone"));
        assert!(entry.about().is_none() && entry.last_used().is_none());
    }
}

#[test]
fn a_snapshot_is_tried_for_relatives_of_its_image_only() {
    let cache = tempfile::tempdir().expect("a directory");
    let snapshots = Snapshots::open(cache.path()).expect("made");
    let spec = example();
    let key = key(&spec);
    let layers = |count: usize| -> Vec<String> {
        (0..count)
            .map(|number| format!("sha256:{number}"))
            .collect()
    };
    let held = snapshots
        .create(SnapshotStage::Ready, &key, &spec, &layers(2))
        .expect("made");
    let _ = make(held.entry().path());
    let find = |reference: &str, id: &str, layers: &[String]| {
        let image = ImageIdentity {
            reference: reference.to_owned(),
            id: id.to_owned(),
        };
        let found = snapshots.find(SnapshotStage::Ready, &key, &image, layers, &mut |_| ());
        found.expect("read").map(|(_, _, of)| of)
    };
    let (name, id) = (&spec.image.reference, &spec.image.id);
    let other = Some(SnapshotImage::Other);
    assert_eq!(find(name, id, &layers(2)), Some(SnapshotImage::Same));
    // The same image has another name.
    assert_eq!(find("copy", id, &layers(2)), Some(SnapshotImage::Same));
    assert_eq!(find(name, "new", &layers(0)), other);
    assert_eq!(find(&format!("{name}:2"), "new", &layers(0)), other);
    assert_eq!(find(&format!("{name}@sha256:0"), "new", &layers(0)), other);
    assert_eq!(find("derived", "new", &layers(3)), other);
    for (stranger, layers) in [
        ("other", layers(0)),
        ("other", layers(1)),
        (&*format!("{name}/other"), layers(0)),
        ("localhost:5000/mybootc", layers(0)),
    ] {
        assert_eq!(find(stranger, "new", &layers), None, "{stranger}");
    }
}

#[test]
fn a_new_snapshot_takes_the_place_of_those_of_earlier_builds() {
    let cache = tempfile::tempdir().expect("a directory");
    let snapshots = Snapshots::open(cache.path()).expect("made");
    let spec = example();
    let at = |stage, reference: &str, id: &str, vcpus: u32| {
        let spec = VmSpec {
            image: ImageIdentity {
                reference: reference.to_owned(),
                id: id.to_owned(),
            },
            vcpus,
            ..spec.clone()
        };
        let held = snapshots
            .create(stage, &key(&spec), &spec, &[])
            .expect("made");
        held.entry().clone()
    };
    let of = |reference, id, vcpus| at(SnapshotStage::Ready, reference, id, vcpus);
    let before = of("image:1", "a", 2);
    let others = [
        of("image:2", "b", 2),
        of("image:1", "b", 2),
        of("image:1", "a", 4),
        at(SnapshotStage::Early, "image:1", "a", 2),
    ];
    let new = of("image:1", "b", 2);
    assert_eq!(new.earlier().expect("read"), [before]);
    assert!(!others.contains(&new));
}

/// One of either stage is found by its stage alone, and has a name that begins like no other's.
#[test]
fn each_stage_has_snapshots_of_its_own() {
    let cache = tempfile::tempdir().expect("a directory");
    let snapshots = Snapshots::open(cache.path()).expect("made");
    let spec = example();
    let key = key(&spec);
    let made = SnapshotStage::ALL.map(|stage| {
        let held = snapshots.create(stage, &key, &spec, &[]).expect("made");
        let _ = make(held.entry().path());
        held
    });
    for (stage, made) in SnapshotStage::ALL.into_iter().zip(&made) {
        let found = snapshots.find(stage, &key, &spec.image, &[], &mut |_| ());
        let (held, ..) = found.expect("read").expect("there");
        assert_eq!(held.entry(), made.entry());
        assert_eq!(held.entry().about().map(|about| about.stage), Some(stage));
        let named = snapshots.by_id(&made.entry().id()[..8]).expect("read");
        assert_eq!(named.as_ref(), Some(made.entry()));
    }
}
