//! A map by target that finds every entry which shares an address with a given one.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use ipnet::IpNet;

use crate::target::Target;

/// Values by target. Asking for overlaps costs one look-up for each shorter prefix length in use, and one range.
#[derive(Clone, Debug)]
pub(super) struct TargetMap<T> {
    entries: BTreeMap<Target, T>,
    /// How many entries each prefix length has, IPv4 first: lengths that nobody uses are not looked up.
    lengths: [[u32; 129]; 2],
}

impl<T> Default for TargetMap<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), lengths: [[0; 129]; 2] }
    }
}

impl<T> TargetMap<T> {
    /// The value of exactly this target, made if there is none.
    pub(super) fn entry(&mut self, target: Target, make: impl FnOnce() -> T) -> &mut T {
        let lengths = &mut self.lengths;
        self.entries.entry(target).or_insert_with(|| {
            lengths[family(target)][usize::from(target.length())] += 1;
            make()
        })
    }

    pub(super) fn get(&self, target: Target) -> Option<&T> {
        self.entries.get(&target)
    }

    pub(super) fn get_mut(&mut self, target: Target) -> Option<&mut T> {
        self.entries.get_mut(&target)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Target, &T)> {
        self.entries.iter().map(|(target, value)| (*target, value))
    }

    /// Keeps what `wanted` says.
    pub(super) fn retain(&mut self, mut wanted: impl FnMut(Target, &mut T) -> bool) {
        let lengths = &mut self.lengths;
        self.entries.retain(|target, value| {
            let keep = wanted(*target, value);
            if !keep {
                lengths[family(*target)][usize::from(target.length())] -= 1;
            }
            keep
        });
    }

    /// Entries that cover `target`, the widest first, then those that lie inside it.
    pub(super) fn overlapping(&self, target: Target) -> impl Iterator<Item = (Target, &T)> {
        let lengths = &self.lengths[family(target)];
        let covering = (0..target.length())
            .filter(move |length| lengths[usize::from(*length)] > 0)
            .filter_map(move |length| Target::prefix(target.address(), length))
            .filter_map(|wider| self.entries.get_key_value(&wider));
        let inside = self.entries.range(target..=last(target));
        covering.chain(inside.filter(move |(t, _)| t.overlaps(target))).map(|(t, value)| (*t, value))
    }
}

fn family(target: Target) -> usize {
    usize::from(target.address().is_ipv6())
}

/// The end of a range that holds every target inside `target`: its last address.
fn last(target: Target) -> Target {
    match target.net() {
        IpNet::V4(net) => Target::host(net.broadcast().into()),
        // A wide prefix can end on an IPv4-mapped address, which would be IPv4: then the range is longer.
        IpNet::V6(net) if net.broadcast().to_ipv4_mapped().is_some() => {
            Target::host(Ipv6Addr::from(u128::MAX).into())
        }
        IpNet::V6(net) => Target::host(net.broadcast().into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn target() -> impl Strategy<Value = Target> {
        // Few addresses and all lengths, so that overlaps are common.
        prop_oneof![
            (0u32..1024, 0u8..=32)
                .prop_map(|(a, l)| Target::prefix(Ipv4Addr::from(a << 6).into(), l).unwrap()),
            (0u128..1024, 0u8..=128)
                .prop_map(|(a, l)| Target::prefix(Ipv6Addr::from(a << 40).into(), l).unwrap()),
            Just("::/80".parse().unwrap()),
            Just("::ffff:0:0/95".parse().unwrap()),
        ]
    }

    proptest! {
        #[test]
        fn finds_what_a_scan_of_everything_finds(
            known in prop::collection::vec(target(), 0..40),
            gone in prop::collection::vec(any::<bool>(), 40),
            asked in target(),
        ) {
            let mut map = TargetMap::default();
            for t in &known { map.entry(*t, || ()); }
            let mut all: Vec<Target> = map.iter().map(|(t, ())| t).collect();
            let mut keep = gone.iter().cycle();
            map.retain(|_, ()| *keep.next().unwrap());
            let mut keep = gone.iter().cycle();
            all.retain(|_| *keep.next().unwrap());

            let mut found: Vec<Target> = map.overlapping(asked).map(|(t, ())| t).collect();
            found.sort();
            let expected: Vec<Target> = all.into_iter().filter(|t| t.overlaps(asked)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
