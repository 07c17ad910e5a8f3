//! The socket at which the user's command line asks for checkpoints.
//!
//! Nobody but the user reaches it: the guest has no way to it, and neither QEMU nor a file server has
//! a root in which it is.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Sender, SyncSender, sync_channel};
use std::time::Duration;

use bcvk_contract::checkpoint::{Answer, Request, receive, send};

use crate::sessions::listen;
use crate::{Event, threads};

/// Time for a client to say what it wants: it does so at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) answer: SyncSender<Answer>,
}

impl Asked {
    /// Answers. A client that has gone does not hear it.
    pub(crate) fn answer(self, answer: Answer) {
        let _ = self.answer.try_send(answer);
    }
}

/// Takes requests at `socket` (mode 0600) for as long as the supervisor lives, one after the other.
///
/// # Errors
/// If the socket cannot be made.
pub(crate) fn serve(socket: &Path, events: Sender<Event>) -> io::Result<()> {
    let listener = listen(socket)?;
    threads::spawn(move || take(&listener, &events));
    Ok(())
}

fn take(listener: &UnixListener, events: &Sender<Event>) {
    for client in listener.incoming() {
        let Ok(client) = client else { return };
        if let Err(error) = serve_one(&client, events) {
            tracing::debug!(%error, "a request for a checkpoint");
        }
    }
}

fn serve_one(client: &UnixStream, events: &Sender<Event>) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let Some(request) = receive(client)? else {
        return Ok(());
    };
    let (answer, answered) = sync_channel(1);
    let ended = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    events
        .send(Event::Asked(Asked { request, answer }))
        .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
    send(client, &answered.recv().map_err(ended)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc::channel;
    use std::thread;

    use bcvk_contract::checkpoint::Refusal;
    use bcvk_contract::untrusted;

    use super::*;

    #[test]
    fn each_request_gets_its_answer_whatever_others_say() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("checkpoint.sock");
        let (sender, events) = channel();
        serve(&socket, sender).expect("served");
        let supervisor = thread::spawn(move || {
            let mut asked = 0;
            while let Ok(Event::Asked(next)) = events.recv() {
                asked += 1;
                next.answer(Answer::Refused(Refusal::NoSuch));
                if asked == 2 {
                    break;
                }
            }
        });
        let connect = || untrusted::connect_to(&socket).expect("connected");
        drop(connect());
        connect().write_all(b"{\"reset\":1}\n").expect("written");
        connect().write_all(&[b' '; 5000]).expect("written");
        for _ in 0..2 {
            let client = connect();
            send(&client, &Request::Reset { name: None }).expect("sent");
            let answer = receive::<Answer>(&client).expect("received");
            assert_eq!(answer, Some(Answer::Refused(Refusal::NoSuch)));
        }
        supervisor.join().expect("no panic");
        // Nobody answers for a VM that has ended.
        let client = connect();
        send(&client, &Request::Reset { name: None }).expect("sent");
        assert_eq!(receive::<Answer>(&client).expect("its end"), None);
    }
}
