//! Which map holds a target, and under which key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::Pod;
use guard_common::{Cidr4, Cidr6, Entry, FOREVER, PrefixEntry};

use crate::datapath::{Bits, Maps, Table};
use crate::target::{Target, network64};
use crate::time::Moment;

/// The key of a map of bans.
pub(super) trait Key: Pod + PartialEq {
    /// The map's value.
    type Value: Pod + Default;
    /// A key to overwrite.
    const EMPTY: Self;

    /// The value that holds an entry under this key.
    fn value(self, entry: Entry) -> Self::Value;
    /// The entry of a value that a look-up of this key gave; `None` if it belongs to a wider key.
    fn entry(self, value: &Self::Value) -> Option<Entry>;
    /// What is banned under this key.
    fn target(self) -> Target;
    /// The map.
    fn table(maps: &Maps) -> &Table<Self, Self::Value>;
    /// The bitmap before it.
    fn bits(maps: &Maps) -> &Bits;
}

/// A target's key, by map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Host4([u8; 4]),
    Host6([u8; 16]),
    Net6([u8; 8]),
    Prefix4(Cidr4),
    Prefix6(Cidr6),
}

/// Number of maps of bans.
pub(super) const PLACES: usize = 5;

impl Place {
    /// Where a ban of this target is kept.
    pub(super) fn of(target: Target) -> Self {
        let length = u32::from(target.length());
        match (target.address(), length) {
            (IpAddr::V4(address), 32) => Self::Host4(address.octets()),
            (IpAddr::V4(address), _) => Self::Prefix4(Cidr4 { length, address: address.octets() }),
            (IpAddr::V6(address), 128) => Self::Host6(address.octets()),
            (IpAddr::V6(address), 64) => Self::Net6(network64(address)),
            (IpAddr::V6(address), _) => Self::Prefix6(Cidr6 { length, address: address.octets() }),
        }
    }

    /// Number of the map, below [`PLACES`].
    pub(super) fn index(self) -> usize {
        match self {
            Self::Host4(_) => 0,
            Self::Host6(_) => 1,
            Self::Net6(_) => 2,
            Self::Prefix4(_) => 3,
            Self::Prefix6(_) => 4,
        }
    }
}

/// When a ban ends, as the kernel compares it.
pub(super) fn deadline(until: Option<Moment>) -> u64 {
    until.map_or(FOREVER, Moment::boot_nanoseconds)
}

/// The prefix of a trie's key. The kernel keeps no key whose length does not fit.
fn prefix(address: IpAddr, length: u32) -> Target {
    Target::prefix(address, length as u8).unwrap_or(Target::host(address))
}

macro_rules! host_key {
    ($key:ty, $table:ident, $bits:ident, $target:expr) => {
        impl Key for $key {
            type Value = Entry;
            const EMPTY: Self = [0; size_of::<$key>()];

            fn value(self, entry: Entry) -> Entry {
                entry
            }

            fn entry(self, value: &Entry) -> Option<Entry> {
                Some(*value)
            }

            fn target(self) -> Target {
                $target(self)
            }

            fn table(maps: &Maps) -> &Table<Self, Entry> {
                &maps.$table
            }

            fn bits(maps: &Maps) -> &Bits {
                &maps.$bits
            }
        }
    };
}

macro_rules! prefix_key {
    ($key:ident, $table:ident, $bits:ident) => {
        impl Key for $key {
            type Value = PrefixEntry;
            const EMPTY: Self = $key { length: 0, address: [0; size_of::<$key>() - 4] };

            fn value(self, entry: Entry) -> PrefixEntry {
                PrefixEntry { entry, length: self.length, reserved: 0 }
            }

            fn entry(self, value: &PrefixEntry) -> Option<Entry> {
                (value.length == self.length).then_some(value.entry)
            }

            fn target(self) -> Target {
                prefix(self.address.into(), self.length)
            }

            fn table(maps: &Maps) -> &Table<Self, PrefixEntry> {
                &maps.$table
            }

            fn bits(maps: &Maps) -> &Bits {
                &maps.$bits
            }
        }
    };
}

host_key!([u8; 4], hosts4, bits4, |key| Target::host(Ipv4Addr::from(key).into()));
host_key!([u8; 16], hosts6, bits6, |key| prefix(Ipv6Addr::from(key).into(), 128));
host_key!([u8; 8], nets6, bits6, |key: [u8; 8]| {
    let mut address = [0; 16];
    address[..8].copy_from_slice(&key);
    prefix(Ipv6Addr::from(address).into(), 64)
});
prefix_key!(Cidr4, prefixes4, bits4);
prefix_key!(Cidr6, prefixes6, bits6);
