//! The first words with a guest that may have been resumed, and what it gets before its system makes use of
//! them: the time, and randomness that no other guest of the same snapshot has. A guest that is taken back to
//! a checkpoint gets the same.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::thread;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use rustix::time::{ClockId, Timespec, clock_settime};
use serde::{Deserialize, Serialize};

/// First message of the host, to hear whether anybody is there.
pub const HELLO: &str = "hello";
/// Answer of the agent to it.
pub const HERE: &str = "here";

/// Pause between two looks whether the host has opened its end of a port.
const PAUSE: Duration = Duration::from_millis(2);

/// Answers the host until it says more than [`HELLO`], and returns that line without its end.
pub(crate) fn await_order(port: &File) -> io::Result<String> {
    let mut words = BufReader::new(port);
    let mut line = String::new();
    loop {
        line.clear();
        if words.read_line(&mut line)? == 0 {
            // Nobody has opened the other end yet.
            thread::sleep(PAUSE);
            continue;
        }
        match line.trim_end() {
            HELLO => writeln!(&*port, "{HERE}")?,
            order => return Ok(order.to_owned()),
        }
    }
}

/// The time and randomness for a guest that was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// Nanoseconds since the Unix epoch.
    clock: u64,
    /// Random bytes in Base64, for the kernel.
    entropy: String,
}

impl Renewal {
    /// Gives the guest this time and these random bytes.
    #[must_use]
    pub fn new(clock: u64, entropy: &[u8; 64]) -> Self {
        Self {
            clock,
            entropy: Base64::encode_string(entropy),
        }
    }

    /// Takes what the host gives.
    pub(crate) fn take(&self) -> io::Result<()> {
        set_clock(self.clock)?;
        add_entropy(&self.entropy)
    }
}

/// Mixes random bytes of the host's into the kernel's (random(4)).
pub(crate) fn add_entropy(text: &str) -> io::Result<()> {
    let bytes = Base64::decode_vec(text).map_err(io::Error::other)?;
    OpenOptions::new()
        .write(true)
        .open("/dev/urandom")?
        .write_all(&bytes)
}

/// Sets the clock to this time, in nanoseconds since the Unix epoch.
pub(crate) fn set_clock(nanoseconds: u64) -> io::Result<()> {
    let time = Duration::from_nanos(nanoseconds);
    let time = Timespec::try_from(time).map_err(io::Error::other)?;
    Ok(clock_settime(ClockId::Realtime, time)?)
}
