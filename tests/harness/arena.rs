//! The place where attacks happen: attackers on one end of a wire, the guarded host on the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::{Namespace, poll_until};

/// The guarded host's address. Documentation ranges (RFC 5737, RFC 3849) are not private, so guard bans in them.
pub const GUARDED_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
/// The guarded host's IPv6 address.
pub const GUARDED_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x71, 0, 0, 0, 0, 1));
/// The administrator's address.
pub const ADMIN: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 200));
/// Attackers of each family.
const ATTACKERS: u8 = 8;

/// The address of an attacker, 0 to 7.
pub fn attacker_v4(number: u8) -> IpAddr {
    assert!(number < ATTACKERS);
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10 + number))
}

/// The IPv6 address of an attacker, 0 to 7: each in a /64 of its own.
pub fn attacker_v6(number: u8) -> IpAddr {
    assert!(number < ATTACKERS);
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x71, 0x10 + u16::from(number), 0, 0, 0, 0x10))
}

/// Two namespaces joined by a veth pair.
#[derive(Debug)]
pub struct Arena {
    /// Where attackers and the administrator are.
    pub outside: Namespace,
    /// The guarded host.
    pub host: Namespace,
}

impl Arena {
    /// The guarded host's interface.
    pub const INTERFACE: &str = "guarded0";

    /// Makes both ends and gives them their addresses, ready for use at once.
    pub fn new() -> Self {
        let arena = Self { outside: Namespace::new(), host: Namespace::new() };
        let interface = Self::INTERFACE;
        arena
            .host
            .ip(&format!("link add {interface} type veth peer name outside0 netns {}", arena.outside.path()));
        arena.host.ip(&format!("address add {GUARDED_V4}/24 dev {interface}"));
        arena.host.ip(&format!("address add {GUARDED_V6}/48 dev {interface} nodad"));
        arena.host.ip(&format!("link set {interface} up"));
        for number in 0..ATTACKERS {
            arena.outside.ip(&format!("address add {}/24 dev outside0", attacker_v4(number)));
            arena.outside.ip(&format!("address add {}/48 dev outside0 nodad", attacker_v6(number)));
        }
        arena.outside.ip(&format!("address add {ADMIN}/24 dev outside0"));
        arena.outside.ip("link set outside0 up");
        // The end that was up first gets its queue from a work queue of the kernel; until then it drops what it sends.
        for (namespace, interface) in [(&arena.host, interface), (&arena.outside, "outside0")] {
            poll_until(Duration::from_secs(10), "both ends of the wire are up", || {
                namespace.ip(&format!("link show dev {interface}")).contains("state UP").then_some(())
            });
        }
        arena
    }
}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}
