//! Lives that end in another way than their users want.

use super::*;

/// QEMU stops such a guest: nobody would hear of it, and it would not power off.
#[test]
fn a_guest_whose_host_is_full_ends_at_once() {
    let full = || LifeEvent::HostFull {
        disk: "disk bcvk-var".to_owned(),
    };
    let fail = "fail: the host has no space left for what the guest writes to disk bcvk-var";
    booted(
        Purpose::Login,
        vec![
            (1.0, full(), &format!("{fail} (Qemu); kill")),
            (0.0, qemu(false, true), "exit 125"),
        ],
    );
    booted(
        Purpose::Login,
        vec![
            (1.0, LifeEvent::Banner, "phase ready"),
            (1.0, full(), &format!("{fail} (Ready); kill")),
            (0.0, qemu(false, true), "exit 125"),
        ],
    );
    // It has ended in good order.
    booted(
        Purpose::Login,
        vec![
            (1.0, LifeEvent::Banner, "phase ready"),
            (1.0, off(), ""),
            (0.0, full(), ""),
            (0.0, qemu(true, false), "exit 0"),
        ],
    );
}

#[test]
fn a_guest_that_does_not_power_off_was_killed() {
    let not_in_time = "warn: the guest was killed: it did not power off within 25 s; exit 137";
    booted(
        Purpose::Login,
        vec![
            (1.0, LifeEvent::Banner, "phase ready"),
            (1.0, LifeEvent::Stop, "phase stopping; press"),
            (25.0, LifeEvent::Tick, "kill"),
            (0.0, qemu(false, true), not_in_time),
        ],
    );
    // It was just in time.
    booted(
        Purpose::Login,
        vec![
            (1.0, LifeEvent::Stop, "phase stopping; press"),
            (25.0, LifeEvent::Tick, "kill"),
            (0.0, qemu(true, false), "exit 0"),
        ],
    );
    // A process that cannot be killed.
    booted(
        Purpose::Login,
        vec![
            (1.0, LifeEvent::Stop, "phase stopping; press"),
            (25.0, LifeEvent::Tick, "kill"),
            (5.0, LifeEvent::Tick, not_in_time),
        ],
    );
    booted(
        Purpose::Login,
        vec![
            (1.0, LifeEvent::Stop, "phase stopping; press"),
            (5.0, LifeEvent::NotPressed("timed out".to_owned()), ""),
            (0.2, LifeEvent::Tick, "kill"),
            (0.0, LifeEvent::Pressed, ""),
            (
                0.0,
                qemu(false, true),
                "warn: the guest was killed: its power button could not be pressed: timed out; \
                 exit 137",
            ),
        ],
    );
    // It could not answer because it ended.
    booted(
        Purpose::Login,
        vec![
            (1.0, LifeEvent::Stop, "phase stopping; press"),
            (5.0, LifeEvent::NotPressed("closed".to_owned()), ""),
            (
                0.0,
                qemu(false, true),
                "fail: QEMU ended unexpectedly: it ended (Stopping); exit 125",
            ),
        ],
    );
    booted(
        Purpose::Login,
        vec![
            (1.0, LifeEvent::CliGone, "kill"),
            (0.0, qemu(false, true), "exit 137"),
        ],
    );
}

#[test]
fn a_guest_that_gives_up_is_a_failure_of_the_guest() {
    booted(
        Purpose::Login,
        vec![
            (
                0.0,
                panics(),
                "fail: the guest's kernel panicked (Qemu); kill",
            ),
            (0.0, qemu(false, true), "exit 126"),
        ],
    );
    booted(
        Purpose::Login,
        vec![
            (0.0, LifeEvent::Banner, "phase ready"),
            (
                0.0,
                panics(),
                "fail: the guest's kernel panicked (Ready); kill",
            ),
            (0.0, qemu(false, true), "exit 1"),
        ],
    );
    booted(
        Purpose::Login,
        vec![
            (0.0, unit(), ""),
            (1.0, LifeEvent::Console(Sign::Emergency), ""),
            (
                4.0,
                says(Message::Reported),
                "fail: the guest's boot ended in emergency mode (Qemu); kill",
            ),
        ],
    );
    booted(
        Purpose::Login,
        vec![
            (0.0, LifeEvent::Console(Sign::Emergency), ""),
            (
                5.0,
                LifeEvent::Tick,
                "fail: the guest's boot ended in emergency mode (Qemu); kill",
            ),
        ],
    );
    // A service that comes up after all.
    booted(
        Purpose::Login,
        vec![
            (0.0, unit(), ""),
            (19.0, LifeEvent::Banner, "phase ready"),
            (9.0, LifeEvent::Tick, ""),
        ],
    );
    booted(
        Purpose::Login,
        vec![
            (0.0, says(Message::Up), ""),
            (
                90.0,
                LifeEvent::Tick,
                "fail: the guest is up, but its sshd does not answer (Qemu); kill",
            ),
        ],
    );
    booted(
        Purpose::Boot,
        vec![
            (0.0, LifeEvent::GuestEnded(GuestEnd::Reboot), ""),
            (
                0.0,
                qemu(true, false),
                "fail: the guest rebooted before it was ready (Qemu); exit 126",
            ),
        ],
    );
}

/// Words of the guest's after a failure of the host's follow from that; and a file server's end
/// follows from QEMU's.
#[test]
fn the_earliest_cause_is_told() {
    let server =
        "fail: the file server of the image ended while the VM was running: killed (Qemu); kill";
    for (seconds, event) in [
        (0.2, LifeEvent::Tick),
        (0.1, panics()),
        (0.1, says(Message::GaveUp("no".to_owned()))),
    ] {
        booted(
            Purpose::Login,
            vec![
                (0.0, unit(), ""),
                (0.0, server_ends(), ""),
                (seconds, event, server),
                (0.0, qemu(false, true), "exit 125"),
            ],
        );
    }
    // So does the end of another file server.
    booted(
        Purpose::Login,
        vec![
            (0.0, server_ends(), ""),
            (0.1, server_ends(), ""),
            (0.1, LifeEvent::Tick, server),
        ],
    );
    let qemu_ends = "fail: QEMU ended unexpectedly: it ended (Qemu); exit 125";
    booted(
        Purpose::Login,
        vec![
            (0.0, server_ends(), ""),
            (0.1, qemu(false, true), qemu_ends),
        ],
    );
    booted(
        Purpose::Login,
        vec![
            (0.0, LifeEvent::GuestEnded(GuestEnd::Signal), ""),
            (0.0, qemu(true, false), qemu_ends),
        ],
    );
    // Neither is the order to stop a reason for what QEMU does.
    booted(
        Purpose::Login,
        vec![
            (0.0, LifeEvent::Stop, "phase stopping; press"),
            (
                0.0,
                qemu(false, true),
                "fail: QEMU ended unexpectedly: it ended (Stopping); exit 125",
            ),
        ],
    );
}

#[test]
fn a_qemu_without_user_networking_is_told_from_one_that_crashes() {
    for words in [
        "qemu-kvm: -netdev user,id=net: network backend 'user' is not compiled into this binary",
        "qemu: -netdev user,id=net: Parameter 'type' expects a netdev backend type (maybe it is not \
         compiled into this binary)",
    ] {
        let end = LifeEvent::QemuEnded(QemuEnd {
            success: false,
            killed: false,
            how: vec![words.to_owned()],
        });
        let fails = format!(
            "fail: QEMU was built without user networking (libslirp): {words} (Qemu); exit 125"
        );
        booted(Purpose::Login, vec![(0.0, end, &fails)]);
    }
}

#[test]
fn qemu_does_not_outlive_its_guest_for_long() {
    booted(
        Purpose::Login,
        vec![
            (0.0, LifeEvent::Banner, "phase ready"),
            (0.0, LifeEvent::GuestEnded(GuestEnd::Reboot), ""),
            (
                25.0,
                LifeEvent::Tick,
                "warn: the guest rebooted, which ends an ephemeral VM; kill",
            ),
            (
                0.0,
                qemu(false, true),
                "warn: QEMU was killed: it did not end after its guest had; exit 137",
            ),
        ],
    );
}

#[test]
fn commands_that_end_while_their_vm_is_killed_have_ended() {
    let killed = "warn: the guest was killed: it did not power off within 25 s";
    for (purpose, ready, executed, code) in [
        (Purpose::Execute, says(Message::Up), "executed 5", 5),
        (Purpose::Login, LifeEvent::Banner, "", 137),
    ] {
        booted(
            purpose,
            vec![
                (1.0, ready, "phase ready"),
                (1.0, LifeEvent::Stop, "phase stopping; press"),
                (25.0, LifeEvent::Tick, "kill"),
                (0.0, says(Message::Executed(5)), executed),
                (0.0, says(Message::Executed(6)), ""),
                (0.0, qemu(false, true), &format!("{killed}; exit {code}")),
            ],
        );
    }
}

/// News comes from several places, and an order to stop at any time.
#[test]
fn a_guest_that_ends_already_needs_no_power_button() {
    booted(
        Purpose::Login,
        vec![
            (1.0, LifeEvent::Banner, "phase ready"),
            (1.0, off(), ""),
            (0.0, LifeEvent::Stop, ""),
            (0.0, qemu(true, false), "exit 0"),
        ],
    );
    booted(
        Purpose::Execute,
        vec![
            (1.0, says(Message::Up), "phase ready"),
            (1.0, off(), ""),
            (0.0, says(Message::Executed(7)), "executed 7"),
            (0.0, qemu(true, false), "exit 7"),
        ],
    );
}

/// Units that check something and power off are a normal use of a VM that belongs to no command.
#[test]
fn a_guest_that_powers_off_in_good_order_has_not_failed() {
    let by_itself = "warn: the guest powered off by itself before it was ready; exit 0";
    let fails = "fail: the guest powered off before it was ready (Qemu); exit 126";
    for (purpose, lifetime, end) in [
        (Purpose::Login, Lifetime::Detached, by_itself),
        (Purpose::Boot, Lifetime::Detached, by_itself),
        (Purpose::Execute, Lifetime::Detached, fails),
        (Purpose::Login, Lifetime::Cli, fails),
        (Purpose::Execute, Lifetime::Cli, fails),
    ] {
        booted_for(
            purpose,
            lifetime,
            vec![(1.0, off(), ""), (0.1, qemu(true, false), end)],
        );
    }
    let detached = |rows| booted_for(Purpose::Login, Lifetime::Detached, rows);
    // A unit that failed is for the unit's author to report, and emergency mode is no good order.
    detached(vec![
        (1.0, unit(), ""),
        (0.1, off(), ""),
        (0.1, qemu(true, false), by_itself),
    ]);
    detached(vec![
        (1.0, LifeEvent::Console(Sign::Emergency), ""),
        (0.1, off(), ""),
        (0.1, qemu(true, false), fails),
    ]);
    detached(vec![
        (1.0, LifeEvent::GuestEnded(GuestEnd::Reboot), ""),
        (
            0.1,
            qemu(true, false),
            "fail: the guest rebooted before it was ready (Qemu); exit 126",
        ),
    ]);
    // Somebody asked for it.
    detached(vec![
        (1.0, LifeEvent::Stop, "phase stopping; press"),
        (0.1, off(), ""),
        (0.1, qemu(true, false), "exit 0"),
    ]);
}
