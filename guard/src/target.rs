//! What can be banned or allowed: an address or a prefix, in one canonical form.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use thiserror::Error;

mod cut;
mod name;

pub use cut::{Cut, cut, is_left, touching, widest};
pub use name::{Allowable, HostName, ParseAllowableError, ParseNameError};

/// An address or CIDR prefix. IPv4-mapped IPv6 is the IPv4 address, host bits are cleared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target(IpNet);

/// Why a text is not a target.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not an address or CIDR prefix ({})", way_out(text))]
pub struct ParseTargetError {
    /// The text as given.
    pub text: String,
}

/// What to write instead of a text that is no target.
fn way_out(text: &str) -> &'static str {
    if text.parse::<HostName>().is_ok() {
        "names are resolved to allow, never to ban"
    } else {
        "examples: 203.0.113.7, 203.0.113.0/24, 2001:db8::/64"
    }
}

/// The one form of an address: IPv4-mapped IPv6 becomes IPv4.
pub fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

impl Target {
    /// The single address.
    pub fn host(address: IpAddr) -> Self {
        Self(IpNet::from(canonical(address)))
    }

    /// The prefix of `length` bits that holds `address`; `None` if the length does not fit the family.
    /// A prefix inside `::ffff:0:0/96` becomes the IPv4 prefix.
    pub fn prefix(address: IpAddr, length: u8) -> Option<Self> {
        match (address, canonical(address)) {
            (IpAddr::V6(_), IpAddr::V4(v4)) if (96..=128).contains(&length) => {
                Some(Self(IpNet::V4(Ipv4Net::new(v4, length - 96).ok()?.trunc())))
            }
            _ => Some(Self(IpNet::new(address, length).ok()?.trunc())),
        }
    }

    /// The first address: the host itself, or the prefix with host bits clear.
    pub fn address(self) -> IpAddr {
        self.0.network()
    }

    /// Length of the prefix in bits.
    pub fn length(self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether this is one address (/32 or /128).
    pub fn is_host(self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }

    /// Whether `address` lies inside.
    pub fn covers(self, address: IpAddr) -> bool {
        self.0.contains(&canonical(address))
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.0.contains(&other.0) || other.0.contains(&self.0)
    }

    /// The prefix as `ipnet` has it.
    pub fn net(self) -> IpNet {
        self.0
    }

    /// The family, as in metrics: `ipv4` or `ipv6`.
    pub fn family(self) -> &'static str {
        match self.0 {
            IpNet::V4(_) => "ipv4",
            IpNet::V6(_) => "ipv6",
        }
    }
}

impl From<IpAddr> for Target {
    fn from(address: IpAddr) -> Self {
        Self::host(address)
    }
}

impl From<Ipv4Net> for Target {
    fn from(net: Ipv4Net) -> Self {
        Self(IpNet::V4(net.trunc()))
    }
}

impl From<Ipv6Net> for Target {
    fn from(net: Ipv6Net) -> Self {
        Self::prefix(IpAddr::V6(net.addr()), net.prefix_len()).unwrap_or(Self(IpNet::V6(net.trunc())))
    }
}

impl FromStr for Target {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseTargetError { text: text.chars().take(80).collect() };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => {
                if length.is_empty() || length.len() > 3 || !length.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(error());
                }
                (address, Some(length.parse::<u8>().map_err(|_| error())?))
            }
            None => (text, None),
        };
        let address = IpAddr::from_str(address).map_err(|_| error())?;
        match length {
            Some(length) => Self::prefix(address, length).ok_or_else(error),
            None => Ok(Self::host(address)),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = ParseTargetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl fmt::Display for Target {
    /// `203.0.113.7` for a host, `203.0.113.0/24` for a prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The /64 of an IPv6 address as its first eight bytes.
pub fn network64(address: Ipv6Addr) -> [u8; 8] {
    let mut net = [0; 8];
    net.copy_from_slice(&address.octets()[..8]);
    net
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_for_each_target() {
        for (text, shown) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7/32", "203.0.113.7"),
            ("203.0.113.7/24", "203.0.113.0/24"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7/120", "203.0.113.0/24"),
            ("2001:DB8::1/64", "2001:db8::/64"),
            ("2001:db8::1", "2001:db8::1"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_target() {
        for text in [
            "",
            "127.1",
            "010.1.1.1",
            "0x7f.1.1.1",
            "fe80::1%eth0",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "[::1]",
            "host.example",
            "1.2.3.4 ",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
