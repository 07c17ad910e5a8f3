//! Ports of the guest that the host publishes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SpecError;
use crate::choice;

/// A port published from the guest, as podman's `--publish` has it.
///
/// Written `[[IP:][HOST]:]GUEST[/tcp|udp]`, IPv6 addresses in brackets
/// (<https://docs.podman.io/en/latest/markdown/podman-run.1.html>). podman also has ranges; those
/// are refused with a sentence of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortForward {
    /// The host address to listen on; every address if it is not given.
    pub host_ip: Option<IpAddr>,
    /// The host's port; 0 has podman choose a free one, as it does when HOST is left out.
    pub host_port: u16,
    /// The guest's port, never 0.
    pub guest_port: u16,
    /// Protocol of the port.
    pub protocol: Protocol,
}

/// A transport protocol.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, unless said otherwise.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

choice!(Protocol, "a protocol", { Tcp: "tcp", Udp: "udp" });

impl FromStr for PortForward {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        let syntax = || SpecError::PublishSyntax {
            value: value.to_owned(),
        };
        let (ports, protocol) = match value.split_once('/') {
            None => (value, Protocol::default()),
            Some((ports, name)) => match name.to_ascii_lowercase().parse() {
                Ok(protocol) => (ports, protocol),
                Err(_) => {
                    return Err(SpecError::PublishProtocol {
                        value: value.to_owned(),
                        protocol: name.to_owned(),
                    });
                }
            },
        };
        let (host_ip, ports) = split_ip(value, ports)?;
        let (host, guest) = match ports.split_once(':') {
            Some((host, guest)) => (host, guest),
            None if host_ip.is_none() => ("", ports),
            None => return Err(syntax()),
        };
        if guest.is_empty() || guest.contains(':') {
            return Err(syntax());
        }
        Ok(Self {
            host_ip,
            host_port: if host.is_empty() {
                0
            } else {
                port(value, host)?
            },
            guest_port: port(value, guest)?,
            protocol,
        })
    }
}

/// Splits off the address in front, if there is one, and returns what follows it.
fn split_ip<'a>(value: &str, text: &'a str) -> Result<(Option<IpAddr>, &'a str), SpecError> {
    let bad = |ip: &str| SpecError::PublishAddress {
        value: value.to_owned(),
        ip: ip.to_owned(),
    };
    if let Some(bracketed) = text.strip_prefix('[') {
        let (ip, rest) = bracketed
            .split_once("]:")
            .ok_or_else(|| SpecError::PublishSyntax {
                value: value.to_owned(),
            })?;
        let ip: Ipv6Addr = ip.parse().map_err(|_| bad(ip))?;
        return Ok((Some(ip.into()), rest));
    }
    match text.split_once(':') {
        Some((ip, rest)) if rest.matches(':').count() == 1 => {
            let ip: Ipv4Addr = ip.parse().map_err(|_| bad(ip))?;
            Ok((Some(ip.into()), rest))
        }
        _ => Ok((None, text)),
    }
}

fn port(value: &str, text: &str) -> Result<u16, SpecError> {
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if let Some((first, last)) = text.split_once('-')
        && digits(first)
        && digits(last)
    {
        return Err(SpecError::PublishRange {
            value: value.to_owned(),
        });
    }
    if !digits(text) {
        return Err(SpecError::PublishSyntax {
            value: value.to_owned(),
        });
    }
    match text.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(SpecError::PublishPort {
            value: value.to_owned(),
            port: text.to_owned(),
        }),
    }
}

impl fmt::Display for PortForward {
    /// Writes podman's form, protocol included, ready to be its argument.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:")?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            None => {}
        }
        match self.host_port {
            0 if self.host_ip.is_none() => {}
            0 => f.write_str(":")?,
            port => write!(f, "{port}:")?,
        }
        write!(f, "{}/{}", self.guest_port, self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        for (value, shown) in [
            ("80", "80/tcp"),
            ("53/udp", "53/udp"),
            ("8080:80", "8080:80/tcp"),
            ("8080:80/TCP", "8080:80/tcp"),
            (":80", "80/tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp"),
            ("127.0.0.1::80/udp", "127.0.0.1::80/udp"),
            ("[::1]:8080:80", "[::1]:8080:80/tcp"),
            ("[fe80::1]::80", "[fe80::1]::80/tcp"),
            ("65535:65535", "65535:65535/tcp"),
        ] {
            let parsed = value.parse::<PortForward>();
            assert_eq!(
                parsed.clone().map(|p| p.to_string()),
                Ok(shown.into()),
                "{value}"
            );
            assert_eq!(shown.parse(), parsed, "{value}");
        }
        assert_eq!(
            "127.0.0.1::80/udp".parse(),
            Ok(PortForward {
                host_ip: Some(Ipv4Addr::LOCALHOST.into()),
                host_port: 0,
                guest_port: 80,
                protocol: Protocol::Udp,
            })
        );
    }

    #[test]
    fn refused() {
        let v = str::to_owned;
        let syntax = |value: &str| SpecError::PublishSyntax { value: v(value) };
        let port = |value: &str, port: &str| SpecError::PublishPort {
            value: v(value),
            port: v(port),
        };
        let ip = |value: &str, ip: &str| SpecError::PublishAddress {
            value: v(value),
            ip: v(ip),
        };
        for (value, expected) in [
            ("", syntax("")),
            ("8080:", syntax("8080:")),
            ("::1:8080:80", syntax("::1:8080:80")),
            ("[::1]:80", syntax("[::1]:80")),
            ("[::1", syntax("[::1")),
            ("http", syntax("http")),
            ("0", port("0", "0")),
            ("0:80", port("0:80", "0")),
            ("8080:65536", port("8080:65536", "65536")),
            ("+80:80", syntax("+80:80")),
            ("-1:80", syntax("-1:80")),
            ("localhost:8080:80", ip("localhost:8080:80", "localhost")),
            ("[127.0.0.1]:1:2", ip("[127.0.0.1]:1:2", "127.0.0.1")),
            (
                "8000-8010:8000-8010",
                SpecError::PublishRange {
                    value: v("8000-8010:8000-8010"),
                },
            ),
            (
                "80/sctp",
                SpecError::PublishProtocol {
                    value: v("80/sctp"),
                    protocol: v("sctp"),
                },
            ),
        ] {
            assert_eq!(value.parse::<PortForward>(), Err(expected), "{value}");
        }
    }

    #[test]
    fn serialised_plainly() {
        let forward: PortForward = "127.0.0.1:8080:80".parse().expect("a forward");
        let json = r#"{"host_ip":"127.0.0.1","host_port":8080,"guest_port":80,"protocol":"tcp"}"#;
        assert_eq!(serde_json::to_string(&forward).expect("serialises"), json);
        assert_eq!(
            serde_json::from_str::<PortForward>(json).expect("deserialises"),
            forward
        );
    }
}
