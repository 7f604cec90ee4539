//! The sources that have a score, or a trail, in bounded memory.
//!
//! When the table is full, a newcomer takes the place of the lowest of a few sources drawn by lot: of the fewest points
//! and guesses. The worst offenders, fast or slow, stay as long as the draw holds anybody with fewer, which in a flood
//! of newcomers is nearly always, and the cost does not grow with the table.

use std::net::IpAddr;
use std::ops::Range;

use super::score::{Leak, Score};
use super::trail::Trail;
use crate::dense::{Chance, Dense, Key, Record, Seed};
use crate::time::Moment;

/// Sources drawn to find one that makes room.
pub(super) const DRAW: usize = 8;

/// Guesses of a day that keep a source from making room as a point does each.
const GUESSES: u16 = 10;

/// An address as sixteen bytes, IPv4 as IPv4-mapped IPv6.
#[inline]
pub(super) const fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => 0xffff << 32 | v4.to_bits() as u128,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address of [`address_bits`].
pub(super) const fn address_of(bits: u128) -> IpAddr {
    IpAddr::V6(std::net::Ipv6Addr::from_bits(bits)).to_canonical()
}

/// A source: a line of a processor's cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Source {
    address: u128,
    /// Its points.
    pub(super) score: Score,
    /// What is remembered of it besides.
    pub(super) trail: Trail,
}

const _: () = assert!(size_of::<Source>() == 64);

impl Key for u128 {
    #[inline]
    fn hash(self, seed: Seed) -> u64 {
        seed.hash(self)
    }
}

impl Record for Source {
    type Key = u128;

    #[inline]
    fn key(&self) -> u128 {
        self.address
    }
}

/// The sources that have done something lately.
#[derive(Debug)]
pub(super) struct Sources {
    all: Dense<Source>,
    max: usize,
    chance: Chance,
    /// Where the search for sources whose score has leaked away goes on.
    sweep: usize,
    /// Sources whose score may have changed since the last call of [`Self::changed`], if anybody asks for them.
    changed: Option<Vec<u128>>,
    /// Sources forgotten to make room although they had a score, or had guessed within a day.
    pub(super) evicted: u64,
}

impl Sources {
    /// A table for at most `max` sources.
    pub(super) fn new(max: usize, seed: Seed, chance: Chance) -> Self {
        Self { all: Dense::new(seed), max: max.max(1), chance, sweep: 0, changed: None, evicted: 0 }
    }

    /// Number of sources.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.all.bytes()
    }

    /// The source of an address.
    pub(super) fn get(&self, address: IpAddr) -> Option<&Source> {
        self.all.get(address_bits(address))
    }

    /// The source of an address, to be changed.
    pub(super) fn get_mut(&mut self, address: IpAddr) -> Option<&mut Source> {
        let key = address_bits(address);
        self.note_changed(key);
        self.all.get_mut(key)
    }

    /// Where the source of an address ([`address_bits`]) is; a new one if there is none. It stays there until another is
    /// added or one is forgotten.
    #[inline]
    pub(super) fn find(&mut self, address: u128, at: Moment, leak: Leak) -> usize {
        let place = match self.all.place(address) {
            Some(place) => place,
            None => self.add(address, at, leak),
        };
        self.note_changed(address);
        place
    }

    /// The source at a place that [`Self::find`] has answered.
    #[inline]
    pub(super) fn at_mut(&mut self, place: usize) -> &mut Source {
        self.all.at_mut(place)
    }

    /// The source of an address is asked for soon.
    #[inline]
    pub(super) fn expect(&self, address: u128) {
        self.all.expect(address);
    }

    /// Every source's score.
    pub(super) fn scores(&self) -> impl Iterator<Item = (IpAddr, Score)> {
        self.all.records().iter().map(|source| (address_of(source.address), source.score))
    }

    /// The scores of the sources in these places, below [`Self::len`]; places behind hold none. A source that goes leaves
    /// its place to the last one.
    pub(super) fn scores_in(&self, places: Range<usize>) -> impl Iterator<Item = (IpAddr, Score)> {
        let records = self.all.records();
        let end = places.end.min(records.len());
        let sources = records[places.start.min(end)..end].iter();
        sources.map(|source| (address_of(source.address), source.score))
    }

    /// Every source's trail.
    pub(super) fn trails(&self) -> impl Iterator<Item = (IpAddr, Trail)> {
        let sources = self.all.records().iter().filter(|source| !source.trail.is_blank());
        sources.map(|source| (address_of(source.address), source.trail))
    }

    /// From here on [`Self::changed`] is asked.
    pub(super) fn follow(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// The scores that changed since the last call, `None` where one was forgotten. Each address comes once.
    pub(super) fn changed(&mut self) -> Vec<(IpAddr, Option<Score>)> {
        let Some(mut changed) = self.changed.replace(Vec::new()) else { return Vec::new() };
        changed.sort_unstable();
        changed.dedup();
        changed
            .into_iter()
            .map(|key| (address_of(key), self.all.get(key).map(|source| source.score)))
            .collect()
    }

    /// Takes from every score what has leaked up to a moment: from then on it may leak otherwise.
    pub(super) fn settle(&mut self, now: Moment, leak: Leak) {
        for place in 0..self.all.len() {
            let source = self.all.at_mut(place);
            if source.score.points().0 > 0 {
                source.score.settle(now, leak);
                let key = source.address;
                self.note_changed(key);
            }
        }
    }

    /// Holds at most `max` sources from now on.
    pub(super) fn resize(&mut self, max: usize, at: Moment, leak: Leak) {
        self.max = max.max(1);
        while self.all.len() > self.max {
            self.evict(at, leak);
        }
    }

    /// Forgets the sources that `doomed` names.
    pub(super) fn forget(&mut self, doomed: impl Fn(IpAddr) -> bool) {
        let keys = self.all.records().iter().map(Record::key);
        let doomed: Vec<_> = keys.filter(|&key| doomed(address_of(key))).collect();
        for key in doomed {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: u128) {
        self.all.remove(key);
        self.note_changed(key);
    }

    #[inline]
    fn note_changed(&mut self, key: u128) {
        if let Some(changed) = &mut self.changed
            && changed.last() != Some(&key)
        {
            changed.push(key);
        }
    }

    #[cold]
    #[inline(never)]
    fn add(&mut self, address: u128, at: Moment, leak: Leak) -> usize {
        self.sweep(at, leak);
        if self.all.len() >= self.max {
            self.evict(at, leak);
        }
        self.all.insert(Source { address, score: Score::empty(at), trail: Trail::default() });
        self.all.len() - 1
    }

    /// Looks at two sources and forgets those of which nothing is left: as many go as come.
    fn sweep(&mut self, at: Moment, leak: Leak) {
        for _ in 0..2 {
            if self.sweep >= self.all.len() {
                self.sweep = 0;
            }
            match self.all.records().get(self.sweep) {
                Some(source) if source.score.at(at, leak).0 == 0 && source.trail.is_over(at) => {
                    let key = source.key();
                    self.remove(key);
                }
                _ => self.sweep += 1,
            }
        }
    }

    fn evict(&mut self, at: Moment, leak: Leak) {
        let sources = self.all.records();
        let draw = std::array::from_fn::<_, DRAW, _>(|_| self.chance.below(sources.len() as u64) as usize);
        let rank = |place: &usize| {
            let Source { score, trail, .. } = &sources[*place];
            // Who guesses slowly has no points, and is to be known by his guesses.
            let guesses = i32::from(trail.guesses_at(at).min(GUESSES)) * 1000;
            (score.at(at, leak).0.saturating_add(guesses), score.settled())
        };
        if let Some(place) = draw.into_iter().min_by_key(rank) {
            let source = sources[place];
            let (lost, _) = rank(&place);
            self.evicted += u64::from(lost > 0);
            self.remove(source.key());
        }
    }
}
