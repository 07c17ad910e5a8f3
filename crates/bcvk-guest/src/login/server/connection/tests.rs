//! Messages that no client sends.

use super::*;
use crate::login::server::fuzzing;

/// Runs `test` with a connection whose client has opened channel 1, a session.
fn with_connection(test: &impl AsyncFn(&mut Connection<'_, fuzzing::Gone>)) {
    fuzzing::with_connection(&async |connection| {
        let open = Message::new(CHANNEL_OPEN).bytes("session");
        let open = open.number(7).number(100).number(100).into_bytes();
        connection.receive(&open).await.expect("a channel");
        test(connection).await;
    });
}

fn request(name: &str) -> Message {
    let message = Message::new(CHANNEL_REQUEST).number(1);
    message.bytes(name).flag(true)
}

/// Returns messages of every kind that the connection knows, as a client sends them.
fn messages() -> Vec<Message> {
    let global = |name| Message::new(GLOBAL_REQUEST).bytes(name).flag(true);
    let open = |kind| {
        let message = Message::new(CHANNEL_OPEN).bytes(kind);
        message.number(8).number(1 << 20).number(1 << 15)
    };
    vec![
        global("tcpip-forward").bytes("localhost").number(0),
        global("cancel-tcpip-forward").bytes("localhost").number(1),
        global("streamlocal-forward@openssh.com").bytes("/nonexistent/socket"),
        global("cancel-streamlocal-forward@openssh.com").bytes("/nonexistent"),
        global("keepalive@openssh.com"),
        open("session"),
        open("direct-tcpip")
            .bytes("127.0.0.1")
            .number(1)
            .bytes("")
            .number(0),
        open("direct-streamlocal@openssh.com")
            .bytes("/nonexistent")
            .bytes("")
            .number(0),
        open("x11"),
        Message::new(CHANNEL_OPEN_CONFIRMATION)
            .number(1)
            .number(1)
            .number(1)
            .number(1),
        Message::new(CHANNEL_OPEN_FAILURE)
            .number(9)
            .number(1)
            .bytes("")
            .bytes(""),
        Message::new(CHANNEL_WINDOW_ADJUST)
            .number(1)
            .number(u32::MAX),
        Message::new(CHANNEL_DATA).number(1).bytes("data"),
        Message::new(CHANNEL_EXTENDED_DATA)
            .number(1)
            .number(1)
            .bytes("data"),
        Message::new(CHANNEL_EOF).number(1),
        request("pty-req")
            .bytes("xterm")
            .number(80)
            .number(24)
            .number(0)
            .number(0)
            .bytes([1, 0, 0, 0, 3, 0]),
        request("pty-req")
            .bytes("xterm")
            .number(80)
            .number(24)
            .number(0)
            .number(0)
            .bytes([53, 0]),
        request("window-change")
            .number(80)
            .number(1 << 20)
            .number(0)
            .number(0),
        request("env").bytes("LANG").bytes("C"),
        request("signal").bytes("TERM"),
        request("subsystem").bytes("sftp"),
        request("exec").bytes("true"),
        request("shell"),
        request("break").number(0),
        Message::new(CHANNEL_CLOSE).number(1),
        Message::new(REQUEST_SUCCESS),
        Message::new(200).bytes("unknown"),
    ]
}

#[test]
fn a_message_that_ends_too_early_is_an_error() {
    for message in messages() {
        let message = message.into_bytes();
        for length in 1..=message.len() {
            with_connection(&async |connection| {
                // A part of a message may be a message.
                let _ = connection.receive(&message[..length]).await;
            });
        }
    }
}

#[test]
fn clients_keep_within_what_is_theirs() {
    let window = Message::new(CHANNEL_DATA).number(1);
    let window = window.bytes(vec![0; crate::login::server::channel::WINDOW as usize]);
    let more = Message::new(CHANNEL_DATA).number(1).bytes("x");
    let elsewhere = Message::new(CHANNEL_DATA).number(2).bytes("x");
    let wider = Message::new(CHANNEL_WINDOW_ADJUST)
        .number(1)
        .number(u32::MAX);
    let unasked = Message::new(CHANNEL_OPEN_CONFIRMATION).number(1);
    let unasked = unasked.number(1).number(1).number(1);
    let [window, more, elsewhere, wider, unasked] =
        [window, more, elsewhere, wider, unasked].map(Message::into_bytes);
    with_connection(&async |connection| {
        connection.receive(&window).await.expect("all that fits");
        for message in [&more, &elsewhere, &wider, &unasked] {
            assert!(connection.receive(message).await.is_err(), "{message:?}");
        }
    });
}
