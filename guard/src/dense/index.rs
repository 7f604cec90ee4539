//! Where a record is, by the hash of its key: buckets of one line of a processor's cache, so that a look-up waits for
//! memory once before it comes to the record itself.
//!
//! A place is in the bucket its hash leads to, or, where that was full, in one that follows. Each bucket counts how many
//! had to go on from it, so a search ends where nobody did, and nothing is left behind by what is removed.

use crate::simd::equal_of_16;

/// Places in a bucket.
const WAYS: usize = 12;
/// Of two buckets, places that are taken before the index grows: seven eighths.
const FULL: usize = 21;

/// Finds places by hashes.
#[derive(Debug)]
pub(super) struct Index {
    buckets: Vec<Bucket>,
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Bucket {
    /// Eight bits of the hash of each way, never 0, and 0 if it is free. In the last four bytes, how many went on to the next
    /// bucket.
    head: [u8; 16],
    places: [u32; WAYS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Index {
    /// No places; memory is taken with the first.
    pub(super) const fn new() -> Self {
        Self { buckets: Vec::new() }
    }

    /// The place of a hash that `is_it` accepts.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            if let Some(way) = bucket.ways(tag(hash)).find(|way| is_it(bucket.places[*way])) {
                return Some(bucket.places[way]);
            }
            if bucket.gone_on() == 0 {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// The place of a hash, more likely than not.
    #[inline]
    pub(super) fn guess(&self, hash: u64) -> Option<u32> {
        let bucket = self.buckets.get(self.home(hash))?;
        bucket.ways(tag(hash)).next().map(|way| bucket.places[way])
    }

    /// Adds a place that is not there. [`Self::is_full`] must have been asked.
    pub(super) fn add(&mut self, hash: u64, place: u32) {
        let mut at = self.home(hash);
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(way) = bucket.ways(0).next() {
                (bucket.head[way], bucket.places[way]) = (tag(hash), place);
                return;
            }
            bucket.set_gone_on(bucket.gone_on() + 1);
            at = self.after(at);
        }
    }

    /// Takes a place out that is there.
    pub(super) fn remove(&mut self, hash: u64, place: u32) {
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &mut self.buckets[at];
            if let Some(way) = bucket.way(hash, place) {
                bucket.head[way] = 0;
                return;
            }
            bucket.set_gone_on(bucket.gone_on() - 1);
            at = self.after(at);
        }
    }

    /// What was at one place is at another.
    pub(super) fn moved(&mut self, hash: u64, from: u32, to: u32) {
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &mut self.buckets[at];
            if let Some(way) = bucket.way(hash, from) {
                bucket.places[way] = to;
                return;
            }
            at = self.after(at);
        }
    }

    /// Whether it has to be built anew for so many places.
    #[inline]
    pub(super) fn is_full(&self, places: usize) -> bool {
        places > self.buckets.len() * FULL / 2
    }

    /// Builds it anew, with room for so many places, and for half as many as it had room for besides.
    pub(super) fn rebuild(&mut self, places: usize, hashes: impl Iterator<Item = u64>) {
        let grown = self.buckets.len() * 3 / 2;
        self.buckets = Vec::new();
        self.buckets = vec![Bucket::FREE; grown.max((places * 2).div_ceil(FULL))];
        for (place, hash) in hashes.enumerate() {
            self.add(hash, place as u32);
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    /// The bucket a hash leads to: the low half of the hash as a share of all of them.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        ((u64::from(hash as u32) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 < self.buckets.len() { at + 1 } else { 0 }
    }
}

impl Bucket {
    const FREE: Self = Self { head: [0; 16], places: [0; WAYS] };

    /// The ways with a tag.
    #[inline]
    fn ways(&self, tag: u8) -> impl Iterator<Item = usize> + use<> {
        let mut ways = equal_of_16(&self.head, tag) & ((1 << WAYS) - 1);
        std::iter::from_fn(move || {
            let way = (ways != 0).then(|| ways.trailing_zeros() as usize)?;
            ways &= ways - 1;
            Some(way)
        })
    }

    /// The way of a place.
    fn way(&self, hash: u64, place: u32) -> Option<usize> {
        self.ways(tag(hash)).find(|way| self.places[*way] == place)
    }

    #[inline]
    fn gone_on(&self) -> u32 {
        let [.., a, b, c, d] = self.head;
        u32::from_le_bytes([a, b, c, d])
    }

    fn set_gone_on(&mut self, count: u32) {
        self.head[WAYS..].copy_from_slice(&count.to_le_bytes());
    }
}

/// What is compared before a record is looked at.
#[inline]
fn tag(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::dense::{Chance, Seed};

    #[test]
    fn places_are_found_whatever_came_and_went() {
        // Hashes in all buckets, in a few, and all in one with one tag.
        for (homes, steps) in [(u64::MAX, 40_000), (0x0700_0000_e000_0000, 3000), (0, 300)] {
            let hash = |key: u64| Seed::new(1).hash(key.into()) & homes;
            let (mut index, mut chance) = (Index::new(), Chance::new(2));
            let (mut keys, mut known) = (Vec::new(), HashMap::new());
            for step in 0..steps {
                let key = chance.below(steps / 3);
                let place = index.find(hash(key), |place| keys[place as usize] == key);
                assert_eq!(place, known.get(&key).copied(), "step {step}");
                if let Some(place) = place {
                    let last = keys.len() as u32 - 1;
                    index.remove(hash(key), place);
                    known.remove(&key);
                    if place != last {
                        let moved = keys[last as usize];
                        index.moved(hash(moved), last, place);
                        known.insert(moved, place);
                    }
                    keys.swap_remove(place as usize);
                } else {
                    if index.is_full(keys.len() + 1) {
                        index.rebuild(keys.len() + 1, keys.iter().map(|key| hash(*key)));
                    }
                    index.add(hash(key), keys.len() as u32);
                    known.insert(key, keys.len() as u32);
                    keys.push(key);
                }
            }
            for (place, key) in keys.iter().enumerate() {
                index.remove(hash(*key), place as u32);
            }
            assert!(index.buckets.iter().all(|bucket| bucket.head == [0; 16]));
        }
    }

    #[test]
    fn a_search_ends_where_every_bucket_was_full_once() {
        let mut index = Index::new();
        index.rebuild(22, std::iter::empty());
        let hashes = [0, u64::from(u32::MAX)].map(|home| home | 1 << 56);
        assert_eq!(hashes.map(|hash| index.home(hash)), [0, 2]);
        // Three buckets, each full, with more than one on its way round.
        for place in 0..36 {
            index.add(hashes[place as usize % 2], place);
        }
        for place in 0..36 {
            assert_eq!(index.find(hashes[place as usize % 2], |is| is == place), Some(place));
        }
        assert_eq!(index.find(hashes[0], |_| false), None);
        assert_eq!(index.find(2 << 56, |_| true), None);
    }

    #[test]
    fn it_grows_by_half_and_takes_at_most_nine_bytes_and_a_half_for_a_place() {
        let mut index = Index::new();
        let mut grown = 0;
        for places in 1..100_000 {
            if index.is_full(places) {
                index.rebuild(places, std::iter::empty());
                grown += 1;
            }
            assert!(places < 100 || index.bytes() * 2 < places * 19, "{places}");
        }
        assert!(grown < 30, "{grown}");
    }
}
