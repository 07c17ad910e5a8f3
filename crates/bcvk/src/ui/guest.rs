//! Output of a guest, on a standard stream.

use std::io::{self, IsTerminal, Write};

use bcvk_contract::status::PrintableStream;

/// Writer that passes a guest's output byte for byte to a program, and without control characters
/// to a terminal.
#[derive(Debug)]
pub(crate) struct GuestOutput<W> {
    out: W,
    filter: Option<PrintableStream>,
}

impl<W: Write + IsTerminal> GuestOutput<W> {
    pub(crate) fn to(out: W) -> Self {
        let filter = out.is_terminal();
        Self {
            out,
            filter: filter.then(PrintableStream::default),
        }
    }
}

impl<W: Write> Write for GuestOutput<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.filter {
            Some(filter) => self.out.write_all(filter.feed(bytes).as_bytes())?,
            None => self.out.write_all(bytes)?,
        }
        // A prompt is no whole line, and somebody may be waiting for it.
        self.out.flush()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
