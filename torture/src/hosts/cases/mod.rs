//! The cases, in the order in which they are made.

mod functions;
mod lives;
mod settings;

use super::case::{Case, Who};

const DOCTOR: [&str; 4] = [
    "ok       podman",
    "ok       containers",
    "ok       QEMU",
    "ok       KVM",
];

/// Name of the case that makes the snapshot from which most others are resumed.
pub(super) const SAVES: &str = "run-ssh boots under KVM and saves: exit code, streams";

/// The first VM boots, which takes minutes, and is saved. Most others of its user are resumed from it.
const BOOT: &str = "printf typed | bcvk -q ephemeral run-ssh --warm auto IMAGE -- \
    sh -c 'systemd-detect-virt; cat; echo told >&2; exit 7'";

/// Options and an image may follow.
const RESUME: &str = "bcvk -q ephemeral run-ssh --warm require";

/// A VM in the background; options and an image may follow.
const RUN: &str = "bcvk -q ephemeral run -d --rm --warm require --name vm";

const RUNNING: &str = "-- systemctl is-system-running --wait";

const NOTHING_LEFT: &str = "for i in $(seq 60); do
    left=$(podman ps -aq; ls -A \"${XDG_RUNTIME_DIR:-/run}/bcvk/vms\"; pgrep -u \"$USER\" qemu-system)
    [ -n \"$left\" ] || exit 0
    sleep 1
    done; echo \"$left\"; exit 1";

/// Returns the cases that CI makes too.
pub(super) fn short() -> Vec<Case> {
    vec![
        doctor(Who::Session),
        boots(Who::Session),
        resumes(
            Who::Session,
            "run-ssh resumes",
            format!("{RESUME} IMAGE {RUNNING}"),
        ),
        functions::background(),
        Case::new(Who::Session, "nothing is left", NOTHING_LEFT),
    ]
}

/// Returns every case.
pub(super) fn all() -> Vec<Case> {
    let mut cases = short();
    cases.extend(functions::all());
    cases.extend(settings::all());
    cases.extend(lives::of_the_user());
    cases.extend([doctor(Who::Root), boots(Who::Root)]);
    cases.push(resumes(
        Who::Root,
        "KVM is root's alone",
        format!(
            "mode=$(stat --format %a /dev/kvm); chmod 0600 /dev/kvm; {RESUME} IMAGE {RUNNING}; \
             chmod \"$mode\" /dev/kvm"
        ),
    ));
    cases.push(resumes(
        Who::Service,
        "run-ssh resumes",
        format!("{RESUME} IMAGE {RUNNING}"),
    ));
    cases.extend(lives::of_root());
    // It takes longest: the host's processor is emulated too.
    cases.push(Case::new(
        Who::Session,
        "run-ssh, emulated",
        "BCVK_ACCEL=tcg bcvk -q ephemeral run-ssh --initramfs direct IMAGE true",
    ));
    cases
}

fn doctor(who: Who) -> Case {
    Case::printing(who, "doctor", "bcvk doctor", &DOCTOR)
}

fn boots(who: Who) -> Case {
    Case {
        code: 7,
        stderr: "told",
        ..Case::printing(who, SAVES, BOOT, &["kvm\ntyped"])
    }
}

/// Returns a case in which a resumed VM runs.
fn resumes(who: Who, what: impl Into<String>, script: impl Into<String>) -> Case {
    Case::printing(who, what, script, &["running"])
}
