//! Commands that are run on a host, and what is expected of each.

use std::fmt;

/// A command line on a host.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Whoever runs it.
    pub(super) who: Who,
    /// Name in the table.
    pub(super) what: String,
    /// Shell script; `IMAGE` is the image that is booted.
    pub(super) script: String,
    /// Exit code that is expected.
    pub(super) code: i32,
    /// Texts of which each is expected on standard output.
    pub(super) stdout: Vec<&'static str>,
    /// Text that is expected on standard error.
    pub(super) stderr: &'static str,
}

/// Way to be somebody on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// A user with a login session.
    Session,
    /// The same user without one, by `sudo -u`.
    Sudo,
    /// Root, by a login session.
    Root,
    /// Root, in a service of systemd's, without a terminal.
    Service,
}

impl Who {
    /// Returns true for root, who has other images than the user.
    pub(super) fn is_root(self) -> bool {
        matches!(self, Self::Root | Self::Service)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "user, login session",
            Self::Sudo => "user, sudo -u",
            Self::Root => "root, login session",
            Self::Service => "root, systemd service",
        })
    }
}

const DOCTOR: [&str; 4] = [
    "ok       podman",
    "ok       containers",
    "ok       QEMU",
    "ok       KVM",
];

/// The first VM boots, which takes minutes, and is saved. Most others of its user are resumed from it.
const BOOT: &str = "printf typed | bcvk -q ephemeral run-ssh --warm auto IMAGE -- \
    sh -c 'systemd-detect-virt; cat; echo told >&2; exit 7'";

/// Options and an image may follow.
const RESUME: &str = "bcvk -q ephemeral run-ssh --warm require";

const RUNNING: &str = "-- systemctl is-system-running --wait";

/// The guest's clock has to be between two looks at the host's.
const BACKGROUND: &str = "set -e
    bcvk -q ephemeral run -d --rm --warm require --name vm IMAGE >/dev/null
    before=$(date +%s)
    now=$(bcvk -q ephemeral ssh vm date +%s)
    after=$(date +%s)
    [ \"$before\" -le \"$now\" ] && [ \"$now\" -le \"$after\" ] || echo \"clock: $before $now $after\"
    bcvk -q ephemeral ssh vm hostname
    bcvk -q ephemeral stop vm >/dev/null
    echo stopped";

const NOTHING_LEFT: &str = "for i in $(seq 60); do
    left=$(podman ps -aq; ls -A \"${XDG_RUNTIME_DIR:-/run}/bcvk/vms\"; pgrep -u \"$USER\" qemu-system)
    [ -n \"$left\" ] || exit 0
    sleep 1
    done; echo \"$left\"; exit 1";

/// Lines of `containers.conf` that other hosts have.
const SETTINGS: [&str; 8] = [
    "ipcns=\"host\"",
    "pidns=\"host\"",
    "netns=\"host\"",
    "userns=\"keep-id\"",
    "log_driver=\"journald\"",
    "init=true",
    "privileged=true",
    "read_only=true",
];

const NETWORKS: [&str; 5] = ["pasta", "slirp4netns", "bridge", "host", "none"];

/// Other names of the image, as the shell makes them.
const NAMES: [(&str, &str); 4] = [
    ("ID", "$(podman image inspect --format '{{.Id}}' IMAGE)"),
    (
        "digest",
        "localhost/bcvk-test@$(podman image inspect --format '{{.Digest}}' IMAGE)",
    ),
    ("short name", "bcvk-test:trixie"),
    (
        "docker-archive:",
        "docker-archive:/run/virtiofs-mnt-given/image.tar",
    ),
];

/// Returns a case that succeeds.
fn case(who: Who, what: impl Into<String>, script: impl Into<String>) -> Case {
    Case {
        who,
        what: what.into(),
        script: script.into(),
        code: 0,
        stdout: Vec::new(),
        stderr: "",
    }
}

/// Returns a case in which a resumed VM runs.
fn resumed(who: Who, what: impl Into<String>, script: impl Into<String>) -> Case {
    Case {
        stdout: vec!["running"],
        ..case(who, what, script)
    }
}

/// Returns the cases that CI makes too, in their order.
pub(super) fn short() -> Vec<Case> {
    vec![
        doctor(Who::Session),
        boots(Who::Session),
        resumed(
            Who::Session,
            "run-ssh resumes",
            format!("{RESUME} IMAGE {RUNNING}"),
        ),
        Case {
            stdout: vec!["vm\nstopped"],
            ..case(
                Who::Session,
                "run -d resumes: clock, ssh, stop, --rm",
                BACKGROUND,
            )
        },
        case(Who::Session, "nothing is left", NOTHING_LEFT),
    ]
}

/// Returns every case, in the order in which they are made.
pub(super) fn all() -> Vec<Case> {
    let mut cases = short();
    cases.extend(SETTINGS.map(|line| {
        let what = format!("containers.conf with `{line}`");
        let script = format!(
            "conf=$(mktemp); printf '[containers]\\n%s\\n' '{line}' >\"$conf\"; \
             export CONTAINERS_CONF_OVERRIDE=\"$conf\"; {RESUME} IMAGE {RUNNING}"
        );
        resumed(Who::Session, what, script)
    }));
    cases.push(resumed(
        Who::Session,
        "`PODMAN_USERNS=keep-id`",
        format!("PODMAN_USERNS=keep-id {RESUME} IMAGE {RUNNING}"),
    ));
    cases.push(Case {
        code: 125,
        stderr: "error: CONTAINER_HOST is set",
        ..case(
            Who::Session,
            "`CONTAINER_HOST` is refused",
            format!("CONTAINER_HOST=unix:///run/podman.sock {RESUME} IMAGE {RUNNING}"),
        )
    });
    cases.extend(NETWORKS.map(|network| {
        let script = format!("{RESUME} --network {network} IMAGE {RUNNING}");
        resumed(Who::Session, format!("--network {network}"), script)
    }));
    cases.extend(NAMES.map(|(name, image)| {
        let script = format!("{RESUME} \"{image}\" {RUNNING}");
        resumed(Who::Session, format!("image by {name}"), script)
    }));
    cases.push(case(
        Who::Session,
        "run-ssh, emulated",
        "BCVK_ACCEL=tcg bcvk -q ephemeral run-ssh IMAGE true",
    ));
    // podman's directory has gone with the last session.
    cases.push(Case {
        code: 125,
        stderr: "loginctl enable-linger",
        ..case(
            Who::Sudo,
            "run-ssh without a session is refused",
            format!("{RESUME} IMAGE {RUNNING}"),
        )
    });
    cases.extend([doctor(Who::Root), boots(Who::Root)]);
    cases.push(resumed(
        Who::Service,
        "run-ssh resumes",
        format!("{RESUME} IMAGE {RUNNING}"),
    ));
    cases.push(case(Who::Root, "nothing is left", NOTHING_LEFT));
    cases
}

fn doctor(who: Who) -> Case {
    Case {
        stdout: DOCTOR.to_vec(),
        ..case(who, "doctor", "bcvk doctor")
    }
}

fn boots(who: Who) -> Case {
    Case {
        code: 7,
        stdout: vec!["kvm\ntyped"],
        stderr: "told",
        ..case(
            who,
            "run-ssh boots under KVM and saves: exit code, streams",
            BOOT,
        )
    }
}
