//! Containers, images and mounts of a sandbox's user, as podman has them.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::limit;
use crate::sandbox::Sandbox;
use crate::wait::until_some;

/// Lists the images that a test has built or pulled.
pub(crate) fn images(sandbox: &Sandbox, prefix: &str) -> Vec<String> {
    let listed = sandbox
        .podman(["images", "--format={{.Repository}}:{{.Tag}}"])
        .run();
    let mut names: Vec<String> = listed.stdout().lines().map(str::to_owned).collect();
    names.retain(|name| name.contains(&format!("/{prefix}")));
    names
}

pub(crate) fn pods(sandbox: &Sandbox, prefix: &str) -> Vec<String> {
    let listed = sandbox.podman(["pod", "ls", "--format={{.Name}}"]).run();
    let mut names: Vec<String> = listed.stdout().lines().map(str::to_owned).collect();
    names.retain(|name| name.starts_with(prefix));
    names
}

/// A container that podman lists.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: String,
}

/// Lists the containers of every test.
pub(crate) fn containers(sandbox: &Sandbox) -> Vec<Container> {
    let args = [
        "ps",
        "--all",
        // Containers in which images are built have mounts too.
        "--external",
        "--no-trunc",
        "--format",
        "{{.ID}} {{.Names}} {{.State}}",
    ];
    // podman fails if a container goes away while it makes the list.
    let output = until_some("podman lists its containers", limit::QUICK, || {
        let output = sandbox.podman(args).run();
        (output.code() == Some(0)).then_some(output)
    });
    let container = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        Some(Container {
            id: words.next()?,
            name: words.next()?,
            state: words.next()?,
        })
    };
    output.stdout().lines().filter_map(container).collect()
}

/// Lists the mounts of podman's storage that have come since the test began and that belong to no
/// container. While an image is built, which any test may do, no list has all of its mounts.
pub(crate) fn leftover_mounts(sandbox: &Sandbox) -> Vec<String> {
    let mut new = mounts(sandbox);
    new.retain(|point| !sandbox.mounts_before.contains(point));
    if new.is_empty() {
        return Vec::new();
    }
    let containers = containers(sandbox);
    let idle = |state: &str| ["created", "storage"].contains(&state.to_lowercase().as_str());
    if containers.iter().any(|container| idle(&container.state)) {
        return Vec::new();
    }
    let roots = storage_roots(sandbox);
    let used = mounts_of_containers(sandbox, &containers);
    // A container that has ended meanwhile is on no list, and its mount is gone too.
    let still = mounts(sandbox);
    new.retain(|point| {
        let is_used = used.iter().any(|part| point.contains(part));
        let is_podmans = roots.iter().any(|root| point.starts_with(root));
        is_podmans && !is_used && still.contains(point)
    });
    new.iter().map(|point| format!("mount {point}")).collect()
}

/// Returns the directories in which podman keeps images and containers of the sandbox's user. A user's
/// mount namespace has the mounts of others too.
fn storage_roots(sandbox: &Sandbox) -> Vec<String> {
    let roots = "--format={{.Store.GraphRoot}}/\n{{.Store.RunRoot}}/";
    let output = sandbox.podman(["info", roots]).run().expect_success();
    output.stdout().lines().map(str::to_owned).collect()
}

/// Returns a part of the path of each mount that these containers may have: their IDs, their root, and
/// those of all images but the test's own, which any of them may have as its own or as a volume.
fn mounts_of_containers(sandbox: &Sandbox, containers: &[Container]) -> Vec<String> {
    let mut used: Vec<String> = Vec::new();
    for Container { id, .. } in containers {
        used.push(id.clone());
        let field = "--format={{.GraphDriver.Data.MergedDir}}";
        // Containers end meanwhile; their mounts are gone at the next look.
        let inspected = sandbox.podman(["container", "inspect", field, id]).run();
        used.extend(inspected.stdout().lines().map(str::to_owned));
    }
    if !containers.is_empty() {
        used.extend(mounts_of_others_images(sandbox));
    }
    used.retain(|part| !part.is_empty());
    used
}

/// Returns the mounts of the images that the sandbox's test has not built.
fn mounts_of_others_images(sandbox: &Sandbox) -> Vec<String> {
    let list = ["podman", "image", "mount", "--format=json"];
    let list = if sandbox.is_root() {
        sandbox.podman(&list[1..])
    } else {
        sandbox.podman(["unshare"]).args(list)
    };
    let list = list.run().expect_success().stdout();
    let images: Vec<Value> = serde_json::from_str(&list).unwrap_or_default();
    let own = format!("localhost/{}", sandbox.prefix());
    let is_own = |image: &&Value| {
        let names = image["Repositories"].as_array().into_iter().flatten();
        names
            .filter_map(Value::as_str)
            .any(|name| name.starts_with(&own))
    };
    let others = images.iter().filter(|image| !is_own(image));
    let points = others.filter_map(|image| image["mountpoint"].as_str());
    points.map(str::to_owned).collect()
}

/// Returns the places where podman has mounted images and containers.
pub(crate) fn mounts(sandbox: &Sandbox) -> BTreeSet<String> {
    let table = if sandbox.is_root() {
        fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
    } else {
        // Rootless mounts are in a namespace of podman's own.
        let cat = sandbox.podman(["unshare", "cat", "/proc/self/mountinfo"]);
        cat.run().expect_success().stdout()
    };
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| {
            point.contains("/overlay-containers/")
                || (point.contains("/overlay/") && point.ends_with("/merged"))
        })
        .map(str::to_owned)
        .collect()
}
