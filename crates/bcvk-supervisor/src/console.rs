//! The guest's serial console, which is kept, shown, and watched for the kernel's last words.

use std::io::{self, IsTerminal, Read, Write};
use std::mem::{Discriminant, discriminant};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bcvk_contract::status::printable;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::Event;
use crate::ports::{Out, Outs};
use crate::tail::Tail;
use crate::threads;

/// Pause between two looks at the console. QEMU writes an emulated serial port byte by byte. Read one
/// by one, each byte would wake the supervisor and podman's log writer, on processors that the guest
/// needs. Nobody types so fast as to notice the pause.
const PAUSE: Duration = Duration::from_millis(5);

/// Most chunks of output that wait to be written. A chunk has 64 KiB at most.
const WAITING_CHUNKS: usize = 64;

/// Longest line that is examined; the rest of a longer one counts as a line of its own.
const MAX_LINE_BYTES: usize = 1024;

/// Something on the console that the supervisor acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sign {
    /// The first byte has come: the kernel runs.
    FirstByte,
    /// The kernel has panicked; the line says why.
    Panic(String),
    /// systemd gave up and offers a shell.
    Emergency,
}

/// The console and the threads that read it and pass it on.
#[derive(Debug)]
pub(super) struct Console {
    /// The console's last lines.
    pub(super) tail: Tail,
    threads: [JoinHandle<()>; 2],
}

impl Console {
    /// Waits until all that QEMU wrote has been passed on. The caller must make sure that QEMU has ended.
    pub(super) fn drain(self) {
        for thread in self.threads {
            // A panic of that thread has been reported there.
            let _ = thread.join();
        }
    }
}

/// Reads QEMU's end of the console until QEMU closes it, and writes the output to `outs` too.
///
/// Another thread writes, since a terminal takes its time: a guest waits for its serial port for no more than
/// 10 ms (`wait_for_xmitr` in Linux' drivers/tty/serial/8250/8250_port.c) and then writes over what QEMU could
/// not pass on.
pub(super) fn follow(mut console: UnixStream, outs: Vec<Out>, events: Sender<Event>) -> Console {
    let tail = Tail::default();
    let lines = tail.clone();
    let (chunks, waiting) = sync_channel::<Vec<u8>>(WAITING_CHUNKS);
    let writer = threads::spawn(move || {
        let mut outs = Outs::open(outs);
        for chunk in waiting {
            outs.write(&chunk);
        }
    });
    let reader = threads::spawn(move || {
        let mut scanner = Scanner::default();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = match console.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            // Without a writer, the console is still watched.
            let _ = chunks.send(buffer[..n].to_vec());
            for sign in scanner.feed(&buffer[..n], &lines) {
                if events.send(Event::Console(sign)).is_err() {
                    return;
                }
            }
            thread::sleep(PAUSE);
        }
    });
    Console {
        tail,
        threads: [reader, writer],
    }
}

/// Passes the container's standard input to the guest's console.
pub(super) fn feed_stdin(mut console: UnixStream) {
    if let Err(error) = pass_keys_on() {
        tracing::warn!(%error, "the terminal cannot be handed to the guest");
    }
    threads::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = [0; 1024];
        while let Ok(n) = stdin.read(&mut buffer) {
            if n == 0 || console.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
    });
}

/// Passes keys on as they are typed. The guest has a terminal of its own on the console. The
/// container's terminal, if it has one, must neither echo what is typed a second time nor turn Ctrl-C
/// into a signal for QEMU.
fn pass_keys_on() -> io::Result<()> {
    let terminal = io::stdin();
    if terminal.is_terminal() {
        let mut modes = tcgetattr(&terminal)?;
        modes.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &modes)?;
    }
    Ok(())
}

/// Splits the stream into lines and finds signs in them. Each sign counts once: a guest can repeat a
/// sign faster than the supervisor handles it, and the supervisor's queue has no bound.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    line: Vec<u8>,
    seen: Vec<Discriminant<Sign>>,
}

impl Scanner {
    pub(super) fn feed(&mut self, bytes: &[u8], tail: &Tail) -> Vec<Sign> {
        let mut signs = Vec::new();
        if !bytes.is_empty() {
            self.add(Sign::FirstByte, &mut signs);
        }
        for &byte in bytes {
            if byte == b'\n' || self.line.len() == MAX_LINE_BYTES {
                let line = String::from_utf8_lossy(&self.line).into_owned();
                tail.push(&line);
                if let Some(sign) = sign(&line) {
                    self.add(sign, &mut signs);
                }
                self.line.clear();
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        signs
    }

    fn add(&mut self, sign: Sign, signs: &mut Vec<Sign>) {
        let kind = discriminant(&sign);
        if !self.seen.contains(&kind) {
            self.seen.push(kind);
            signs.push(sign);
        }
    }
}

/// Lines that systemd, sulogin and dracut print when the boot ends in emergency mode. The control
/// port says more, but only where the initramfs has the port's driver.
const EMERGENCY: [&str; 3] = [
    "[  OK  ] Reached target emergency.target",
    "You are in emergency mode",
    "Entering emergency mode",
];

fn sign(line: &str) -> Option<Sign> {
    let text = printable(line);
    let text = text.trim_start();
    if EMERGENCY.iter().any(|words| text.starts_with(words)) {
        return Some(Sign::Emergency);
    }
    panic_message(text).map(Sign::Panic)
}

/// Returns the kernel's last words if it panicked (Linux, kernel/panic.c), with or without a time
/// stamp before them.
fn panic_message(text: &str) -> Option<String> {
    let text = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((time, rest))
            if time
                .chars()
                .all(|c| c.is_ascii_digit() || c == '.' || c == ' ') =>
        {
            rest.trim_start()
        }
        _ => text,
    };
    text.strip_prefix("Kernel panic - not syncing: ")
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emergency_mode_is_seen_through_colours() {
        let line = "[\u{1b}[0;32m  OK  \u{1b}[0m] Reached target \u{1b}[0;1;39memergency.target\u{1b}[0m - Emergency Mode.\r";
        assert_eq!(sign(line), Some(Sign::Emergency));
        assert_eq!(sign("echo You are in emergency mode"), None);
    }

    #[test]
    fn a_panic_is_known_by_the_kernels_own_line_only() {
        for (line, message) in [
            (
                "[    2.718281] Kernel panic - not syncing: VFS: Unable to mount root fs",
                Some("VFS: Unable to mount root fs"),
            ),
            (
                "Kernel panic - not syncing: Attempted to kill init!\r",
                Some("Attempted to kill init!"),
            ),
            ("user: Kernel panic - not syncing: a quotation", None),
            ("[unit] Kernel panic - not syncing: not a time stamp", None),
        ] {
            assert_eq!(
                sign(line),
                message.map(|m| Sign::Panic(m.to_owned())),
                "{line}"
            );
        }
    }

    #[test]
    fn a_guest_that_repeats_itself_does_not_fill_the_queue() {
        let tail = Tail::default();
        let mut scanner = Scanner::default();
        let storm = "You are in emergency mode\nKernel panic - not syncing: x\n".repeat(1000);
        let signs = scanner.feed(storm.as_bytes(), &tail);
        let panic = Sign::Panic("x".to_owned());
        assert_eq!(signs, [Sign::FirstByte, Sign::Emergency, panic]);
        assert_eq!(scanner.feed(storm.as_bytes(), &tail), []);
    }

    #[test]
    fn lines_are_found_across_reads_and_long_ones_are_cut() {
        let tail = Tail::default();
        let mut scanner = Scanner::default();
        assert_eq!(scanner.feed(b"one\ntw", &tail), [Sign::FirstByte]);
        assert_eq!(scanner.feed(b"o\n\n", &tail), []);
        scanner.feed(&[b'x'; 3000], &tail);
        let lines = tail.lines();
        assert_eq!(lines[..2], ["one", "two"]);
        assert_eq!(lines[2].len(), MAX_LINE_BYTES);
    }
}
