//! Port of an image's SSH server.

use std::io;
use std::path::Path;

use super::sshd::Sshd;
use super::{names, units};
use crate::rooted::{Rooted, if_exists};

/// Port of SSH, unless something says otherwise.
pub const SSH_PORT: u16 = 22;

/// Configuration of the server; where `/etc` has none, that of the distribution counts.
const CONFIGURATIONS: [&str; 2] = ["/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config"];

/// Most files that are read, of which one may include many, or itself.
const MAX_FILES: usize = 64;

/// Returns the port on which strangers reach the image's `sshd`: the usual one, if it is among several.
pub(super) fn read(root: &Rooted, sshd: &Sshd) -> io::Result<u16> {
    let ports = match sshd {
        Sshd::SocketActivated { unit } => socket_ports(root, unit)?,
        _ => Vec::new(),
    };
    let ports = if ports.iter().all(|port| *port == SSH_PORT) {
        // A generator may make the socket listen where the configuration says.
        configured_ports(root)?
    } else {
        ports
    };
    let first = ports.first().copied().unwrap_or(SSH_PORT);
    Ok(if ports.contains(&SSH_PORT) {
        SSH_PORT
    } else {
        first
    })
}

/// Returns the ports of the socket unit and its drop-ins (systemd.socket(5)).
fn socket_ports(root: &Rooted, unit: &str) -> io::Result<Vec<u16>> {
    let mut ports = Vec::new();
    for text in units::texts(root, unit)? {
        for line in text.lines().map(str::trim) {
            match line.strip_prefix("ListenStream=").map(str::trim) {
                Some("") => ports.clear(),
                Some(address) => ports.extend(port_of(address)),
                None => {}
            }
        }
    }
    Ok(ports)
}

/// Returns the port of an address, or of a port alone.
fn port_of(address: &str) -> Option<u16> {
    let (_, port) = address.rsplit_once(':').unwrap_or_default();
    let text = if port.is_empty() { address } else { port };
    text.parse().ok().filter(|port| *port > 0)
}

/// Directives of sshd's configuration that say where it listens.
#[derive(Debug, Default)]
struct Listens {
    ports: Vec<u16>,
    /// Ports of addresses; those without one have all of `ports`.
    addresses: Vec<Option<u16>>,
    /// Number of files that have been read.
    files: usize,
}

fn configured_ports(root: &Rooted) -> io::Result<Vec<u16>> {
    let mut listens = Listens::default();
    for path in CONFIGURATIONS {
        if if_exists(root.metadata(path))?.is_some() {
            listens.read(root, path)?;
            break;
        }
    }
    Ok(listens.reached())
}

impl Listens {
    /// Reads a file and those that it includes (sshd_config(5)).
    fn read(&mut self, root: &Rooted, path: &str) -> io::Result<()> {
        if self.files == MAX_FILES {
            return Ok(());
        }
        self.files += 1;
        let text = if_exists(root.read_text(path))?.unwrap_or_default();
        for (keyword, value) in text.lines().filter_map(directive) {
            match &*keyword {
                "port" => self.ports.extend(port_of(value)),
                "listenaddress" => self.add_address(value),
                "include" => {
                    for pattern in value.split_whitespace() {
                        for path in matches(root, pattern.trim_matches('"'))? {
                            self.read(root, &path)?;
                        }
                    }
                }
                // Lines after this are only for some connections.
                "match" => break,
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds an address that can be reached from outside: `HOST`, `HOST:PORT` or `[HOST]:PORT`.
    fn add_address(&mut self, value: &str) {
        let address = value.split_whitespace().next().unwrap_or_default();
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, port),
            _ => (address, ""),
        };
        let is_local = ["127.", "[::1]", "::1", "localhost"];
        if !is_local.iter().any(|local| host.starts_with(local)) {
            self.addresses.push(port_of(port));
        }
    }

    fn reached(self) -> Vec<u16> {
        let mut ports = self.ports;
        if ports.is_empty() {
            ports.push(SSH_PORT);
        }
        if self.addresses.is_empty() {
            return ports;
        }
        let addresses = self.addresses.into_iter();
        addresses
            .flat_map(|port| port.map_or_else(|| ports.clone(), |port| vec![port]))
            .collect()
    }
}

/// Splits a line into its keyword, in small letters, and the rest, without its comment.
fn directive(line: &str) -> Option<(String, &str)> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let end = line.find(|c: char| c.is_whitespace() || c == '=')?;
    let (keyword, rest) = line.split_at(end);
    let value = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '=');
    Some((keyword.to_ascii_lowercase(), value))
}

/// Returns the files of a pattern, in order. In its last component a `*` may stand for anything.
fn matches(root: &Rooted, pattern: &str) -> io::Result<Vec<String>> {
    let path = Path::new("/etc/ssh").join(pattern);
    let Some((dir, name)) = path.to_str().and_then(|path| path.rsplit_once('/')) else {
        return Ok(Vec::new());
    };
    let Some((start, end)) = name.split_once('*') else {
        return Ok(vec![format!("{dir}/{name}")]);
    };
    let mut found = names(root, dir)?;
    found.retain(|name| {
        let rest = name.strip_prefix(start);
        !name.starts_with('.') && rest.is_some_and(|rest| rest.ends_with(end))
    });
    found.sort();
    Ok(found.iter().map(|name| format!("{dir}/{name}")).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    fn port(sshd: &Sshd, files: &[&str]) -> u16 {
        let dir = tempfile::tempdir().expect("a directory");
        for file in files {
            tree::add(dir.path(), file).expect(file);
        }
        read(&Rooted::new(dir.path()).expect("the root"), sshd).expect("read")
    }

    #[test]
    fn the_configuration_says_where_sshd_listens() {
        let service = Sshd::Enabled {
            unit: "ssh.service".to_owned(),
        };
        let drop_in = "etc/ssh/sshd_config.d/50-port.conf = Port 2222\n";
        for (files, expected) in [
            (&[][..], 22),
            (&["etc/ssh/sshd_config = Port 2222"], 2222),
            (&["etc/ssh/sshd_config =  PORT=2222 # new\n"], 2222),
            (
                &["etc/ssh/sshd_config = #Port 22\nport\t2222\nPort 23"],
                2222,
            ),
            (&["etc/ssh/sshd_config = Port 2222\nPort 22"], 22),
            (&["etc/ssh/sshd_config = Port 0"], 22),
            (&["etc/ssh/sshd_config = UsePAM yes", drop_in], 22),
            (
                &[
                    "etc/ssh/sshd_config = Include /etc/ssh/sshd_config.d/*.conf",
                    drop_in,
                ],
                2222,
            ),
            (
                &[
                    "etc/ssh/sshd_config = Include sshd_config.d/*.conf x",
                    drop_in,
                ],
                2222,
            ),
            (&["etc/ssh/sshd_config = Include sshd_config"], 22),
            (&["etc/ssh/sshd_config = Match User x\nPort 2222"], 22),
            (&["usr/etc/ssh/sshd_config = Port 2222"], 2222),
            (
                &["etc/ssh/sshd_config = ListenAddress 0.0.0.0:2222\nListenAddress [::]:2223"],
                2222,
            ),
            (&["etc/ssh/sshd_config = ListenAddress ::\nPort 2222"], 2222),
            (
                &["etc/ssh/sshd_config = ListenAddress 127.0.0.1:22\nListenAddress 10.0.2.15:24"],
                24,
            ),
        ] {
            assert_eq!(port(&service, files), expected, "{files:?}");
        }
    }

    #[test]
    fn so_does_the_socket_that_starts_it() {
        let socket = Sshd::SocketActivated {
            unit: "ssh.socket".to_owned(),
        };
        let unit = "usr/lib/systemd/system/ssh.socket = [Socket]\nListenStream=0.0.0.0:22\nListenStream=[::]:22\n";
        let drop_in =
            |text: &str| format!("etc/systemd/system/ssh.socket.d/a.conf = [Socket]\n{text}");
        for (text, expected) in [
            ("Accept=no", 22),
            ("ListenStream=\nListenStream=2222", 2222),
            ("ListenStream=\nListenStream=[::]:2222", 2222),
            ("ListenStream=2222", 22),
            ("ListenStream=\nListenStream=/run/x", 22),
        ] {
            assert_eq!(port(&socket, &[unit, &drop_in(text)]), expected, "{text}");
        }
        let configured = "etc/ssh/sshd_config = Port 2222";
        assert_eq!(port(&socket, &[unit, configured]), 2222);
    }
}
