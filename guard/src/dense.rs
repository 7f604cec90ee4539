//! A hash map that keeps its records side by side: no gaps to pay for, a scan runs at the speed of memory, and a
//! random record is one index away. The ban table, the strikes and the sources stand on it.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Bound;

use ipnet::IpNet;

use crate::memory::prefetch;
use crate::target::Target;

mod index;

use index::Index;

/// What a record is found by.
pub(crate) trait Key: Copy + Eq + Ord + Debug {
    /// The key's hash under a seed. Attackers choose the keys, so the hash must depend on the seed.
    fn hash(self, seed: Seed) -> u64;
}

/// Something with a key, which never changes while it is in a map.
pub(crate) trait Record {
    /// The key's type.
    type Key: Key;

    /// The key.
    fn key(&self) -> Self::Key;
}

/// Secret of a hash function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed(u64, u64);

impl Seed {
    /// A seed that follows from a number.
    pub(crate) fn new(number: u64) -> Self {
        let mut chance = Chance::new(number);
        Self(chance.next(), chance.next() | 1)
    }

    /// A seed of this process. For maps whose order and content do not depend on it.
    pub(crate) fn random() -> Self {
        use std::hash::BuildHasher;
        Self::new(foldhash::quality::RandomState::default().hash_one(0u8))
    }

    /// Hash of sixteen bytes: one widening multiplication, both halves of the product folded together.
    #[inline]
    pub(crate) fn hash(self, bytes: u128) -> u64 {
        fold((bytes as u64) ^ self.0, ((bytes >> 64) as u64) ^ self.1)
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Chance as an argument: the generator `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The stream that follows from a seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }
}

/// A single IPv4 address as a key: by far the most common target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Host4(pub u32);

/// A key that stands for a target.
pub(crate) trait TargetKey: Key {
    /// The target.
    fn target(self) -> Target;

    /// The lowest key whose target comes after this one in the order of targets.
    fn after(target: Target) -> Bound<Self>;
}

impl Host4 {
    /// The key of a target, if it is a single IPv4 address.
    #[inline]
    pub(crate) fn of(target: Target) -> Option<Self> {
        match target.net() {
            IpNet::V4(net) if net.prefix_len() == 32 => Some(Self(net.addr().to_bits())),
            _ => None,
        }
    }
}

impl Key for Host4 {
    #[inline]
    fn hash(self, seed: Seed) -> u64 {
        seed.hash(u128::from(self.0))
    }
}

impl TargetKey for Host4 {
    fn target(self) -> Target {
        Target::host(IpAddr::V4(Ipv4Addr::from_bits(self.0)))
    }

    fn after(target: Target) -> Bound<Self> {
        match target.net() {
            IpNet::V4(net) if net.prefix_len() == 32 => Bound::Excluded(Self(net.addr().to_bits())),
            IpNet::V4(net) => Bound::Included(Self(net.addr().to_bits())),
            IpNet::V6(_) => Bound::Excluded(Self(u32::MAX)),
        }
    }
}

impl Key for Target {
    #[inline]
    fn hash(self, seed: Seed) -> u64 {
        let length = u64::from(self.length());
        match self.net() {
            IpNet::V4(net) => fold(seed.hash(u128::from(net.addr().to_bits())) ^ length, seed.1),
            IpNet::V6(net) => fold(seed.hash(net.addr().to_bits()) ^ (length << 8), seed.1),
        }
    }
}

impl TargetKey for Target {
    fn target(self) -> Target {
        self
    }

    fn after(target: Target) -> Bound<Self> {
        Bound::Excluded(target)
    }
}

/// Records side by side, found by key in constant time. Removal moves the last record into the gap.
#[derive(Debug)]
pub(crate) struct Dense<R> {
    records: Vec<R>,
    /// Places in `records`, by hash of the key.
    index: Index,
    seed: Seed,
}

impl<R: Record> Dense<R> {
    /// An empty map. It takes no memory before the first record.
    pub(crate) const fn new(seed: Seed) -> Self {
        Self { records: Vec::new(), index: Index::new(), seed }
    }

    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The records, in no order that means anything.
    pub(crate) fn records(&self) -> &[R] {
        &self.records
    }

    /// The record at a place.
    #[inline]
    pub(crate) fn at_mut(&mut self, place: usize) -> &mut R {
        &mut self.records[place]
    }

    /// Where the record of a key is.
    #[inline]
    pub(crate) fn place(&self, key: R::Key) -> Option<usize> {
        let found = self.index.find(key.hash(self.seed), |at| self.records[at as usize].key() == key);
        found.map(|at| at as usize)
    }

    /// The record of a key is asked for soon, or put: its place in the index is brought near, and the record if there is
    /// one. Two in a hundred times it is another one, which costs no more than the wait.
    #[inline]
    pub(crate) fn expect(&self, key: R::Key) {
        if let Some(at) = self.index.guess(key.hash(self.seed))
            && let Some(record) = self.records.get(at as usize)
        {
            prefetch(record);
        }
    }

    /// The record of a key.
    #[inline]
    pub(crate) fn get(&self, key: R::Key) -> Option<&R> {
        self.place(key).map(|place| &self.records[place])
    }

    /// The record of a key, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: R::Key) -> Option<&mut R> {
        self.place(key).map(|place| &mut self.records[place])
    }

    /// Adds a record, or replaces the one of its key and gives that back.
    pub(crate) fn insert(&mut self, record: R) -> Option<R> {
        let key = record.key();
        if let Some(old) = self.get_mut(key) {
            return Some(std::mem::replace(old, record));
        }
        self.grow(1);
        self.index.add(key.hash(self.seed), self.records.len() as u32);
        self.records.push(record);
        None
    }

    /// Makes room for so many more records at once, so that the index is not built anew on the way.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.records.reserve_exact(more);
        self.grow(more);
    }

    /// Takes the record of a key out.
    pub(crate) fn remove(&mut self, key: R::Key) -> Option<R> {
        let place = self.place(key)?;
        let last = self.records.len() - 1;
        self.index.remove(key.hash(self.seed), place as u32);
        if place != last {
            let moved = self.records[last].key().hash(self.seed);
            self.index.moved(moved, last as u32, place as u32);
        }
        Some(self.records.swap_remove(place))
    }

    /// Makes room for so many more records in the index.
    fn grow(&mut self, more: usize) {
        let Self { records, index, seed } = self;
        let places = records.len() + more;
        if index.is_full(places) {
            index.rebuild(places, records.iter().map(|record| record.key().hash(*seed)));
        }
    }

    /// Bytes held, the index included.
    pub(crate) fn bytes(&self) -> usize {
        self.records.capacity() * size_of::<R>() + self.index.bytes()
    }
}

/// A signed number in six bytes with two-byte alignment: milliseconds within ±4,400 years, or an identity.
/// What does not fit becomes the nearest that does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Short48([u16; 3]);

impl Short48 {
    /// The largest number.
    pub(crate) const MAX: i64 = (1 << 47) - 1;

    /// Packs a number.
    pub(crate) fn new(number: i64) -> Self {
        let n = number.clamp(-Self::MAX, Self::MAX);
        Self([n as u16, (n >> 16) as u16, (n >> 32) as u16])
    }

    /// The number.
    #[inline]
    pub(crate) const fn get(self) -> i64 {
        let [low, middle, high] = self.0;
        (low as i64) | (middle as i64) << 16 | (high as i16 as i64) << 32
    }
}

impl Debug for Short48 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_bytes_hold_what_fits_and_the_nearest_otherwise() {
        for number in [0, 1, -1, 65_535, -65_536, 1 << 40, -(1 << 40), Short48::MAX, -Short48::MAX] {
            assert_eq!(Short48::new(number).get(), number);
        }
        assert_eq!(Short48::new(i64::MAX).get(), Short48::MAX);
        assert_eq!(Short48::new(i64::MIN).get(), -Short48::MAX);
    }

    #[test]
    fn neighbouring_addresses_spread_over_all_places_and_tags() {
        let seed = Seed::new(1);
        for base in [0xffff_cb00_7100u128, 0x2001_0db8 << 96] {
            let hashes = (0..4096u128).map(|host| seed.hash(base + host));
            let mut places = [0u32; 256];
            let mut tags = [0u32; 128];
            for hash in hashes {
                places[hash as usize & 255] += 1;
                tags[(hash >> 57) as usize] += 1;
            }
            assert!(places.iter().all(|&n| n < 64), "{places:?}");
            assert!(tags.iter().all(|&n| n < 128), "{tags:?}");
        }
    }

    #[test]
    fn chance_stays_below_its_bound_and_reaches_all_of_it() {
        let mut chance = Chance::new(5);
        let mut seen = [false; 7];
        for _ in 0..200 {
            seen[chance.below(7) as usize] = true;
        }
        assert_eq!(seen, [true; 7]);
    }
}
