//! Why the program passed or dropped a packet.

/// The one reason for a packet's verdict.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Passed: neither IPv4 nor IPv6 (ARP, LLDP …).
    NotIp = 0,
    /// Passed: too short to hold the source address.
    Truncated = 1,
    /// Passed: more VLAN tags than are looked through.
    VlanTooDeep = 2,
    /// Passed: no ban covers the source.
    Clean = 3,
    /// Passed: a ban covers the source, and so does the allowlist.
    Allowed = 4,
    /// Passed: the ban that covers the source is over.
    Expired = 5,
    /// Passed: observe only; it would have been dropped.
    Observed = 6,
    /// Passed: a ban covers the source, but the packet is neighbour discovery. A router that is banned, or that has
    /// a banned neighbour's question to pass on, must still be found.
    Neighbour = 7,
    /// Dropped: the host is banned.
    Host = 8,
    /// Dropped: a prefix that covers the host is banned.
    Prefix = 9,
}

/// Number of reasons.
pub const REASONS: u32 = 10;

impl Reason {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; REASONS as usize] = [
        Self::NotIp,
        Self::Truncated,
        Self::VlanTooDeep,
        Self::Clean,
        Self::Allowed,
        Self::Expired,
        Self::Observed,
        Self::Neighbour,
        Self::Host,
        Self::Prefix,
    ];

    /// Whether the packet was dropped.
    pub const fn is_drop(self) -> bool {
        matches!(self, Self::Host | Self::Prefix)
    }

    /// The reason in metrics and on the terminal.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotIp => "not_ip",
            Self::Truncated => "truncated",
            Self::VlanTooDeep => "vlan_too_deep",
            Self::Clean => "clean",
            Self::Allowed => "allowed",
            Self::Expired => "expired",
            Self::Observed => "observed",
            Self::Neighbour => "neighbour",
            Self::Host => "host",
            Self::Prefix => "prefix",
        }
    }
}

/// Packets and bytes counted for something.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the Ethernet header on.
    pub bytes: u64,
}

const _: () = assert!(size_of::<Tally>() == 16);
