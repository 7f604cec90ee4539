//! A set of addresses and prefixes, asked by binary search.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::target::Target;

/// Addresses as ranges that are in order and do not touch: the same addresses are the same set, however they are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct AddressSet {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl AddressSet {
    pub(super) fn new(targets: &[Target]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for target in targets {
            match target.net() {
                IpNet::V4(net) => v4.push((u32::from(net.network()), u32::from(net.broadcast()))),
                IpNet::V6(net) => v6.push((u128::from(net.network()), u128::from(net.broadcast()))),
            }
        }
        Self { v4: merged(v4, |end| end.checked_add(1)), v6: merged(v6, |end| end.checked_add(1)) }
    }

    /// Whether an address, which is canonical, is in it.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => holds(&self.v4, u32::from(address)),
            IpAddr::V6(address) => holds(&self.v6, u128::from(address)),
        }
    }

    /// Its ranges of IPv4 addresses, first and last.
    pub(super) fn v4(&self) -> &[(u32, u32)] {
        &self.v4
    }

    /// Its ranges of IPv6 addresses, first and last.
    pub(super) fn v6(&self) -> &[(u128, u128)] {
        &self.v6
    }

    /// Whether it holds at most a 65,536th of the addresses of each family.
    pub(super) fn is_narrow(&self) -> bool {
        let v4 = self
            .v4
            .iter()
            .fold(0u32, |sum, (first, last)| sum.saturating_add(last - first).saturating_add(1));
        let v6 = self
            .v6
            .iter()
            .fold(0u128, |sum, (first, last)| sum.saturating_add(last - first).saturating_add(1));
        v4 <= 1 << 16 && v6 <= 1 << 112
    }

    /// Whether two sets share an address.
    pub(super) fn meets(&self, other: &Self) -> bool {
        meet(&self.v4, &other.v4) || meet(&self.v6, &other.v6)
    }
}

fn merged<T: Copy + Ord>(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut out: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match out.last_mut() {
            Some(last) if next(last.1).is_none_or(|next| start <= next) => last.1 = last.1.max(end),
            _ => out.push((start, end)),
        }
    }
    out.into()
}

fn holds<T: Copy + Ord>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(start, _)| *start <= address);
    after > 0 && address <= ranges[after - 1].1
}

fn meet<T: Copy + Ord>(a: &[(T, T)], b: &[(T, T)]) -> bool {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    while let (Some(one), Some(other)) = (a.peek(), b.peek()) {
        if one.1 < other.0 {
            a.next();
        } else if other.1 < one.0 {
            b.next();
        } else {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(targets: &[&str]) -> AddressSet {
        AddressSet::new(&targets.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn the_same_addresses_are_the_same_set() {
        assert_eq!(set(&["10.0.0.0/25", "10.0.0.128/25", "10.0.0.7"]), set(&["10.0.0.0/24"]));
        assert_eq!(set(&["::/1", "8000::/1"]), set(&["::/0"]));
        assert_eq!(set(&["0.0.0.0/1", "128.0.0.0/1"]), set(&["0.0.0.0/0"]));
        assert_ne!(set(&["10.0.0.0/25"]), set(&["10.0.0.0/24"]));
    }

    #[test]
    fn the_families_are_apart() {
        let both = set(&["::/0"]);
        assert!(both.contains("2001:db8::1".parse().unwrap()) && !both.contains("10.0.0.1".parse().unwrap()));
        assert!(!both.meets(&set(&["0.0.0.0/0"])));
    }

    proptest! {
        #[test]
        fn it_holds_what_one_of_its_prefixes_covers(
            prefixes in prop::collection::vec((0u32..64, 26u8..=32), 0..12),
            others in prop::collection::vec((0u32..64, 26u8..=32), 0..3),
        ) {
            let targets = |prefixes: &[(u32, u8)]| -> Vec<Target> {
                prefixes.iter().map(|(host, length)| Target::prefix(IpAddr::V4((0x0a00_0000 + host).into()), *length).unwrap()).collect()
            };
            let (targets, others) = (targets(&prefixes), targets(&others));
            let (set, other) = (AddressSet::new(&targets), AddressSet::new(&others));
            for host in 0..80u32 {
                let address = IpAddr::V4((0x0a00_0000 + host).into());
                prop_assert_eq!(set.contains(address), targets.iter().any(|target| target.covers(address)));
            }
            let meet = targets.iter().any(|one| others.iter().any(|other| one.overlaps(*other)));
            prop_assert_eq!(set.meets(&other), meet);
        }
    }
}
