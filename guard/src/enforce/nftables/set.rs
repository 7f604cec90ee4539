//! Which set holds a target: one hash set for each role, family and prefix length.
//!
//! A packet's source is masked to the length and looked up, so an element matches exactly one prefix. Prefixes
//! that lie inside each other are in different sets and never meet: each is enforced by itself and ends by
//! itself. Interval sets refuse such overlaps, or merge them and forget where one ends.

use std::net::IpAddr;

use crate::target::{Target, canonical};

/// What the elements of a set mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Role {
    /// Sources that are dropped.
    Ban,
    /// Sources that pass in spite of a ban.
    Allow,
}

/// The address family of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A set of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Set {
    /// What its elements mean.
    pub(super) role: Role,
    /// Their family.
    pub(super) family: Family,
    /// Their prefix length.
    pub(super) length: u8,
}

impl Set {
    /// Sets that are there from the start, so that the common bans need no change of the chain.
    pub(super) const BASE: [Self; 3] = [
        Self { role: Role::Ban, family: Family::V4, length: 32 },
        Self { role: Role::Ban, family: Family::V6, length: 64 },
        Self { role: Role::Ban, family: Family::V6, length: 128 },
    ];

    /// The set a target belongs to.
    pub(super) fn of(role: Role, target: Target) -> Self {
        Self { role, family: Family::of(target.address()), length: target.length() }
    }

    /// Its name in the table, at most 9 bytes: `ban4_32`, `allow6_64`.
    pub(super) fn name(self) -> String {
        let role = match self.role {
            Role::Ban => "ban",
            Role::Allow => "allow",
        };
        format!("{role}{}_{}", self.family.digit(), self.length)
    }

    /// The set of this name, `None` for a name that is not ours.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let (role, rest) = match name.strip_prefix("ban") {
            Some(rest) => (Role::Ban, rest),
            None => (Role::Allow, name.strip_prefix("allow")?),
        };
        let (digit, length) = rest.split_once('_')?;
        let family = if digit == "4" { Family::V4 } else { Family::V6 };
        let set = Self { role, family, length: length.parse().ok()? };
        (set.length <= family.bits() && set.name() == name).then_some(set)
    }

    /// Whether its elements are single addresses.
    pub(super) fn is_hosts(self) -> bool {
        self.length == self.family.bits()
    }

    /// The one element that could cover `address`; `None` if it is of the other family.
    pub(super) fn covering(self, address: IpAddr) -> Option<Target> {
        let address = canonical(address);
        (Family::of(address) == self.family).then(|| Target::prefix(address, self.length)).flatten()
    }

    /// The target of an element's key as the kernel has it, in network order.
    pub(super) fn target(self, key: &[u8]) -> Option<Target> {
        let address = match self.family {
            Family::V4 => IpAddr::from(<[u8; 4]>::try_from(key).ok()?),
            Family::V6 => IpAddr::from(<[u8; 16]>::try_from(key).ok()?),
        };
        Target::prefix(address, self.length)
    }
}

impl Family {
    fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Bits of an address.
    pub(super) fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    fn digit(self) -> char {
        match self {
            Self::V4 => '4',
            Self::V6 => '6',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Role, Set};

    #[test]
    fn a_name_leads_back_to_its_set() {
        for text in ["203.0.113.7", "203.0.113.0/24", "2001:db8::1", "2001:db8::/64", "0.0.0.0/0", "::/0"] {
            for role in [Role::Ban, Role::Allow] {
                let set = Set::of(role, text.parse().unwrap());
                assert_eq!(Set::from_name(&set.name()), Some(set));
            }
        }
        for foreign in
            ["", "ban", "ban4", "ban4_33", "ban5_1", "ban4_+8", "ban4_08", "ban6_129", "allow4_", "x"]
        {
            assert_eq!(Set::from_name(foreign), None, "{foreign}");
        }
    }
}
