//! The user who is about to log in, as the host tells it before the SSH protocol begins.

use std::io;
use std::time::Duration;

use bcvk_contract::session_user::{FIRST_BYTE, MAX_LINE, parse};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use tokio::time::timeout;

/// Time in which a client speaks: OpenSSH's does at once. One that waits for the server comes without
/// bcvk's own proxy.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads the name of the user from the beginning of a stream; `None` if nobody tells it.
///
/// # Errors
/// If the stream breaks, or the line has no end.
pub(super) async fn announced(
    client: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<Option<String>> {
    let begins = match timeout(PATIENCE, client.fill_buf()).await {
        Ok(bytes) => bytes?.first().copied(),
        Err(_) => None,
    };
    if begins != Some(FIRST_BYTE) {
        return Ok(None);
    }
    let mut line = Vec::new();
    client.take(MAX_LINE).read_until(b'\n', &mut line).await?;
    let line = String::from_utf8(line).map_err(io::Error::other)?;
    let name = parse(&line).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use bcvk_contract::session_user::line;
    use tokio::io::{AsyncWriteExt, BufReader, duplex};

    use super::*;

    /// Returns the name that a stream of these pieces begins with, and what follows.
    async fn read(pieces: &[&str]) -> io::Result<(Option<String>, String)> {
        let (mut host, guest) = duplex(1000);
        let pieces: Vec<_> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        let writes = async move {
            for piece in pieces {
                host.write_all(piece.as_bytes()).await.expect("written");
                tokio::task::yield_now().await;
            }
        };
        let mut guest = BufReader::new(guest);
        let reads = async {
            let name = announced(&mut guest).await?;
            let mut rest = String::new();
            guest.read_to_string(&mut rest).await?;
            Ok((name, rest))
        };
        tokio::join!(writes, reads).1
    }

    #[tokio::test]
    async fn a_name_comes_before_the_protocol() {
        let ada = line("ada");
        let read_ada = read(&[&ada, "SSH-2.0-x\r\n"]).await.expect("read");
        assert_eq!(read_ada, (Some("ada".to_owned()), "SSH-2.0-x\r\n".into()));
        let pieces = read(&["us", "er a", "da\nSSH"]).await.expect("read");
        assert_eq!(pieces, (Some("ada".to_owned()), "SSH".into()));
        let silent = read(&["SSH-2.0-x\r\n"]).await.expect("read");
        assert_eq!(silent, (None, "SSH-2.0-x\r\n".into()));
        assert_eq!(read(&[]).await.expect("read"), (None, String::new()));
        let long = "u".repeat(400);
        for wrong in ["user ada", "usher ada\n", &long] {
            assert!(read(&[wrong]).await.is_err(), "{wrong}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_waits_for_the_server_is_not_kept_waiting() {
        let (_host, guest) = duplex(100);
        let name = announced(&mut BufReader::new(guest)).await.expect("read");
        assert_eq!(name, None);
    }
}
