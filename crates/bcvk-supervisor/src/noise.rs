//! Noise for every parser of a guest's output. The noise is the same in every run, so that a mistake
//! that it finds is found again.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;

use bcvk_contract::status::{PrintableStream, steers};
use serde_json::json;

use crate::console::Scanner;
use crate::control;
use crate::journal::JournalText;
use crate::tail::Tail;
use crate::{Event, console};
use bcvk_contract::control::Message;

/// Number of streams that are tried.
const STREAMS: u64 = 300;

/// Number of pieces in each stream.
const PIECES: u32 = 200;

/// Words that noise alone would hardly hit upon.
const WORDS: [&[u8]; 22] = [
    b"failed ",
    b"executed ",
    b"executed 255\n",
    b"99999999999999999999",
    b"ready\nup\ninitrd\nuserspace\nreported\n",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\x1b[",
    b"\x1b]0;owned\x07",
    b"\x1b]8;;",
    b"\x1bP",
    b"\x1b",
    b"\xc2\x9b31m",
    b"\x9b31m",
    b"\xe2\x80\xae",
    b"\xe2\x80",
    b"\xff\xfe",
    b"[    1.000000] Kernel panic - not syncing: ",
    b"You are in emergency mode",
    b"{\"__MONOTONIC_TIMESTAMP\":\"1\",\"MESSAGE\":\"\\u001b[2J\\u202e\\u009b",
];

/// xorshift64 (Marsaglia 2003): nothing here needs a better generator.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("it is below a usize")
    }

    fn bytes(&mut self, limit: usize) -> Vec<u8> {
        let length = self.below(limit);
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn piece(&mut self) -> Vec<u8> {
        match self.below(8) {
            0 => self.bytes(64),
            1 => vec![b"x[{\"\0\xff"[self.below(6)]; self.below(6000)],
            2 => {
                let text = String::from_utf8_lossy(&self.bytes(40)).into_owned();
                let messages = [json!(text), json!(self.bytes(40))];
                let entry = json!({
                    "__MONOTONIC_TIMESTAMP": self.next().to_string(),
                    "SYSLOG_IDENTIFIER": text,
                    "_PID": text,
                    "MESSAGE": messages[self.below(2)],
                });
                format!("{entry}\n").into_bytes()
            }
            _ => WORDS[self.below(WORDS.len())].to_vec(),
        }
    }
}

fn assert_harmless(text: &str, stream: u64) {
    let found = text.chars().find(|c| steers(*c) && *c != '\n');
    assert_eq!(found, None, "stream {stream}");
}

#[test]
fn whatever_a_guest_says_is_survived_and_harmless() {
    let mut entries = 0;
    for stream in 1..=STREAMS {
        let mut noise = Noise(stream);
        let tail = Tail::default();
        let mut scanner = Scanner::default();
        let mut signs = Vec::new();
        let mut journal = Vec::new();
        let mut text = JournalText::new(&mut journal);
        let mut shown = PrintableStream::default();
        let (ours, mut port) = UnixStream::pair().expect("a pair");
        let (sender, events) = channel();
        control::follow(ours, drop, sender);
        for _ in 0..PIECES {
            let piece = noise.piece();
            signs.extend(scanner.feed(&piece, &tail));
            text.write_all(&piece).expect("a vector takes all");
            assert_harmless(&shown.feed(&piece), stream);
            port.write_all(&piece).expect("the port is read");
        }
        drop(port);

        assert!(signs.len() <= 3, "{signs:?}");
        for sign in signs {
            if let console::Sign::Panic(message) = sign {
                assert_harmless(&message, stream);
            }
        }
        for line in tail.lines() {
            assert_harmless(&line, stream);
            assert!(line.chars().count() <= 1024);
        }
        let journal = String::from_utf8(journal).expect("text");
        assert_harmless(&journal, stream);
        entries += journal.lines().count();
        let heard: Vec<Event> = events.iter().collect();
        assert!(heard.len() <= control::MAX_FAILED + 5);
        for event in heard {
            if let Event::Control(Message::Failed(unit)) = event {
                assert_harmless(&unit, stream);
            }
        }
    }
    assert!(entries > 100, "the noise has too few entries: {entries}");
}
