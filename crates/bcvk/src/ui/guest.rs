//! What a guest wrote, on standard output.

use std::io::{self, IsTerminal, Write};

use bcvk_vm::status::PrintableStream;

/// Byte for byte for a program that reads it, and without control characters for a terminal.
#[derive(Debug)]
pub(crate) struct GuestOutput {
    filter: Option<PrintableStream>,
}

impl GuestOutput {
    pub(crate) fn new() -> Self {
        let filter = io::stdout().is_terminal();
        Self {
            filter: filter.then(PrintableStream::default),
        }
    }
}

impl Write for GuestOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = io::stdout().lock();
        match &mut self.filter {
            Some(filter) => out.write_all(filter.feed(bytes).as_bytes())?,
            None => out.write_all(bytes)?,
        }
        // A prompt is no whole line, and somebody may be waiting for it.
        out.flush()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
