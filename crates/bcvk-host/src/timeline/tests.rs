//! Tests of timelines from the answer of a guest with systemd 252.

use super::*;

const BOOKWORM: &str = include_str!("fixtures/bookworm.txt");

fn host() -> Host {
    let history = [
        (Phase::Preparing, 638_545_562),
        (Phase::Qemu, 641_606_625),
        (Phase::Kernel, 645_798_597),
        (Phase::Initrd, 719_231_291),
        (Phase::Userspace, 755_760_129),
        (Phase::Ready, 832_907_473),
    ];
    Host {
        command_line: Some(Timestamp(637_000_000)),
        planned: Some(Timestamp(637_400_000)),
        history: history
            .map(|(phase, at)| Event {
                phase,
                at: Timestamp(at),
            })
            .to_vec(),
        resumed: false,
        awaited: Awaited::Sshd,
        command: Some(("true".to_owned(), Timestamp(834_000_000))),
    }
}

const ASKED: Asked = Asked {
    sent: Timestamp(900_000_000),
    heard: Timestamp(907_000_000),
};

/// Writes a line for each step: place, name, start, end.
fn steps<'a>(spans: impl Iterator<Item = &'a Span>) -> String {
    spans
        .map(|span| {
            let [from, to] = [span.from, span.to]
                .map(|time| (time + 500) / 1000)
                .map(|time| format!("{}.{:03}", time / 1000, time % 1000));
            let starting = if span.starting { " …" } else { "" };
            format!("{:?} {} {from} {to}{starting}\n", span.place, span.name)
        })
        .collect()
}

#[test]
fn every_time_of_a_unit_is_read() {
    let answer = Answer::parse(BOOKWORM);
    assert_eq!(answer.uptime, 260_470_000);
    assert_eq!(answer.initrd, 8_272_568);
    assert_eq!(answer.userspace, 80_971_613);
    assert_eq!(answer.units_loaded, 105_174_144);
    assert_eq!(answer.finished, 186_664_975);
    assert_eq!(answer.units.len(), 108);
    let ssh = answer.unit("ssh.service").expect("ssh.service");
    assert_eq!((ssh.started, ssh.active), (179_163_066, 184_686_319));
    assert_eq!(ssh.done(), Some(184_686_319));
    let after: Vec<&str> = ssh.after.iter().map(|&u| &*answer.units[u].id).collect();
    assert!(after.contains(&"network.target"), "{after:?}");
    // This unit is a command, so it never was active.
    let told = answer.unit("bcvk-userspace.service").expect("the unit");
    assert_eq!(told.done(), Some(115_123_967));
}

#[test]
fn the_critical_path_leads_from_the_command_line_to_the_result() {
    let answer = Answer::parse(BOOKWORM);
    let timeline = Timeline::new(&host(), Some((&answer, ASKED))).expect("a boot");
    insta::assert_snapshot!(steps(timeline.critical()));
    assert_eq!((timeline.ready, timeline.end), (195_907_473, 197_000_000));
    assert!(timeline.path_known && !timeline.resumed);
    for span in &timeline.spans {
        assert!(span.from <= span.to && span.to <= timeline.end, "{span:?}");
    }
}

#[test]
fn without_an_initramfs_of_systemd_the_kernel_leads_to_the_system() {
    let answer = Answer {
        initrd: 0,
        ..Answer::parse(BOOKWORM)
    };
    let timeline = Timeline::new(&host(), Some((&answer, ASKED))).expect("a boot");
    let guest = timeline.spans.iter().filter(|s| s.place == Place::Guest);
    let names: Vec<&str> = guest.map(|span| &*span.name).collect();
    assert_eq!(names, ["kernel and initramfs", "systemd reads its units"]);
}

#[test]
fn a_vm_that_was_resumed_has_no_units() {
    let history = [
        (Phase::Preparing, 101),
        (Phase::Qemu, 102),
        (Phase::Ready, 103),
    ];
    let host = Host {
        command_line: None,
        planned: Some(Timestamp(100_000_000)),
        history: history
            .map(|(phase, second)| Event {
                phase,
                at: Timestamp(second * 1_000_000),
            })
            .to_vec(),
        resumed: true,
        command: None,
        ..host()
    };
    let timeline = Timeline::new(&host, None).expect("a boot");
    insta::assert_snapshot!(steps(timeline.spans.iter()), @r"
    Host podman starts the container 0.000 1.000
    Host QEMU resumes the guest 1.000 3.000
    ");
    assert_eq!(timeline.uncertainty, None);
}

#[test]
fn sshd_that_was_started_again_has_no_path() {
    let mut answer = Answer::parse(BOOKWORM);
    for unit in &mut answer.units {
        if unit.id == "ssh.service" {
            unit.started = 250_000_000;
            unit.active = 251_000_000;
        }
    }
    let timeline = Timeline::new(&host(), Some((&answer, ASKED))).expect("a boot");
    assert!(!timeline.path_known);
    let units = timeline.critical().filter(|s| s.place == Place::Unit);
    assert_eq!(units.count(), 0);
    assert!(timeline.spans.iter().all(|s| s.name != "ssh.service"));
}

#[test]
fn a_vm_that_was_never_ready_has_no_chart() {
    let mut never = host();
    never.history.pop();
    assert_eq!(Timeline::new(&never, None), None);
}

#[test]
fn what_a_guest_makes_up_does_no_harm() {
    for text in [
        "",
        "\n\n\n",
        "Id=\n\nId=a\u{1b}[31m.service\nInactiveExitTimestampMonotonic=18446744073709551615\n",
        "99999999999999999999.99 1\n\nUserspaceTimestampMonotonic=-1\n",
        "18446744073709.99 0.00\n\nUserspaceTimestampMonotonic=315532800000001\n",
    ] {
        fuzzing::timeline(text.as_bytes());
    }
    let answer = Answer::parse("Id=a\u{1b}[31m.service\nAfter=b a.service a.service\n");
    assert_eq!(answer.units[0].id, "a.service");
    assert_eq!(answer.units[0].after, [0, 0]);
    let long = format!("Id={}\n\nId=x\n", "é".repeat(200));
    assert_eq!(Answer::parse(&long).units.len(), 1);
}
