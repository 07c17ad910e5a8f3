//! Fuzzing of the monitor protocol. See [`crate::fuzzing`].

#![allow(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{channel, sync_channel};

use qapi::qmp;

use super::{ANSWERS, Event, Recipients, greet, lacks_space};

/// Reads everything that a QEMU says, from its greeting on.
pub fn qmp(data: &[u8]) {
    let mut qemu = BufReader::with_capacity(7, data);
    let mut commands = Vec::new();
    let greeted = greet(&mut qemu, &mut commands);
    // Nothing is asked of a QEMU that has not greeted.
    assert!(greeted.is_err() || !commands.is_empty());
    let lines = commands.split_inclusive(|byte| *byte == b'\n');
    assert!(lines.count() <= 1);

    let (answer_sender, answers) = sync_channel(ANSWERS);
    let (migration_sender, migrated) = sync_channel(1);
    let (job_sender, jobs) = sync_channel(1);
    let (event_sender, events) = channel();
    let recipients = Recipients {
        last: Arc::new(AtomicU64::new(1)),
        answers: answer_sender,
        migrated: migration_sender,
        jobs: job_sender,
        events: event_sender,
    };
    // A QEMU that has not greeted is not read any further; its bytes are tried here all the same.
    recipients.pass_on(qemu);
    drop(recipients);
    assert!(answers.iter().all(|(number, _)| number == 1));
    assert!(migrated.iter().count() <= 1 && jobs.iter().count() <= 1);
    let events: Vec<Event> = events.iter().collect();
    assert!(
        events.len() <= 2,
        "the guest is stopped once and ends once: {events:?}"
    );
    for event in events {
        let Event::Qmp(event) = event else {
            panic!("not QEMU's: {event:?}");
        };
        assert!(
            matches!(*event, qmp::Event::SHUTDOWN { .. }) || lacks_space(&event),
            "{event:?}"
        );
    }
}
