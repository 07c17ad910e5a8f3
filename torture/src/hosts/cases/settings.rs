//! Settings of podman and its storage, networks, and names of images.

use super::super::case::{Case, Who};
use super::{RESUME, RUNNING, resumes};

/// Lines of `containers.conf` that other hosts have.
const LINES: [&str; 9] = [
    "ipcns=\"host\"",
    "pidns=\"host\"",
    "netns=\"host\"",
    "userns=\"keep-id\"",
    "log_driver=\"journald\"",
    "init=true",
    "privileged=true",
    "read_only=true",
    "default_ulimits=[\"nofile=1024:1024\"]",
];

const NETWORKS: [&str; 5] = ["pasta", "slirp4netns", "bridge", "host", "none"];

/// Names of the image that lead to it, and not to another with the same content, as the shell makes them.
const NAMES: [(&str, &str); 5] = [
    ("ID", "$(podman image inspect --format '{{.Id}}' IMAGE)"),
    (
        "digest",
        "localhost/bcvk-test@$(podman image inspect --format '{{.Digest}}' IMAGE)",
    ),
    ("short name", "bcvk-test:trixie"),
    ("containers-storage:", "containers-storage:IMAGE"),
    (
        "docker-archive:",
        "docker-archive:/run/virtiofs-mnt-given/image.tar",
    ),
];

/// Transports, and formats of `podman save`.
const TRANSPORTS: [(&str, &str); 3] = [
    ("oci", "oci-dir"),
    ("oci-archive", "oci-archive"),
    ("dir", "docker-dir"),
];

/// Further drivers of podman's storage, and their options.
const DRIVERS: [(&str, &str, &str); 2] = [
    ("vfs", "vfs", ""),
    (
        "overlay with fuse-overlayfs",
        "overlay",
        "[storage.options.overlay]\\nmount_program=\"/usr/bin/fuse-overlayfs\"\\n",
    ),
];

/// Returns the cases.
pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::from(LINES.map(containers_conf));
    cases.push(resumes(
        Who::Session,
        "`PODMAN_USERNS=keep-id`",
        format!("PODMAN_USERNS=keep-id {RESUME} IMAGE {RUNNING}"),
    ));
    cases.push(Case::refused(
        Who::Session,
        "`CONTAINER_HOST` is refused",
        format!("CONTAINER_HOST=unix:///run/podman.sock {RESUME} IMAGE {RUNNING}"),
        "error: CONTAINER_HOST is set",
    ));
    cases.extend(NETWORKS.map(|network| {
        let script = format!("{RESUME} --network {network} IMAGE {RUNNING}");
        resumes(Who::Session, format!("--network {network}"), script)
    }));
    cases.extend(NAMES.map(|(name, image)| {
        let script = format!("{RESUME} \"{image}\" {RUNNING}");
        resumes(Who::Session, format!("image by {name}"), script)
    }));
    cases.extend(TRANSPORTS.map(transport));
    cases.extend(DRIVERS.map(|(name, driver, options)| driver_of(name, driver, options)));
    cases.push(read_only_store());
    cases
}

fn containers_conf(line: &str) -> Case {
    let script = format!(
        "conf=$(mktemp); printf '[containers]\\n%s\\n' '{line}' >\"$conf\"; \
         export CONTAINERS_CONF_OVERRIDE=\"$conf\"; {RESUME} IMAGE {RUNNING}"
    );
    resumes(
        Who::Session,
        format!("containers.conf with `{line}`"),
        script,
    )
}

/// podman converts the image to make the file, so that another one is booted: it has to be planned
/// only.
fn transport((name, format): (&str, &str)) -> Case {
    let script = format!(
        "set -e
        dir=$(mktemp -d)
        podman save --quiet --format {format} --output \"$dir/image\" IMAGE
        bcvk -q ephemeral run --dry-run {name}:\"$dir/image\" >\"$dir/plan\"
        id=$(sed -n 's/.*type=image,source=\\([0-9a-f]*\\),.*/\\1/p' \"$dir/plan\")
        podman image inspect --format '{{{{.Os}}}}' \"$id\"
        rm -r \"$dir\""
    );
    Case::printing(
        Who::Session,
        format!("image by {name}: (--dry-run)"),
        script,
        &["linux"],
    )
}

/// The VM's image is the same in another store, and so is its snapshot.
fn driver_of(name: &str, driver: &str, options: &str) -> Case {
    let script = format!(
        "set -e
        dir=$HOME/other; mkdir \"$dir\"; export CONTAINERS_STORAGE_CONF=\"$dir/storage.conf\"
        printf '[storage]\\ndriver=\"{driver}\"\\ngraphroot=\"%s/graph\"\\nrunroot=\"%s/run\"\\n{options}' \
            \"$dir\" \"$dir\" >\"$dir/storage.conf\"
        podman load --quiet --input /run/virtiofs-mnt-given/image.tar >/dev/null
        {RESUME} IMAGE {RUNNING}
        podman info --format '{{{{.Store.GraphDriverName}}}}'
        podman rmi --force IMAGE >/dev/null; podman unshare rm -r \"$dir\""
    );
    Case {
        stdout: vec!["running"],
        ..Case::new(Who::Session, format!("storage driver {name}"), script)
    }
}

fn read_only_store() -> Case {
    let script = format!(
        "set -e
        dir=$HOME/other; mkdir \"$dir\"
        store=$dir/read-only
        podman unshare cp -a \"$(podman info --format '{{{{.Store.GraphRoot}}}}')\" \"$store\"
        export CONTAINERS_STORAGE_CONF=\"$dir/storage.conf\"
        printf '[storage]\\ndriver=\"overlay\"\\ngraphroot=\"%s/graph\"\\nrunroot=\"%s/run\"\\n' \
            \"$dir\" \"$dir\" >\"$dir/storage.conf\"
        printf '[storage.options]\\nadditionalimagestores=[\"%s\"]\\n' \"$store\" >>\"$dir/storage.conf\"
        {RESUME} IMAGE {RUNNING} 2>\"$dir/error\" || echo \"code $?\"
        grep --only-matching 'podman mounts no image' \"$dir/error\" \
            || {{ cat \"$dir/error\" >&2; exit 1; }}
        podman commit --quiet \"$(podman create IMAGE true)\" localhost/mine >/dev/null
        bcvk -q ephemeral run-ssh localhost/mine {RUNNING}
        podman rm --all --force >/dev/null; podman rmi --force localhost/mine >/dev/null
        podman unshare rm -r \"$dir\""
    );
    Case::printing(
        Who::Session,
        "image of a read-only store is refused, a commit of it boots",
        script,
        &["code 125\npodman mounts no image\nrunning"],
    )
}
