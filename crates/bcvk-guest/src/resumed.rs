//! The first words with a guest that may have been resumed, and what it gets before its system makes use of
//! them: the time, and randomness that no other guest of the same snapshot has. A guest that is taken back to
//! a checkpoint gets the same.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use rustix::time::{ClockId, Timespec, clock_settime};
use serde::{Deserialize, Serialize};

/// First message of the host, to hear whether anybody is there.
pub const HELLO: &str = "hello";
/// Answer of the agent to it.
pub const HERE: &str = "here";

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
