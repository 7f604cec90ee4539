//! What a feed lists, in few bytes: 5 for an IPv4 target, 17 for an IPv6 target.

use std::net::IpAddr;

use crate::target::{Target, canonical};

/// Targets of which none covers another, in their order. It never changes: a feed that changes has another list.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct List {
    v4: Box<[Net<4>]>,
    v6: Box<[Net<16>]>,
}

/// A prefix: the address in network order, host bits clear, and the length. So the order is that of targets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Net<const N: usize> {
    address: [u8; N],
    length: u8,
}

const _: () = assert!(size_of::<Net<4>>() == 5 && size_of::<Net<16>>() == 17);

impl List {
    /// Number of targets.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether it lists nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The target at a place, IPv4 first.
    pub fn get(&self, place: usize) -> Option<Target> {
        match self.v4.get(place) {
            Some(net) => net.target(),
            None => self.v6.get(place - self.v4.len())?.target(),
        }
    }

    /// All targets in their order.
    pub fn iter(&self) -> impl Iterator<Item = Target> {
        self.v4.iter().filter_map(Net::target).chain(self.v6.iter().filter_map(Net::target))
    }

    /// The one target that covers an address.
    pub fn covering(&self, address: IpAddr) -> Option<Target> {
        match canonical(address) {
            IpAddr::V4(v4) => covering(&self.v4, v4.octets())?.target(),
            IpAddr::V6(v6) => covering(&self.v6, v6.octets())?.target(),
        }
    }

    /// The targets that share an address with a given one: the one that covers it, or all that lie inside.
    pub fn overlapping(&self, target: Target) -> impl Iterator<Item = Target> {
        let (v4, v6): (&[_], &[_]) = match target.address() {
            IpAddr::V4(v4) => {
                (overlapping(&self.v4, Net { address: v4.octets(), length: target.length() }), &[])
            }
            IpAddr::V6(v6) => {
                (&[], overlapping(&self.v6, Net { address: v6.octets(), length: target.length() }))
            }
        };
        v4.iter().filter_map(Net::target).chain(v6.iter().filter_map(Net::target))
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.v4) + size_of_val(&*self.v6)
    }
}

impl FromIterator<Target> for List {
    fn from_iter<I: IntoIterator<Item = Target>>(targets: I) -> Self {
        let mut builder = Builder::default();
        targets.into_iter().for_each(|target| builder.push(target));
        builder.finish()
    }
}

impl std::fmt::Debug for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 8;
        f.debug_list().entries(self.iter().take(SHOWN)).finish()?;
        if self.len() > SHOWN { write!(f, " of {}", self.len()) } else { Ok(()) }
    }
}

/// A list while it is read.
#[derive(Default)]
pub(super) struct Builder {
    v4: Vec<Net<4>>,
    v6: Vec<Net<16>>,
}

impl Builder {
    pub(super) fn push(&mut self, target: Target) {
        let length = target.length();
        match target.address() {
            IpAddr::V4(address) => self.v4.push(Net { address: address.octets(), length }),
            IpAddr::V6(address) => self.v6.push(Net { address: address.octets(), length }),
        }
    }

    /// Targets so far, those among them that others cover.
    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    pub(super) fn finish(self) -> List {
        List { v4: widest(self.v4), v6: widest(self.v6) }
    }
}

impl<const N: usize> Net<N> {
    /// Whether an address lies inside.
    fn covers(&self, address: &[u8; N]) -> bool {
        let (whole, rest) = (usize::from(self.length / 8), self.length % 8);
        let mask = !(0xff_u8 >> rest);
        self.address[..whole] == address[..whole]
            && (rest == 0 || self.address[whole] & mask == address[whole] & mask)
    }

    fn target(&self) -> Option<Target>
    where
        IpAddr: From<[u8; N]>,
    {
        Target::prefix(IpAddr::from(self.address), self.length)
    }
}

/// In order, without what another one covers: this stands before it, with nothing but its inside between.
fn widest<const N: usize>(mut nets: Vec<Net<N>>) -> Box<[Net<N>]> {
    nets.sort_unstable();
    nets.dedup_by(|next, wide| wide.covers(&next.address));
    nets.into()
}

fn covering<const N: usize>(nets: &[Net<N>], address: [u8; N]) -> Option<&Net<N>> {
    let after = nets.partition_point(|net| net.address <= address);
    nets[..after].last().filter(|net| net.covers(&address))
}

fn overlapping<const N: usize>(nets: &[Net<N>], with: Net<N>) -> &[Net<N>] {
    // Whatever covers it stands right before what lies inside it.
    let mut from = nets.partition_point(|net| *net < with);
    let inside = nets[from..].iter().take_while(|net| with.covers(&net.address)).count();
    let to = from + inside;
    if from > 0 && nets[from - 1].covers(&with.address) {
        from -= 1;
    }
    &nets[from..to]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::target;
    use super::*;

    proptest! {
        #[test]
        fn a_list_equals_a_naive_one(
            listed in prop::collection::vec(target(), 0..60),
            asked in target(),
        ) {
            let list: List = listed.iter().copied().collect();
            let covers = |wide: Target, inner: Target| wide.length() <= inner.length() && wide.covers(inner.address());
            let mut naive: Vec<Target> = listed
                .iter()
                .copied()
                .filter(|inner| !listed.iter().any(|wide| wide != inner && covers(*wide, *inner)))
                .collect();
            naive.sort();
            naive.dedup();

            prop_assert_eq!(list.iter().collect::<Vec<_>>(), naive.clone());
            prop_assert_eq!((0..=naive.len()).map_while(|at| list.get(at)).collect::<Vec<_>>(), naive.clone());
            prop_assert_eq!(list.len(), naive.len());
            let covering = naive.iter().copied().find(|target| target.covers(asked.address()));
            prop_assert_eq!(list.covering(asked.address()), covering);
            let overlapping: Vec<_> = naive.into_iter().filter(|target| target.overlaps(asked)).collect();
            prop_assert_eq!(list.overlapping(asked).collect::<Vec<_>>(), overlapping);
        }
    }
}
