//! Tests of the monitor with QEMUs that do as they are told.

use std::sync::mpsc::channel;
use std::thread;

use super::*;

use bcvk_contract::spec::SnapshotStage;

const SHORT: Duration = Duration::from_millis(200);

/// The commands of a QEMU that is played by a test: reads them, and answers by the test's words.
struct Fake {
    lines: io::Lines<BufReader<UnixStream>>,
    socket: UnixStream,
}

impl Fake {
    /// A monitor that has been greeted, and the one that it talks to.
    fn pair() -> (Monitor, Fake) {
        let (ours, qemus) = UnixStream::pair().expect("a pair");
        let (events, _) = channel();
        let monitor = Monitor::follow(&ours, events).expect("a monitor");
        let lines = BufReader::new(qemus.try_clone().expect("a clone")).lines();
        let mut fake = Fake {
            lines,
            socket: qemus,
        };
        let version = json!({ "qemu": { "major": 8, "minor": 2, "micro": 0 }, "package": "" });
        fake.say(&json!({ "QMP": { "version": version, "capabilities": [] } }));
        assert_eq!(fake.read()["execute"], "qmp_capabilities");
        fake.say(&json!({ "return": {} }));
        monitor.await_greeting(ANSWER).expect("a greeting");
        (monitor, fake)
    }

    fn read(&mut self) -> Any {
        let line = self.lines.next().expect("a line").expect("read");
        serde_json::from_str(&line).expect("JSON")
    }

    fn say(&mut self, value: &Any) {
        writeln!(self.socket, "{value}").expect("written");
    }
}

/// Asks a fake QEMU something while `answer` plays it; returns both, to go on.
fn ask(
    monitor: &Monitor,
    mut fake: Fake,
    answer: impl FnOnce(&mut Fake, u64) + Send + 'static,
) -> (io::Result<Any>, Fake) {
    let played = thread::spawn(move || {
        let id = fake.read()["id"].as_u64().expect("a number");
        answer(&mut fake, id);
        fake
    });
    let answer = monitor.ask_within(SHORT, "query-status", &json!({}));
    (answer, played.join().expect("no panic"))
}

#[test]
fn a_command_gets_its_own_answer_and_no_other() {
    let (monitor, fake) = Fake::pair();
    let (answer, fake) = ask(&monitor, fake, |fake, id| {
        fake.say(&json!({ "return": "another's", "id": id + 7 }));
        fake.say(&json!({ "return": "nobody's" }));
        fake.say(&json!({ "return": "this", "id": id }));
    });
    assert_eq!(answer.expect("an answer"), "this");

    let (answer, fake) = ask(&monitor, fake, |_, _| {});
    let error = answer.expect_err("no answer");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);

    let (answer, fake) = ask(&monitor, fake, |fake, id| {
        fake.say(&json!({ "return": "late", "id": id - 1 }));
        fake.say(&json!({
            "error": { "class": "GenericError", "desc": "no such thing" },
            "id": id,
        }));
    });
    let error = answer.expect_err("an error");
    assert!(error.to_string().contains("no such thing"), "{error}");
    drop(fake);
}

#[test]
fn a_migration_ends_with_its_event() {
    let (monitor, mut fake) = Fake::pair();
    let say = |fake: &mut Fake, status: &str| {
        fake.say(&json!({
            "event": "MIGRATION",
            "data": { "status": status },
            "timestamp": { "seconds": 1, "microseconds": 0 },
        }));
    };
    let answer = |fake: &mut Fake, command: &str, with: Any| {
        let asked = fake.read();
        assert_eq!(asked["execute"], command);
        fake.say(&json!({ "return": with, "id": asked["id"] }));
    };
    let played = thread::spawn(move || {
        // The end of one that nobody has waited for any longer.
        say(&mut fake, "failed");
        answer(&mut fake, "migrate-set-capabilities", json!({}));
        let asked = fake.read();
        say(&mut fake, "active");
        say(&mut fake, "completed");
        fake.say(&json!({ "return": {}, "id": asked["id"] }));

        answer(&mut fake, "stop", json!({}));
        answer(&mut fake, "migrate-set-capabilities", json!({}));
        answer(&mut fake, "migrate", json!({}));
        say(&mut fake, "failed");
        answer(
            &mut fake,
            "query-migrate",
            json!({ "error-desc": "disk full" }),
        );

        answer(&mut fake, "migrate-set-capabilities", json!({}));
        answer(&mut fake, "migrate-incoming", json!({}));
    });
    monitor.restore().expect("completed");
    let error = monitor.save(SnapshotStage::Ready).expect_err("failed");
    assert_eq!(error.to_string(), "disk full");
    let error = monitor.restore().expect_err("QEMU has gone");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    played.join().expect("no panic");
}

#[test]
fn nobody_waits_for_a_qemu_that_has_gone() {
    let (monitor, fake) = Fake::pair();
    let begun = Instant::now();
    let played = thread::spawn(move || {
        let mut fake = fake;
        fake.read();
    });
    let error = monitor.ask("stop", &json!({})).expect_err("no answer");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    played.join().expect("no panic");
    let error = monitor.ask("stop", &json!({})).expect_err("no answer");
    let gone = [io::ErrorKind::ConnectionAborted, io::ErrorKind::BrokenPipe];
    assert!(gone.contains(&error.kind()), "{error}");

    let (ours, qemus) = UnixStream::pair().expect("a pair");
    let (events, _) = channel();
    let monitor = Monitor::follow(&ours, events).expect("a monitor");
    let error = monitor.ask("stop", &json!({})).expect_err("no greeting");
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    drop(qemus);
    let error = monitor.await_greeting(ANSWER).expect_err("none comes");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    assert!(begun.elapsed() < ANSWER);
}

#[test]
fn only_an_accepted_connection_to_the_port_counts() {
    let table = |state: &str| {
        format!(
            "Hub -1 (net):\r\n  \
             Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
             TCP[{state}]   24       127.0.0.1  2222       10.0.2.15    22     0     0\r\n  \
             TCP[HOST_FORWARD]  12       127.0.0.1  2222       10.0.2.15    22     0     0\r\n"
        )
    };
    assert!(has_established(&table("ESTABLISHED"), 22));
    assert!(!has_established(&table("SYN_SENT"), 22));
    assert!(!has_established(&table("ESTABLISHED"), 2222));
    assert!(!has_established("", 22));
}

/// Asks a fake QEMU for a job, which it ends with this `error`, before or after it answers.
fn job(ends_first: bool, error: Option<&str>) -> io::Result<()> {
    let (monitor, mut fake) = Fake::pair();
    let error = error.map(str::to_owned);
    let played = thread::spawn(move || {
        let asked = fake.read();
        assert_eq!(asked["execute"], "snapshot-save");
        let job = asked["arguments"]["job-id"].clone();
        let ended = json!({
            "event": "JOB_STATUS_CHANGE",
            "data": { "id": job, "status": "concluded" },
            "timestamp": { "seconds": 1, "microseconds": 0 },
        });
        let answer = json!({ "return": {}, "id": asked["id"] });
        let both = [ended, answer];
        let mut said: Vec<&Any> = both.iter().collect();
        if !ends_first {
            said.reverse();
        }
        for line in said {
            fake.say(line);
        }
        let asked = fake.read();
        assert_eq!(asked["execute"], "query-jobs");
        let mut job = json!({ "id": job, "type": "snapshot-save", "status": "concluded" });
        if let Some(error) = error {
            job["error"] = json!(error);
        }
        fake.say(&json!({ "return": [job], "id": asked["id"] }));
        let asked = fake.read();
        assert_eq!(asked["execute"], "job-dismiss");
        fake.say(&json!({ "return": {}, "id": asked["id"] }));
    });
    let saved = monitor.save_state("tag");
    played.join().expect("no panic");
    saved
}

#[test]
fn a_job_has_ended_when_qemu_says_so_and_may_have_failed() {
    for ends_first in [true, false] {
        job(ends_first, None).expect("saved");
        let error = job(ends_first, Some("no space")).expect_err("failed");
        assert_eq!(error.to_string(), "no space");
    }
}
