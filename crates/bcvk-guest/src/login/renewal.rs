//! News for a guest that was taken back to an earlier state: the time, and randomness that it has not
//! had before.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::resumed::Renewal;

/// Answer of a guest that has taken the news.
pub const RENEWED: &[u8; 3] = b"ok\n";

/// Longest line that counts.
const MAX_LINE: u64 = 4096;

/// Returns the line that tells a guest this.
///
/// # Errors
/// Never, as far as JSON can hold numbers and text.
pub fn news(renewal: &Renewal) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(renewal)?;
    line.push(b'\n');
    Ok(line)
}

/// Takes the news and says so.
pub(super) async fn serve(host: &mut (impl AsyncBufRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let mut line = Vec::new();
    (&mut *host)
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)
        .await?;
    let renewal: Renewal = serde_json::from_slice(&line)?;
    renewal.take()?;
    host.write_all(RENEWED).await?;
    host.flush().await?;
    host.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_one_line() {
        let line = news(&Renewal::new(7, &[0xff; 64])).expect("a line");
        let end = line.iter().position(|byte| *byte == b'\n');
        assert_eq!(end, Some(line.len() - 1));
        assert!((line.len() as u64) < MAX_LINE);
        let renewal: Renewal = serde_json::from_slice(&line).expect("read");
        assert_eq!(renewal, Renewal::new(7, &[0xff; 64]));
    }
}
