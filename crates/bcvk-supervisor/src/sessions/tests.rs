//! Sessions with guests that a test plays.

use std::io::{Read, Write};
use std::thread;

use super::*;
use bcvk_contract::untrusted;

/// A guest whose sessions return what they are sent, in capitals.
fn guest(port: UnixStream) {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    thread::spawn(move || {
        runtime.block_on(async {
            port.set_nonblocking(true).expect("set");
            let mut port = net::UnixStream::from_std(port).expect("a stream");
            while let Ok(mut link) = login::answer(&mut port, || {}).await {
                while let Some(Ok(session)) = poll_fn(|cx| link.poll_next_inbound(cx)).await {
                    tokio::spawn(async move {
                        let mut session = session.compat();
                        let mut wish = [0; login::SSH.len()];
                        session.read_exact(&mut wish).await.expect("a wish");
                        if &wish != login::SSH {
                            return;
                        }
                        let mut buffer = vec![0; 1 << 16];
                        while let Ok(n @ 1..) = session.read(&mut buffer).await {
                            buffer[..n].make_ascii_uppercase();
                            if session.write_all(&buffer[..n]).await.is_err() {
                                return;
                            }
                        }
                        let _ = session.shutdown().await;
                    });
                }
            }
        });
    });
}

fn answered(client: &mut UnixStream, text: &str) -> String {
    client.write_all(text.as_bytes()).expect("write");
    let mut heard = vec![0; text.len()];
    client.read_exact(&mut heard).expect("read");
    String::from_utf8(heard).expect("text")
}

fn connected() -> (tempfile::TempDir, Sessions, impl Fn() -> UnixStream) {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("ssh.sock");
    let (ours, guests) = UnixStream::pair().expect("a pair");
    let sessions = Sessions::serve(&socket, ours).expect("served");
    let mode = std::fs::metadata(&socket).expect("there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600, "only its owner may connect");
    guest(guests);
    let connect = move || untrusted::connect_to(&socket).expect("connected");
    (dir, sessions, connect)
}

#[test]
fn a_client_waits_for_the_guest() {
    let (_dir, sessions, connect) = connected();
    let mut client = connect();
    client.write_all(b"early ").expect("write");
    sessions.begin();
    assert_eq!(answered(&mut client, "late"), "EARL");
    client.shutdown(std::net::Shutdown::Write).expect("closed");
    let mut rest = String::new();
    client.read_to_string(&mut rest).expect("the end");
    assert_eq!(rest, "Y LATE");
}

#[test]
fn a_guest_that_starts_again_takes_new_sessions_and_ends_the_old() {
    let (_dir, sessions, connect) = connected();
    sessions.begin();
    let mut old = connect();
    assert_eq!(answered(&mut old, "hello"), "HELLO");
    for _ in 0..3 {
        sessions.begin();
        assert_eq!(old.read(&mut [0]).expect("its end"), 0);
        old = connect();
        assert_eq!(answered(&mut old, "again"), "AGAIN");
    }
}

#[test]
fn a_quiet_guest_takes_sessions_again_after_that() {
    let (_dir, sessions, connect) = connected();
    sessions.begin();
    let mut old = connect();
    assert_eq!(answered(&mut old, "hello"), "HELLO");
    sessions.quieten().expect("quiet");
    assert_eq!(old.read(&mut [0]).expect("its end"), 0);
    let mut waits = connect();
    waits.write_all(b"wait").expect("write");
    waits
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("set");
    assert!(waits.read(&mut [0]).is_err(), "it is held back");
    waits.set_read_timeout(None).expect("set");
    sessions.go_on(None).expect("on");
    assert_eq!(answered(&mut waits, "more"), "WAIT");
    // It had begun the conversation that it was taken back to, or a later one.
    sessions.drop_all().expect("dropped");
    sessions.go_on(None).expect("on");
    assert_eq!(answered(&mut connect(), "again"), "AGAIN");
}

/// This guest knows nothing of news.
#[test]
fn a_guest_that_does_not_take_its_news_is_known() {
    let (_dir, sessions, connect) = connected();
    sessions.begin();
    assert_eq!(answered(&mut connect(), "hello"), "HELLO");
    sessions.drop_all().expect("dropped");
    let error = sessions.go_on(Some(Renewal::new(1, &[0; 64])));
    let error = error.expect_err("not taken");
    assert!(error.to_string().contains("news"), "{error}");
}

#[test]
fn a_guest_is_asked_to_power_off_once_it_listens() {
    let dir = tempfile::tempdir().expect("a directory");
    let (ours, guests) = UnixStream::pair().expect("a pair");
    let sessions = Sessions::serve(&dir.path().join("ssh.sock"), ours).expect("served");
    sessions.power_off();
    sessions.begin();
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        guests.set_nonblocking(true).expect("set");
        let mut port = net::UnixStream::from_std(guests).expect("a stream");
        let mut link = login::answer(&mut port, || {}).await.expect("a link");
        let stream = poll_fn(|cx| link.poll_next_inbound(cx)).await;
        let mut stream = stream.expect("a stream").expect("no error").compat();
        let read = async {
            let mut wish = [0; login::POWER_OFF.len()];
            stream.read_exact(&mut wish).await.expect("a wish");
            wish
        };
        let link = poll_fn(|cx| link.poll_next_inbound(cx));
        tokio::select! {
            wish = read => assert_eq!(&wish, login::POWER_OFF),
            _ = link => panic!("the link has ended"),
        }
    });
}

#[test]
fn forty_sessions_at_once_carry_what_they_are_given() {
    let (_dir, sessions, connect) = connected();
    sessions.begin();
    let all: Vec<_> = (0..40)
        .map(|n: u8| {
            let mut client = connect();
            thread::spawn(move || {
                let letters = b'a'..=b'z';
                let text: Vec<u8> = letters.cycle().skip(n.into()).take(1_000_000).collect();
                let mut sender = client.try_clone().expect("a clone");
                let sent = text.clone();
                let writes = thread::spawn(move || {
                    sender.write_all(&sent).expect("written");
                    sender.shutdown(std::net::Shutdown::Write).expect("closed");
                });
                let mut heard = Vec::new();
                client.read_to_end(&mut heard).expect("read");
                writes.join().expect("no panic");
                assert!(heard == text.to_ascii_uppercase());
            })
        })
        .collect();
    for session in all {
        session.join().expect("no panic");
    }
}

#[test]
fn what_a_guest_says_out_of_turn_costs_it_its_sessions_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("ssh.sock");
    let (ours, mut guests) = UnixStream::pair().expect("a pair");
    let sessions = Sessions::serve(&socket, ours).expect("served");
    sessions.begin();
    let again = guests.try_clone().expect("a clone");
    guests.write_all(&vec![0xff; 100_000]).expect("written");
    guest(again);
    let mut client = untrusted::connect_to(&socket).expect("connected");
    assert_eq!(answered(&mut client, "hello"), "HELLO");
}
