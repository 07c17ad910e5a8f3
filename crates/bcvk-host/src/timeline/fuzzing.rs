//! Fuzzing of a guest's account of its boot, and of the chart that is made of it. See
//! [`crate::fuzzing`].

#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use bcvk_contract::status::{Event, Phase, Timestamp};

use super::{Answer, Asked, Awaited, Host, Timeline};

/// Draws a chart from systemd's times: every chart has an axis that its spans are within, and
/// nothing that steers a terminal.
pub fn timeline(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let answer = Answer::parse(&text);
    for unit in &answer.units {
        assert!(unit.after.iter().all(|&place| place < answer.units.len()));
    }
    let at = Timestamp;
    let history = [
        (Phase::Preparing, 2_000_000),
        (Phase::Qemu, 3_000_000),
        (Phase::Userspace, 9_000_000),
        (Phase::Ready, 20_000_000),
    ];
    let host = Host {
        command_line: Some(at(1_000_000)),
        planned: Some(at(1_500_000)),
        history: history
            .map(|(phase, time)| Event {
                phase,
                at: at(time),
            })
            .to_vec(),
        resumed: false,
        awaited: Awaited::Sshd,
        command: Some(("true".to_owned(), at(21_000_000))),
    };
    let asked = Asked {
        sent: at(20_500_000),
        heard: at(21_000_000),
    };
    let made = Timeline::new(&host, Some((&answer, asked))).expect("a VM that was ready");
    assert_eq!((made.ready, made.end), (19_000_000, 20_000_000));
    for span in &made.spans {
        assert!(span.from <= span.to && span.to <= made.end, "{span:?}");
        assert!(!span.name.contains(char::is_control), "{span:?}");
    }
}
