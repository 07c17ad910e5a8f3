//! The network of a guest: QEMU's user network, which has the same hosts in each VM.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A range of IPv4 addresses, `ADDRESS/LENGTH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    first: u32,
    length: u8,
}

impl Subnet {
    /// Returns the range of the addresses that have the first `length` bits of `address`.
    #[must_use]
    pub const fn new(address: Ipv4Addr, length: u8) -> Self {
        let length = if length > 32 { 32 } else { length };
        Self {
            first: address.to_bits() & Self::mask(length),
            length,
        }
    }

    /// Number of leading bits that all addresses share.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// Returns true if an address is in both ranges.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        let shorter = if self.length < other.length {
            self.length
        } else {
            other.length
        };
        (self.first ^ other.first) & Self::mask(shorter) == 0
    }

    const fn mask(length: u8) -> u32 {
        match length {
            0 => 0,
            length => u32::MAX << (32 - length),
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.first), self.length)
    }
}

impl FromStr for Subnet {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a network is written ADDRESS/LENGTH";
        let (address, length) = text.split_once('/').ok_or(WRONG)?;
        let length: u8 = length.parse().map_err(|_| WRONG)?;
        if length > 32 {
            return Err(WRONG);
        }
        Ok(Self::new(address.parse().map_err(|_| WRONG)?, length))
    }
}

/// The network of a guest, 256 addresses. QEMU chooses those of its hosts by their place in it (QEMU's
/// documentation, "Using the user mode network stack").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
pub struct UserNet(Ipv4Addr);

impl UserNet {
    /// Length of the network's prefix.
    pub const PREFIX: u8 = 24;

    /// Networks that a guest can have, in the order of preference. The first is QEMU's own choice, the
    /// second that of its manual's examples; the third is one that nobody is known to prefer.
    pub const CHOICES: [Self; 3] = [
        Self(Ipv4Addr::new(10, 0, 2, 0)),
        Self(Ipv4Addr::new(192, 168, 76, 0)),
        Self(Ipv4Addr::new(172, 27, 236, 0)),
    ];

    /// Returns the first choice that has no address of the networks `taken`, or if all have, the first.
    ///
    /// Neither side of such an address reaches the other: the guest looks for it among its
    /// neighbours.
    #[must_use]
    pub fn beside(taken: &[Subnet]) -> Self {
        let free = |net: &Self| !taken.iter().any(|taken| taken.overlaps(net.subnet()));
        Self::CHOICES.into_iter().find(free).unwrap_or_default()
    }

    /// All addresses of the network.
    #[must_use]
    pub const fn subnet(self) -> Subnet {
        Subnet::new(self.0, Self::PREFIX)
    }

    /// Address of the guest.
    #[must_use]
    pub const fn guest(self) -> Ipv4Addr {
        self.host(15)
    }

    /// Address of the gateway, from which connections to published ports and to sshd come.
    #[must_use]
    pub const fn gateway(self) -> Ipv4Addr {
        self.host(2)
    }

    /// Address of the name server.
    #[must_use]
    pub const fn dns(self) -> Ipv4Addr {
        self.host(3)
    }

    const fn host(self, number: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.0.octets();
        Ipv4Addr::new(a, b, c, number)
    }
}

impl Default for UserNet {
    fn default() -> Self {
        Self::CHOICES[0]
    }
}

impl fmt::Display for UserNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.subnet().fmt(f)
    }
}

impl FromStr for UserNet {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let net = Self::CHOICES
            .into_iter()
            .find(|net| net.to_string() == text);
        net.ok_or("not one of the networks that a guest can have")
    }
}

impl From<UserNet> for String {
    fn from(net: UserNet) -> Self {
        net.to_string()
    }
}

impl TryFrom<String> for UserNet {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().expect("a network")
    }

    #[test]
    fn ranges_overlap_if_one_is_within_the_other() {
        for (one, other, overlap) in [
            ("10.0.2.0/24", "10.0.2.15/24", true),
            ("10.0.2.0/24", "10.0.0.0/8", true),
            ("10.0.2.77/32", "10.0.2.0/24", true),
            ("10.0.3.0/24", "10.0.2.0/24", false),
            ("10.0.2.0/24", "11.0.0.0/8", false),
            ("0.0.0.0/0", "10.0.2.0/24", true),
            ("128.0.0.0/1", "10.0.2.0/24", false),
        ] {
            let (one, other) = (subnet(one), subnet(other));
            assert_eq!(one.overlaps(other), overlap, "{one} {other}");
            assert_eq!(other.overlaps(one), overlap, "{other} {one}");
        }
    }

    #[test]
    fn a_range_is_an_address_and_a_length() {
        assert_eq!(subnet("10.0.2.15/24").to_string(), "10.0.2.0/24");
        assert_eq!(subnet("10.0.2.15/32").length(), 32);
        for wrong in [
            "",
            "10.0.2.0",
            "10.0.2/24",
            "10.0.2.0/33",
            "fec0::/64",
            "10.0.2.0/-1",
        ] {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_guest_gets_the_first_network_that_nobody_has() {
        let [first, second, third] = UserNet::CHOICES;
        let beside = |taken: &[&str]| {
            let taken: Vec<_> = taken.iter().map(|text| subnet(text)).collect();
            UserNet::beside(&taken)
        };
        assert_eq!(beside(&["192.168.0.0/16", "10.88.0.0/16"]), first);
        assert_eq!(beside(&["10.0.2.15/32"]), second);
        assert_eq!(beside(&["10.0.0.0/8", "192.168.0.0/16"]), third);
        assert_eq!(
            beside(&["10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12"]),
            first
        );
    }

    #[test]
    fn a_network_survives_the_crossing_and_no_other_does() {
        for net in UserNet::CHOICES {
            let text = serde_json::to_string(&net).expect("serialised");
            assert_eq!(serde_json::from_str::<UserNet>(&text).expect("parsed"), net);
            assert!(net.subnet().overlaps(Subnet::new(net.guest(), 32)));
        }
        for wrong in ["\"10.0.3.0/24\"", "\"10.0.2.0/16\"", "\"\"", "5"] {
            assert!(serde_json::from_str::<UserNet>(wrong).is_err(), "{wrong}");
        }
    }
}
