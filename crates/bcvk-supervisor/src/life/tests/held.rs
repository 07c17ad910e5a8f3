//! Lives of VMs that are saved as checkpoints and taken back to them.

use super::*;

/// The life of a VM that is ready, from when its user asks.
#[track_caller]
fn asked(rows: Vec<Row<'_>>) {
    let ready = [
        (1.0, LifeEvent::Banner, "phase ready"),
        (1.0, LifeEvent::Hold, "carry out"),
    ];
    booted(Purpose::Login, ready.into_iter().chain(rows).collect());
}

#[test]
fn a_ready_vm_is_held_once_at_a_time() {
    asked(vec![
        (0.1, LifeEvent::Hold, "decline"),
        (0.1, LifeEvent::LetGo, ""),
        (0.1, LifeEvent::Hold, "carry out"),
        (0.1, LifeEvent::LetGo, ""),
        (0.1, LifeEvent::Stop, "phase stopping; press"),
        (0.1, LifeEvent::Hold, "decline"),
    ]);
}

#[test]
fn a_vm_that_is_not_ready_is_not_held() {
    booted(
        Purpose::Login,
        vec![
            (1.0, LifeEvent::Hold, "decline"),
            (1.0, LifeEvent::Banner, "phase ready"),
            (1.0, LifeEvent::GuestEnded(GuestEnd::PowerOff), ""),
            (0.0, LifeEvent::Hold, "decline"),
        ],
    );
    let (mut life, _) = Life::begin(
        Purpose::Login,
        Reachable::Banner,
        Lifetime::Cli,
        Some(&Snapshot::Save),
    );
    assert_eq!(all(&life.on(LifeEvent::Hold, Instant::now())), "decline");
}

#[test]
fn a_held_guest_is_killed_as_it_does_not_hear_its_power_button() {
    asked(vec![
        (0.1, LifeEvent::Stop, "phase stopping; kill"),
        (0.1, LifeEvent::Hold, "decline"),
        (0.1, LifeEvent::LetGo, ""),
        (5.0, LifeEvent::Tick, "exit 137"),
    ]);
    asked(vec![(0.1, LifeEvent::CliGone, "kill")]);
}

#[test]
fn a_guest_that_is_lost_is_a_failure_unless_qemu_explains_it() {
    let lost = || LifeEvent::Lost("why".to_owned());
    asked(vec![
        (0.1, lost(), ""),
        (0.1, LifeEvent::Hold, "decline"),
        (
            0.2,
            LifeEvent::Tick,
            "fail: the VM was lost while it was saved or taken back (Ready); kill",
        ),
        (5.0, LifeEvent::Tick, "exit 125"),
    ]);
    // The guest had powered off before.
    asked(vec![
        (0.1, lost(), ""),
        (0.1, LifeEvent::GuestEnded(GuestEnd::PowerOff), ""),
        (
            0.1,
            LifeEvent::QemuEnded(QemuEnd {
                success: true,
                killed: false,
                how: Vec::new(),
            }),
            "exit 0",
        ),
    ]);
}

#[test]
fn a_guest_that_stands_still_for_ever_is_a_failure() {
    asked(vec![
        (299.0, LifeEvent::Tick, ""),
        (
            1.0,
            LifeEvent::Tick,
            "fail: the VM was lost while it was saved or taken back (Ready); kill",
        ),
    ]);
}
