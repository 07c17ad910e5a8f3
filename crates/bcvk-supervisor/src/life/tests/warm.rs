//! Lives of VMs that are saved or resumed when they are up.

use super::*;

#[test]
fn a_guest_is_saved_and_becomes_its_vm() {
    saved(
        Purpose::Login,
        vec![
            // The keys that it serves sessions with are nobody's.
            (0.0, says(Message::Sessions), ""),
            (0.0, LifeEvent::Banner, "save"),
            (1.0, LifeEvent::Saved, "personalize"),
            (0.5, LifeEvent::Known, "phase reachable"),
            (0.5, LifeEvent::Personalized, "phase ready"),
        ],
    );
    saved(
        Purpose::Execute,
        vec![
            (0.0, says(Message::Up), "save"),
            (
                1.0,
                LifeEvent::NotSaved("full".to_owned()),
                "cold: no snapshot could be made: full; personalize",
            ),
            (0.1, says(Message::Executed(3)), ""),
            (
                0.1,
                LifeEvent::Personalized,
                "phase ready; executed 3; phase stopping; press",
            ),
        ],
    );
    saved(
        Purpose::Login,
        vec![
            (0.0, LifeEvent::Banner, "save"),
            (
                120.0,
                LifeEvent::Tick,
                "abandon saving; cold: no snapshot could be made: it takes more than 120 s; \
                 personalize",
            ),
            (0.0, LifeEvent::Saved, ""),
            (0.0, LifeEvent::NotPersonalized("no".to_owned()), ""),
            (
                0.2,
                LifeEvent::Tick,
                "fail: the guest did not take what it was given (Qemu); kill",
            ),
        ],
    );
}

#[test]
fn a_guest_that_does_not_become_its_vm_in_time_has_failed() {
    saved(
        Purpose::Login,
        vec![
            (0.0, LifeEvent::Banner, "save"),
            (1.0, LifeEvent::Saved, "personalize"),
            (119.0, LifeEvent::Tick, ""),
            (
                1.0,
                LifeEvent::Tick,
                "fail: the guest did not take what it was given (Qemu); kill",
            ),
        ],
    );
}

#[test]
fn a_stop_is_heard_while_a_guest_is_saved() {
    for (event, expected) in [
        (LifeEvent::Stop, "phase stopping; kill"),
        (LifeEvent::CliGone, "kill"),
    ] {
        saved(
            Purpose::Login,
            vec![
                (0.0, LifeEvent::Banner, "save"),
                (0.0, event, expected),
                (0.0, LifeEvent::NotSaved("gone".to_owned()), ""),
                (0.0, qemu(false, true), "exit 137"),
            ],
        );
    }
}

#[test]
fn a_vm_is_resumed() {
    resumed(
        true,
        vec![
            (0.1, LifeEvent::Console(Sign::FirstByte), ""),
            (0.5, LifeEvent::Known, "phase qemu; phase reachable"),
            (
                0.5,
                LifeEvent::Resumed,
                "resumed; give up rights; phase ready",
            ),
            (0.0, LifeEvent::NotResumed("late".to_owned()), ""),
            (1.0, LifeEvent::Stop, "phase stopping; press"),
        ],
    );
}

#[test]
fn a_vm_that_cannot_be_resumed_boots() {
    for (seconds, event, expected) in [
        (
            0.0,
            LifeEvent::NotResumed("damaged".to_owned()),
            "cold: damaged; clear",
        ),
        (0.0, qemu(false, true), "cold: QEMU ended: it ended; clear"),
        (
            0.0,
            server_ends(),
            "cold: the file server of the image ended: killed; clear",
        ),
        (
            0.0,
            panics(),
            "cold: the guest's kernel panicked: oops; clear",
        ),
        (
            180.0,
            LifeEvent::Tick,
            "cold: it takes more than 180 s; clear",
        ),
    ] {
        resumed(
            false,
            vec![
                (seconds, event, expected),
                (0.1, panics(), ""),
                (0.1, LifeEvent::Cleared, "prepare boot"),
                (0.1, LifeEvent::NotResumed("late".to_owned()), ""),
                (1.0, LifeEvent::Prepared, "start boot"),
                (
                    0.1,
                    LifeEvent::Started { saves: NEVER },
                    "phase qemu; give up rights",
                ),
                (1.0, LifeEvent::Resumed, ""),
                (9.0, LifeEvent::Banner, "personalize"),
                (9.0, LifeEvent::Personalized, "phase ready"),
            ],
        );
    }
    resumed(
        true,
        vec![
            (
                0.0,
                LifeEvent::NotResumed("no".to_owned()),
                "cold: no; clear",
            ),
            (1.0, LifeEvent::Stop, ""),
            (
                4.0,
                LifeEvent::Tick,
                "fail: the VM cannot be resumed from its snapshot (Preparing); exit 125",
            ),
        ],
    );
}

/// Others may log in to a guest that is resumed from it.
#[test]
fn a_guest_that_is_saved_for_commands_may_be_saved_at_its_sshds_banner() {
    saved(
        Purpose::Execute,
        vec![
            (0.0, LifeEvent::Banner, "save"),
            (0.0, says(Message::Up), ""),
        ],
    );
}

#[test]
fn a_snapshot_that_cannot_be_opened_is_given_up() {
    expect(
        Purpose::Login,
        Some(&resume(SnapshotImage::Same, Otherwise::Boot)),
        "look",
        vec![
            (0.0, LifeEvent::Looked(Looked::Fit), "prepare resume"),
            (
                1.0,
                LifeEvent::NotResumed("damaged".to_owned()),
                "cold: damaged; clear",
            ),
            (0.0, LifeEvent::Cleared, "prepare boot"),
        ],
    );
}

#[test]
fn commands_may_end_before_their_vm_is_known_to_be_resumed() {
    expect(
        Purpose::Execute,
        Some(&resume(SnapshotImage::Same, Otherwise::Boot)),
        "look",
        vec![
            (0.0, LifeEvent::Looked(Looked::Fit), "prepare resume"),
            (0.0, LifeEvent::Prepared, "start resume"),
            (0.1, LifeEvent::Started { saves: NEVER }, ""),
            (1.0, says(Message::Executed(3)), ""),
            (0.0, says(Message::Executed(4)), ""),
            (
                0.1,
                LifeEvent::Resumed,
                "phase qemu; resumed; give up rights; phase ready; executed 3; phase stopping; press",
            ),
        ],
    );
}

#[test]
fn a_stop_is_heard_while_a_vm_is_resumed() {
    for (event, expected) in [
        (LifeEvent::Stop, "phase stopping; clear"),
        (LifeEvent::CliGone, "clear"),
    ] {
        resumed(
            false,
            vec![
                (0.1, event, expected),
                (0.1, LifeEvent::Cleared, "exit 137"),
            ],
        );
    }
    // And while it is given up.
    resumed(
        false,
        vec![
            (
                0.1,
                LifeEvent::NotResumed("no".to_owned()),
                "cold: no; clear",
            ),
            (0.1, LifeEvent::Stop, "phase stopping"),
            (0.1, LifeEvent::Cleared, "exit 137"),
        ],
    );
}

#[test]
fn another_image_boots_if_its_boot_would_see_something_else() {
    let looked = || LifeEvent::Looked(Looked::Differs("/etc/app.conf is new".to_owned()));
    for (otherwise, expected) in [
        (
            Otherwise::Save,
            "differs: /etc/app.conf is new; save instead; prepare boot",
        ),
        (
            Otherwise::Boot,
            "differs: /etc/app.conf is new; drop snapshot; prepare boot",
        ),
        (
            Otherwise::Fail,
            "fail: the VM cannot be resumed from its snapshot (Preparing); exit 125",
        ),
    ] {
        expect(
            Purpose::Login,
            Some(&resume(SnapshotImage::Other, otherwise)),
            "look",
            vec![(1.0, looked(), expected)],
        );
    }
}

#[test]
fn a_boot_that_follows_a_failed_attempt_is_saved() {
    expect(
        Purpose::Login,
        Some(&resume(SnapshotImage::Other, Otherwise::Save)),
        "look",
        vec![
            (0.0, LifeEvent::Looked(Looked::Fit), "prepare resume"),
            (
                1.0,
                LifeEvent::NotResumed("damaged".to_owned()),
                "cold: damaged; clear",
            ),
            (0.0, LifeEvent::Cleared, "prepare boot"),
            (0.0, LifeEvent::Prepared, "start boot"),
            (
                0.1,
                LifeEvent::Started { saves: LATE },
                "phase qemu; give up rights",
            ),
            (9.0, LifeEvent::Banner, "save"),
        ],
    );
}
