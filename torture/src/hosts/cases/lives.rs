//! VMs and snapshots whose host changes: sessions that end, damage, a suspended host, its clock, its end.

use super::super::case::{Case, Event, Who};
use super::{NOTHING_LEFT, RESUME, RUN, RUNNING, resumes};

/// The VM ends with the last session of its user, ten seconds later (logind.conf(5), `UserStopDelaySec`).
const ENDED: &str = "rm /tmp/ran || exit
    for i in $(seq 60); do
    pgrep -u tester 'qemu-system|conmon|bcvk' >/dev/null || [ -e /run/user/1000 ] || exec echo ended
    sleep 1
    done; ps -u tester";

/// Each clock is read in the guest, between two looks at the host's. A second is lost where the host's
/// seconds begin.
const CLOCK: &str = "clock() {
    before=$(date +%s); now=$(bcvk -q ephemeral ssh vm date +%s); after=$(date +%s)
    [ $((before - 1)) -le \"$now\" ] && [ \"$now\" -le $((after + 1)) ] && echo right ||
        echo \"clock: $before $now $after\"
    }";

/// Returns the cases that need the user's snapshot.
pub(super) fn of_the_user() -> Vec<Case> {
    let resume = format!("{RESUME} IMAGE {RUNNING}");
    vec![
        Case::new(
            Who::Session,
            "run -d, and the last session ends",
            format!("{RUN} IMAGE >/dev/null && pgrep qemu-system && touch /tmp/ran"),
        ),
        Case::printing(
            Who::Root,
            "VMs end with their user's last session",
            ENDED,
            &["ended"],
        ),
        // podman's directory has gone with the last session.
        Case::refused(
            Who::Sudo,
            "run-ssh without a session is refused",
            resume.clone(),
            "loginctl enable-linger",
        ),
        resumes(Who::Session, "run-ssh resumes in a new session", resume),
    ]
}

/// Returns the cases that need root's snapshot, and at last a host that has been booted again.
pub(super) fn of_root() -> Vec<Case> {
    vec![
        Case::new(
            Who::Root,
            "run -d resumes",
            format!("{RUN} IMAGE >/dev/null"),
        ),
        Case {
            after: Some(Event::Suspend),
            ..Case::printing(
                Who::Root,
                "a VM goes on when the host has stood still: clock, ssh",
                format!("{CLOCK}; clock"),
                &["right"],
            )
        },
        clock_jumps(),
        Case::new(Who::Root, "nothing is left", NOTHING_LEFT),
        damage(),
        Case {
            after: Some(Event::Reboot),
            ..Case::refused(
                Who::Root,
                "no snapshot of before the host's reboot is used",
                format!("ls ~/.cache/bcvk/snapshots/*/*/meta.json && {RESUME} IMAGE {RUNNING}"),
                "there is no snapshot of this VM",
            )
        },
    ]
}

/// A VM that runs keeps its time; one that is resumed gets the host's.
fn clock_jumps() -> Case {
    let script = format!(
        "set -e
        {CLOCK}
        date --set '+2 hours' >/dev/null
        bcvk -q ephemeral ssh vm echo there
        bcvk -q ephemeral stop vm >/dev/null
        {RUN} IMAGE >/dev/null
        clock
        date --set '-2 hours' >/dev/null
        bcvk -q ephemeral ssh vm echo here
        bcvk -q ephemeral stop vm >/dev/null"
    );
    Case::printing(
        Who::Root,
        "the host's clock jumps: ssh, stop, a resumed VM's clock",
        script,
        &["there\nright\nhere"],
    )
}

/// A byte of the saved memory is another one.
fn damage() -> Case {
    let script = format!(
        "for memory in ~/.cache/bcvk/snapshots/*/*/sealed/memory; do
            printf x | dd of=\"$memory\" bs=1M seek=16 conv=notrunc status=none
        done
        {RESUME} IMAGE {RUNNING} || echo \"code $?\"
        bcvk -q ephemeral run-ssh --warm auto IMAGE {RUNNING} && {RESUME} IMAGE {RUNNING}"
    );
    Case {
        stderr: "its file memory is damaged",
        ..Case::printing(
            Who::Root,
            "a damaged snapshot is refused, made again and used",
            script,
            &["code 125\nrunning\nrunning"],
        )
    }
}
