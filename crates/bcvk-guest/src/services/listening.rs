//! Ports on which the system listens for others, of which the host is told.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bcvk_contract::control::Message;
use bcvk_contract::listening::{Listening, Port};
use bcvk_contract::spec::Protocol;
use bcvk_contract::user_net::UserNet;
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::port::tell;

/// Pause between two looks at the number of sockets, which costs a few microseconds.
const PAUSE: Duration = Duration::from_millis(500);

/// Longest time between two looks at the sockets themselves, which costs a thousand times that in an
/// emulated guest: one may have taken another's place.
const AT_LEAST: Duration = Duration::from_secs(10);

/// Difference between two clocks from which on the time was set, and does not only drift, in seconds.
const SET: i64 = 1;

/// Clients' own ports of DHCP and DHCPv6, which answer nobody.
const CLIENTS: [u16; 2] = [68, 546];

/// First port that clients get where they ask for none (Linux, Documentation/networking/ip-sysctl,
/// `ip_local_port_range`). A UDP socket does not say whether it is a client's.
const FIRST_OF_CLIENTS: u16 = 32_768;

/// Tells the host of the ports, whenever they change, and once more when the time was set: the guest may
/// have been resumed, and has another host then.
///
/// # Errors
/// If the kernel does not say what it listens on.
pub fn report_listening() -> io::Result<Infallible> {
    let net = Path::new("/proc/net");
    let mut told: Option<Listening> = None;
    let mut clock = clock();
    loop {
        let before = counts(net);
        let found = find(net)?;
        if told.as_ref() != Some(&found) {
            tell(&Message::Listening(found.clone()));
            told = Some(found);
        }
        let looked = Instant::now();
        loop {
            thread::sleep(PAUSE);
            let now = self::clock();
            if (now - clock).abs() > SET {
                told = None;
            }
            clock = now;
            if told.is_none() || counts(net) != before || looked.elapsed() > AT_LEAST {
                break;
            }
        }
    }
}

/// Returns the seconds by which the time of day is ahead of the time since the boot.
fn clock() -> i64 {
    let seconds = |id| -> i64 {
        let Timespec { tv_sec, .. } = clock_gettime(id);
        tv_sec
    };
    seconds(ClockId::Realtime) - seconds(ClockId::Boottime)
}

/// Returns the kernel's numbers of sockets; only whether they are the same matters.
fn counts(net: &Path) -> Vec<String> {
    let texts = ["sockstat", "sockstat6"].map(|name| fs::read_to_string(net.join(name)));
    let lines = texts.iter().flatten().flat_map(|text| text.lines());
    let counted = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let protocol = words.next()?;
        let relevant = protocol.starts_with("TCP") || protocol.starts_with("UDP");
        let in_use = words.nth(1)?;
        relevant.then(|| format!("{protocol}{in_use}"))
    };
    lines.filter_map(counted).collect()
}

/// Looks for the ports in the kernel's tables of sockets.
fn find(net: &Path) -> io::Result<Listening> {
    let mut ports = Vec::new();
    for (file, protocol) in [
        ("tcp", Protocol::Tcp),
        ("tcp6", Protocol::Tcp),
        ("udp", Protocol::Udp),
        ("udp6", Protocol::Udp),
    ] {
        match fs::read_to_string(net.join(file)) {
            Ok(table) => ports.extend(table.lines().filter_map(|line| listener(line, protocol))),
            // A kernel may have no IPv6.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(ports.into_iter().collect())
}

/// Returns the port of a line of such a table, if something listens on it for others: the second
/// column is the local address and port, the fourth the state (Linux, net/ipv4/tcp_ipv4.c,
/// `get_tcp4_sock`).
fn listener(line: &str, protocol: Protocol) -> Option<Port> {
    let mut columns = line.split_ascii_whitespace();
    let (address, port) = columns.nth(1)?.split_once(':')?;
    // TCP_LISTEN, and TCP_CLOSE of a UDP socket that is connected to nobody.
    let state = match protocol {
        Protocol::Tcp => "0A",
        Protocol::Udp => "07",
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    let client = protocol == Protocol::Udp && (CLIENTS.contains(&port) || port >= FIRST_OF_CLIENTS);
    let listens = columns.nth(1)? == state && !client && reached(address);
    listens.then_some((protocol, port))
}

/// Returns true if this local address takes what comes from QEMU's network: any address, or the
/// guest's there.
fn reached(address: &str) -> bool {
    /// Beginning of an IPv6 address that stands for one of IPv4.
    const MAPPED: &str = "0000000000000000FFFF0000";
    let any = address.bytes().all(|digit| digit == b'0');
    let v4 = address.strip_prefix(MAPPED).unwrap_or(address);
    let guest = |net: UserNet| format!("{:08X}", u32::from_ne_bytes(net.guest().octets()));
    any || UserNet::CHOICES.into_iter().any(|net| guest(net) == v4)
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0F02000A:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1
   3: 0F02000A:0016 0202000A:8C3E 01 00000000:00000000 00:00000000 00000000     0        0 4 1
   4: 0100580A:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5 1
";
    const TCP6: &str = "\
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0
   1: 00000000000000000000000001000000:0019 00000000000000000000000000000000:0000 0A 0:0 0:0
   2: 0000000000000000FFFF00000F4CA8C0:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0
";
    const UDP: &str = "\
   0: 00000000:0035 00000000:0000 07 0:0 0:0
   1: 0F02000A:0044 00000000:0000 07 0:0 0:0
   2: 00000000:9C40 00000000:0000 07 0:0 0:0
   3: 0F02000A:007B 0202000A:007B 01 0:0 0:0
";

    fn net(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            fs::write(dir.path().join(name), text).expect("written");
        }
        dir
    }

    #[test]
    fn what_listens_for_others_counts() {
        let all = net(&[("tcp", TCP), ("tcp6", TCP6), ("udp", UDP), ("udp6", "")]);
        let found = find(all.path()).expect("ports");
        assert_eq!(found.to_string(), "tcp/22 tcp/80 tcp/443 tcp/8080 udp/53");
        let without_ipv6 = net(&[("tcp", TCP), ("udp", "")]);
        let found = find(without_ipv6.path()).expect("ports");
        assert_eq!(found.to_string(), "tcp/80 tcp/443");
    }

    #[test]
    fn the_numbers_of_sockets_are_compared() {
        let text =
            "sockets: used 95\nTCP: inuse 3 orphan 0 tw 7 alloc 4 mem 0\nUDP: inuse 2 mem 0\n";
        let dir = net(&[("sockstat", text), ("sockstat6", "TCP6: inuse 1\n")]);
        assert_eq!(counts(dir.path()), ["TCP:3", "UDP:2", "TCP6:1"]);
        assert!(counts(Path::new("/nonexistent")).is_empty());
    }
}
