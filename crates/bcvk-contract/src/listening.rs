//! Ports of a guest on which something listens for others.

use std::collections::BTreeSet;
use std::fmt;

use crate::spec::Protocol;

/// Most ports that count. A guest chooses them, and each costs its QEMU a socket.
pub const MAX_PORTS: usize = 64;

/// A port of one protocol.
pub type Port = (Protocol, u16);

/// A set of at most [`MAX_PORTS`] ports, the lowest ones. Its text is `tcp/22 tcp/80 udp/53`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listening(BTreeSet<Port>);

impl Listening {
    /// Parses the text; `None` if one of its words is no port.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let ports = text.split_ascii_whitespace().take(MAX_PORTS);
        let ports: Option<BTreeSet<Port>> = ports.map(port).collect();
        ports.map(Self)
    }

    /// The ports.
    #[must_use]
    pub const fn ports(&self) -> &BTreeSet<Port> {
        &self.0
    }
}

/// The lowest of the ports, each counted once.
impl FromIterator<Port> for Listening {
    fn from_iter<I: IntoIterator<Item = Port>>(ports: I) -> Self {
        let all: BTreeSet<Port> = ports.into_iter().collect();
        Self(all.into_iter().take(MAX_PORTS).collect())
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (protocol, port)) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{protocol}/{port}")?;
        }
        Ok(())
    }
}

/// Parses `tcp/80`. No port has the number 0.
fn port(word: &str) -> Option<Port> {
    let (protocol, number) = word.split_once('/')?;
    let number = number.parse().ok().filter(|number| *number != 0)?;
    Some((protocol.parse().ok()?, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_they_were_written() {
        for text in ["", "tcp/22", "tcp/22 tcp/80 udp/53"] {
            let read = Listening::parse(text).expect("ports");
            assert_eq!(read.to_string(), text);
        }
        let mixed = Listening::parse("udp/53  tcp/80 tcp/80").expect("ports");
        assert_eq!(mixed.to_string(), "tcp/80 udp/53");
        for wrong in [
            "80",
            "tcp/",
            "tcp/0",
            "tcp/65536",
            "tcp/-1",
            "sctp/1",
            "tcp/80/1",
        ] {
            assert_eq!(Listening::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_more_ports_count_than_there_may_be() {
        let all = || (1..=65_535).map(|port| (Protocol::Tcp, port));
        let listening: Listening = all().collect();
        assert_eq!(listening.ports().len(), MAX_PORTS);
        assert_eq!(listening.ports().last(), Some(&(Protocol::Tcp, 64)));
        let text: Vec<String> = all().map(|(_, port)| format!("tcp/{port}")).collect();
        let read = Listening::parse(&text.join(" ")).expect("ports");
        assert_eq!(read, listening);
    }
}
