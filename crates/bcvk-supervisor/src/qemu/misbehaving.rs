//! Tests of the monitor with QEMUs that hang, end, or have been taken over by their guests.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use qapi::qmp;
use serde_json::json;

use super::monitor::{MAX_LINE, Monitor};
use crate::Event;

/// Limit for an answer.
const LIMIT: Duration = Duration::from_millis(300);

/// Time in which a question with that limit is over on a busy machine.
const OVER: Duration = Duration::from_secs(5);

const GREETING: &str = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n";
const RETURN: &str = "{\"return\": {}}\n";
const SHUTDOWN: &str = "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \
                        \"reason\": \"guest-shutdown\"}, \
                        \"timestamp\": {\"seconds\": 1, \"microseconds\": 1}}\n";

const MIGRATION: &str = "{\"event\": \"MIGRATION\", \"data\": {\"status\": \"STATUS\"}, \
                         \"timestamp\": {\"seconds\": 1, \"microseconds\": 1}}\n";

/// A QEMU of a test.
struct Peer {
    socket: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Peer {
    /// Returns false once nobody listens.
    fn say(&self, text: impl AsRef<[u8]>) -> bool {
        (&self.socket).write_all(text.as_ref()).is_ok()
    }

    /// Reads a command.
    fn hear(&mut self) -> bool {
        let mut line = String::new();
        matches!(self.lines.read_line(&mut line), Ok(1..))
    }

    fn greet(&mut self) {
        assert!(self.say(GREETING) && self.hear() && self.say(RETURN));
    }

    /// Waits until the monitor has closed the connection.
    fn await_end(mut self) {
        while self.hear() {}
    }
}

/// Follows a QEMU that does `play`.
fn follow(
    play: impl FnOnce(Peer) + Send + 'static,
) -> (Monitor, Receiver<Event>, thread::JoinHandle<()>) {
    let (ours, qemus) = UnixStream::pair().expect("a pair");
    let (sender, events) = channel();
    let monitor = Monitor::follow(&ours, sender).expect("a monitor");
    let lines = BufReader::new(qemus.try_clone().expect("a clone"));
    let peer = Peer {
        socket: qemus,
        lines,
    };
    (monitor, events, thread::spawn(move || play(peer)))
}

fn ask(monitor: &Monitor) -> io::Result<qapi::Any> {
    let begun = Instant::now();
    let answer = monitor.ask_within(LIMIT, "query-status", &json!({}));
    assert!(begun.elapsed() < OVER, "{answer:?}");
    answer
}

#[test]
fn a_greeting_that_is_none_is_not_waited_for() {
    type Play = fn(&mut Peer);
    let cases: [(&str, Play, io::ErrorKind); 6] = [
        ("none", |_| (), io::ErrorKind::TimedOut),
        (
            "no answer to the first command",
            |peer| assert!(peer.say(GREETING)),
            io::ErrorKind::TimedOut,
        ),
        (
            "garbage",
            |peer| assert!(peer.say(b"\xff\0\n")),
            io::ErrorKind::ConnectionAborted,
        ),
        (
            "a line without end",
            |peer| while peer.say([b' '; 4096]) {},
            io::ErrorKind::ConnectionAborted,
        ),
        (
            "half of it",
            |peer| {
                assert!(peer.say(&GREETING[..9]));
                let _ = peer.socket.shutdown(std::net::Shutdown::Both);
            },
            io::ErrorKind::ConnectionAborted,
        ),
        (
            "the end",
            |peer| {
                let _ = peer.socket.shutdown(std::net::Shutdown::Both);
            },
            io::ErrorKind::ConnectionAborted,
        ),
    ];
    for (what, play, expected) in cases {
        let (monitor, _events, _peer) = follow(move |mut peer| {
            play(&mut peer);
            peer.await_end();
        });
        let error = monitor.await_greeting(LIMIT).expect_err("no greeting");
        assert_eq!(error.kind(), expected, "{what}: {error}");
    }
}

#[test]
fn an_answer_that_is_none_does_not_count() {
    type Play = fn(&mut Peer);
    let cases: [(&str, Play, Result<(), io::ErrorKind>); 9] = [
        ("none", |_| (), Err(io::ErrorKind::TimedOut)),
        (
            "another's",
            |peer| assert!(peer.say("{\"return\": {}, \"id\": 2}\n")),
            Err(io::ErrorKind::TimedOut),
        ),
        (
            "one with a number that is none",
            |peer| assert!(peer.say("{\"return\": {}, \"id\": \"1\"}\n")),
            Err(io::ErrorKind::TimedOut),
        ),
        (
            "others' without end",
            |peer| while peer.say("{\"return\": {}, \"id\": 2}\n".repeat(100)) {},
            Err(io::ErrorKind::TimedOut),
        ),
        (
            "an error",
            |peer| {
                let error = "{\"class\": \"GenericError\", \"desc\": \"no\"}";
                assert!(peer.say(format!("{{\"error\": {error}, \"id\": 1}}\n")));
            },
            Err(io::ErrorKind::Other),
        ),
        (
            "a line without end",
            |peer| while peer.say([b' '; 4096]) {},
            Err(io::ErrorKind::ConnectionAborted),
        ),
        (
            "half of it",
            |peer| {
                assert!(peer.say("{\"return\": {}, \"id"));
                let _ = peer.socket.shutdown(std::net::Shutdown::Both);
            },
            Err(io::ErrorKind::ConnectionAborted),
        ),
        (
            "garbage before it",
            |peer| {
                for garbage in [
                    &b"\xff\xfe\n"[..],
                    b"\n",
                    b"[]\n",
                    b"{\"event\": \"NEW\"}\n",
                ] {
                    assert!(peer.say(garbage));
                }
                assert!(peer.say("{\"return\": {}, \"id\": 1}\n"));
            },
            Ok(()),
        ),
        (
            "many others' before it",
            |peer| {
                assert!(peer.say("{\"return\": {}, \"id\": 9}\n".repeat(10)));
                assert!(peer.say("{\"return\": {}, \"id\": 1}\n"));
            },
            Ok(()),
        ),
    ];
    for (what, play, expected) in cases {
        let (monitor, _events, _peer) = follow(move |mut peer| {
            peer.greet();
            assert!(peer.hear());
            play(&mut peer);
            peer.await_end();
        });
        monitor.await_greeting(OVER).expect("a greeting");
        let answer = ask(&monitor).map(drop);
        assert_eq!(answer.map_err(|error| error.kind()), expected, "{what}");
    }
}

#[test]
fn no_more_is_read_than_any_qemu_says() {
    const WHOLE: usize = 64 * MAX_LINE;
    let (monitor, _events, peer) = follow(|mut peer| {
        peer.greet();
        let said = (0..WHOLE)
            .step_by(4096)
            .take_while(|_| peer.say([b' '; 4096]));
        let said = said.count() * 4096;
        assert!(said < 4 * MAX_LINE, "{said} bytes without an end were read");
    });
    peer.join().expect("the rest is not read");
    let error = ask(&monitor).expect_err("it is closed");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
}

#[test]
fn late_answers_in_any_number_are_not_taken_for_the_next() {
    let (monitor, _events, _peer) = follow(|mut peer| {
        peer.greet();
        assert!(peer.hear());
        assert!(peer.hear());
        for id in [1].repeat(1000).into_iter().chain([2]) {
            assert!(peer.say(format!("{{\"return\": {id}, \"id\": {id}}}\n")));
            thread::yield_now();
        }
        peer.await_end();
    });
    monitor.await_greeting(OVER).expect("a greeting");
    let error = ask(&monitor).expect_err("too late");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(monitor.ask_within(OVER, "cont", &json!({})).expect("it"), 2);
}

#[test]
fn a_qemu_that_reads_nothing_hangs_nobody() {
    let (end, ended) = channel::<()>();
    let (monitor, _events, _peer) = follow(move |mut peer| {
        peer.greet();
        let _ = ended.recv();
    });
    monitor.await_greeting(OVER).expect("a greeting");
    // More than the socket takes.
    let long = json!({ "text": "x".repeat(16 * MAX_LINE) });
    let begun = Instant::now();
    let error = monitor
        .ask_within(LIMIT, "stop", &long)
        .expect_err("no answer");
    let late = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
    assert!(late.contains(&error.kind()), "{error}");
    assert!(begun.elapsed() < OVER);
    drop(end);
}

#[test]
fn a_guest_that_ends_without_end_ends_once() {
    let (monitor, events, peer) = follow(|mut peer| {
        peer.greet();
        let resets = "{\"event\": \"RESUME\", \"timestamp\": {\"seconds\": 1, \
                      \"microseconds\": 1}}\n";
        assert!(peer.say(resets.repeat(1000)));
        assert!(peer.say(SHUTDOWN.repeat(1000)));
    });
    peer.join().expect("said");
    // The events end with the connection.
    let heard: Vec<Event> = events.iter().collect();
    let [Event::Qmp(event)] = &heard[..] else {
        panic!("{} events", heard.len());
    };
    assert!(matches!(**event, qmp::Event::SHUTDOWN { .. }), "{event:?}");
    drop(monitor);
}

#[test]
fn a_host_without_space_is_told_of_once() {
    let (monitor, events, peer) = follow(|mut peer| {
        peer.greet();
        let error = |action: &str, nospace| {
            format!(
                "{{\"event\": \"BLOCK_IO_ERROR\", \"data\": {{\"device\": \"\", \
                 \"node-name\": \"disk2\", \"operation\": \"write\", \"action\": \"{action}\", \
                 \"nospace\": {nospace}, \"reason\": \"No space left on device\"}}, \
                 \"timestamp\": {{\"seconds\": 1, \"microseconds\": 1}}}}\n"
            )
        };
        assert!(peer.say(error("report", false)));
        assert!(peer.say(error("stop", true).repeat(1000)));
    });
    peer.join().expect("said");
    let heard: Vec<Event> = events.iter().collect();
    let [Event::Qmp(event)] = &heard[..] else {
        panic!("{} events", heard.len());
    };
    let qmp::Event::BLOCK_IO_ERROR { data, .. } = &**event else {
        panic!("{event:?}");
    };
    assert_eq!(data.node_name.as_deref(), Some("disk2"));
    drop(monitor);
}

#[test]
fn a_migration_that_fails_says_why() {
    let (monitor, _events, _peer) = follow(|mut peer| {
        peer.greet();
        let why = "{\"status\": \"failed\", \"error-desc\": \"another machine\"}";
        for (id, answer) in [(1, "{}"), (2, "{}"), (3, why)] {
            if id == 3 {
                for status in ["setup", "active", "failed", "completed"] {
                    assert!(peer.say(MIGRATION.replace("STATUS", status).repeat(100)));
                }
            }
            assert!(peer.hear());
            assert!(peer.say(format!("{{\"return\": {answer}, \"id\": {id}}}\n")));
        }
        peer.await_end();
    });
    monitor.await_greeting(OVER).expect("a greeting");
    let error = monitor.restore().expect_err("it has failed");
    assert_eq!(error.to_string(), "another machine");
}
