//! Lives of VMs that are saved before they mount their image, or resumed there.

use super::*;

fn twice(rows: Vec<Row<'_>>) {
    let begin = [
        (0.0, LifeEvent::Looked(Looked::Fit), "prepare boot"),
        (0.0, LifeEvent::Prepared, "start boot"),
        (
            0.1,
            LifeEvent::Started { saves: TWICE },
            "phase qemu; give up rights",
        ),
        (1.0, LifeEvent::Console(Sign::FirstByte), "phase kernel"),
    ];
    let rows = begin.into_iter().chain(rows).collect();
    expect(Purpose::Login, Some(&Snapshot::Save), "look", rows);
}

fn both(otherwise: Otherwise) -> Snapshot {
    let Snapshot::Resume(later) = resume(SnapshotImage::Other, otherwise) else {
        unreachable!("it is resumed")
    };
    Snapshot::Resume(Resume {
        earlier: Some(Earlier {
            files: later.files,
            of: SnapshotImage::Other,
        }),
        ..later
    })
}

fn differs(what: &str) -> LifeEvent {
    LifeEvent::Looked(Looked::Differs(what.to_owned()))
}

#[test]
fn a_guest_is_saved_twice() {
    twice(vec![
        (1.0, says(Message::Unmounted), "save early"),
        (1.0, LifeEvent::Saved, "let go on"),
        // It says so once.
        (0.0, says(Message::Unmounted), ""),
        (1.0, says(Message::Initrd), "phase initrd"),
        (1.0, LifeEvent::Banner, "save"),
        (1.0, LifeEvent::Saved, "personalize"),
        (0.5, LifeEvent::Personalized, "phase ready"),
        (0.0, says(Message::Unmounted), ""),
    ]);
}

#[test]
fn a_guest_that_cannot_be_saved_early_goes_on() {
    let cold = "cold: no snapshot could be made";
    for (seconds, event, expected) in [
        (
            1.0,
            LifeEvent::NotSaved("full".to_owned()),
            format!("{cold}: full; let go on"),
        ),
        (
            120.0,
            LifeEvent::Tick,
            format!("abandon saving early; {cold}: it takes more than 120 s; let go on"),
        ),
    ] {
        twice(vec![
            (1.0, says(Message::Unmounted), "save early"),
            (seconds, event, &expected),
            (1.0, LifeEvent::Banner, "save"),
        ]);
    }
}

/// Whatever is in its archive, nobody wants to save it.
#[test]
fn a_guest_that_is_not_saved_early_goes_on_at_once() {
    saved(
        Purpose::Login,
        vec![
            (1.0, says(Message::Unmounted), "let go on"),
            (0.0, says(Message::Unmounted), ""),
            (1.0, LifeEvent::Banner, "save"),
        ],
    );
}

#[test]
fn a_stop_is_heard_while_a_guest_is_saved_early() {
    for (event, expected) in [
        (LifeEvent::Stop, "phase stopping; kill"),
        (LifeEvent::CliGone, "kill"),
    ] {
        twice(vec![
            (1.0, says(Message::Unmounted), "save early"),
            (0.0, event, expected),
            (0.0, LifeEvent::Saved, ""),
            (0.0, qemu(false, true), "exit 137"),
        ]);
    }
}

#[test]
fn a_vm_whose_system_differs_is_resumed_early_and_saved_when_it_is_up() {
    expect(
        Purpose::Login,
        Some(&both(Otherwise::Save)),
        "look",
        vec![
            (
                0.1,
                differs("a.service is new"),
                "differs: a.service is new; try another; look",
            ),
            (0.1, LifeEvent::Looked(Looked::Fit), "prepare resume"),
            (0.1, LifeEvent::Prepared, "start resume"),
            (0.1, LifeEvent::Started { saves: LATE }, ""),
            (
                0.5,
                LifeEvent::Resumed,
                "phase qemu; resumed early; give up rights; let go on",
            ),
            (0.0, LifeEvent::NotResumed("late".to_owned()), ""),
            (1.0, says(Message::Initrd), "phase initrd"),
            (1.0, LifeEvent::Banner, "save"),
            (1.0, LifeEvent::Saved, "personalize"),
            (0.5, LifeEvent::Known, "phase reachable"),
            (0.5, LifeEvent::Personalized, "phase ready"),
        ],
    );
}

#[test]
fn a_vm_whose_kernel_differs_boots() {
    for (otherwise, expected) in [
        (
            Otherwise::Save,
            "differs: vmlinuz; save instead; prepare boot",
        ),
        (
            Otherwise::Boot,
            "differs: vmlinuz; drop snapshot; prepare boot",
        ),
    ] {
        expect(
            Purpose::Login,
            Some(&both(otherwise)),
            "look",
            vec![
                (
                    0.1,
                    differs("a.service"),
                    "differs: a.service; try another; look",
                ),
                (0.1, differs("vmlinuz"), expected),
            ],
        );
    }
}

#[test]
fn a_vm_that_cannot_be_resumed_early_boots() {
    let start = || {
        vec![
            (0.1, differs("a"), "differs: a; try another; look"),
            (0.1, LifeEvent::Looked(Looked::Fit), "prepare resume"),
            (0.1, LifeEvent::Prepared, "start resume"),
            (0.1, LifeEvent::Started { saves: LATE }, ""),
        ]
    };
    let mut rows = start();
    rows.extend([
        (
            0.1,
            LifeEvent::NotResumed("its agent does not answer".to_owned()),
            "cold: its agent does not answer; clear",
        ),
        (0.1, LifeEvent::Cleared, "prepare boot"),
        (0.1, LifeEvent::Prepared, "start boot"),
        (
            0.1,
            LifeEvent::Started { saves: TWICE },
            "phase qemu; give up rights",
        ),
        (1.0, says(Message::Unmounted), "save early"),
    ]);
    expect(Purpose::Login, Some(&both(Otherwise::Save)), "look", rows);
    let mut rows = start();
    rows.extend([
        (0.1, LifeEvent::Stop, "phase stopping; clear"),
        (0.1, LifeEvent::Cleared, "exit 137"),
    ]);
    expect(Purpose::Login, Some(&both(Otherwise::Save)), "look", rows);
}

/// Its system starts as in any boot, and may fail in the same way.
#[test]
fn a_guest_that_was_resumed_early_can_fail() {
    let Snapshot::Resume(later) = resume(SnapshotImage::Same, Otherwise::Boot) else {
        unreachable!("it is resumed")
    };
    let early = Snapshot::Resume(Resume {
        stage: SnapshotStage::Early,
        ..later
    });
    expect(
        Purpose::Login,
        Some(&early),
        "look",
        vec![
            (0.0, LifeEvent::Looked(Looked::Fit), "prepare resume"),
            (0.0, LifeEvent::Prepared, "start resume"),
            (0.1, LifeEvent::Started { saves: NEVER }, ""),
            (
                0.5,
                LifeEvent::Resumed,
                "phase qemu; resumed early; give up rights; let go on",
            ),
            (
                0.1,
                says(Message::GaveUp("no image".to_owned())),
                "fail: the guest cannot make the image its root (Qemu); kill",
            ),
        ],
    );
}
