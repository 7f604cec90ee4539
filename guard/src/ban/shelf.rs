//! Bans whose targets have keys of one type, in as few bytes as they need.

use std::ops::{Bound, RangeBounds};

use super::cause::CauseId;
use super::ends::Ends;
use super::walk::Marks;
use super::{BanId, BanRef};
use crate::dense::{Dense, Key, Record, Seed, Short48, TargetKey};
use crate::sighting::Points;
use crate::target::Target;
use crate::time::Moment;

/// A ban: 32 bytes for an IPv4 host, 48 for any other target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slim<K> {
    key: K,
    /// Who decided and why.
    pub(super) cause: CauseId,
    score: Points,
    id: Short48,
    since: Short48,
    until: Short48,
    /// The strike, and in the lowest bit whether a person decided.
    strike: u16,
}

const _: () = assert!(size_of::<Slim<crate::dense::Host4>>() == 32);
const _: () = assert!(size_of::<Slim<Target>>() == 48);

/// `until` of a ban without end.
const NEVER: i64 = Short48::MAX;

impl<K: Key> Slim<K> {
    pub(super) fn new(key: K, cause: CauseId, ban: BanRef<'_>) -> Self {
        Self {
            key,
            cause,
            score: ban.score,
            id: Short48::new(i64::try_from(ban.id.0).unwrap_or(i64::MAX)),
            since: Short48::new(ban.since.0),
            until: Short48::new(ban.until.map_or(NEVER, |until| until.0.min(NEVER - 1))),
            strike: (ban.strike.min(u32::from(u16::MAX >> 1)) as u16) << 1
                | u16::from(ban.origin.is_manual()),
        }
    }

    pub(super) const fn id(&self) -> BanId {
        BanId(self.id.get() as u64)
    }

    pub(super) const fn since(&self) -> Moment {
        Moment(self.since.get())
    }

    pub(super) fn until(&self) -> Option<Moment> {
        self.ends().map(Moment)
    }

    pub(super) const fn score(&self) -> Points {
        self.score
    }

    pub(super) const fn strike(&self) -> u32 {
        (self.strike >> 1) as u32
    }

    /// When it ends, if it does.
    fn ends(&self) -> Option<i64> {
        Some(self.until.get()).filter(|&until| until != NEVER)
    }

    /// Its place in the order of eviction, if it may be evicted: bans of feeds go first, those without end last.
    fn evictable(&self) -> Option<i64> {
        let place = if self.id() == BanId::FEED { i64::MIN } else { self.until.get() };
        (self.strike & 1 == 0).then_some(place)
    }
}

impl<K: Key> Record for Slim<K> {
    type Key = K;

    #[inline]
    fn key(&self) -> K {
        self.key
    }
}

/// Bans by key, and which of them end first.
#[derive(Debug)]
pub(super) struct Shelf<K> {
    bans: Dense<Slim<K>>,
    ending: Ends<K>,
    evictable: Ends<K>,
    marks: Marks,
}

impl<K: TargetKey> Shelf<K> {
    pub(super) fn new() -> Self {
        Self {
            bans: Dense::new(Seed::random()),
            ending: Ends::new(),
            evictable: Ends::asleep(),
            marks: Marks::default(),
        }
    }

    pub(super) fn bans(&self) -> &[Slim<K>] {
        self.bans.records()
    }

    pub(super) fn get(&self, key: K) -> Option<&Slim<K>> {
        self.bans.get(key)
    }

    /// The ban of a key is asked for soon, or put: what is needed for that is brought near.
    pub(super) fn expect(&self, key: K) {
        self.bans.expect(key);
    }

    pub(super) fn insert(&mut self, ban: Slim<K>) -> Option<Slim<K>> {
        let old = self.bans.insert(ban);
        let Self { bans, ending, evictable, marks } = self;
        if old.is_none() {
            // Whoever adds a ban tells the kernel of it.
            marks.set(bans.len() - 1);
        }
        if let Some(moment) = ban.ends() {
            ending.note(moment, ban.key, bans.len(), || ordered(bans, Slim::ends));
        }
        if let Some(moment) = ban.evictable() {
            evictable.note(moment, ban.key, bans.len(), || ordered(bans, Slim::evictable));
        }
        old
    }

    pub(super) fn remove(&mut self, key: K) -> Option<Slim<K>> {
        if self.marks.are_taken() {
            let place = self.bans.place(key)?;
            self.marks.moved(self.bans.len() - 1, place);
        }
        self.bans.remove(key)
    }

    /// Makes room for so many more bans.
    pub(super) fn reserve(&mut self, more: usize) {
        self.bans.reserve(more);
    }

    /// Notes of which bans were met.
    pub(super) const fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The ban of a key, which is marked as met.
    pub(super) fn meet(&self, key: K) -> Option<&Slim<K>> {
        let place = self.bans.place(key)?;
        self.marks.set(place);
        Some(&self.bans()[place])
    }

    /// The ban that ends first, and when.
    pub(super) fn first_to_end(&mut self) -> Option<(Moment, K)> {
        let Self { bans, ending, .. } = self;
        first(bans, ending, Slim::ends)
    }

    /// The ban to evict first, and when it would end.
    pub(super) fn first_to_evict(&mut self) -> Option<(Moment, K)> {
        let Self { bans, evictable, .. } = self;
        first(bans, evictable, Slim::evictable)
    }

    /// The first `limit` bans after a target, in the order of targets.
    pub(super) fn page(&self, after: Option<Target>, limit: usize) -> Vec<&Slim<K>> {
        let range = (after.map_or(Bound::Unbounded, K::after), Bound::Unbounded);
        let mut page: Vec<_> =
            self.bans().iter().map(|ban| ban.key).filter(|key| range.contains(key)).collect();
        if limit < page.len() {
            page.select_nth_unstable(limit);
            page.truncate(limit);
        }
        page.sort_unstable();
        page.into_iter().filter_map(|key| self.get(key)).collect()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bans.bytes() + self.ending.bytes() + self.evictable.bytes() + self.marks.bytes()
    }
}

/// Reads a ban's place in an order, `None` if it has none.
type Order<K> = fn(&Slim<K>) -> Option<i64>;

fn ordered<K: Key>(bans: &Dense<Slim<K>>, order: Order<K>) -> impl Iterator<Item = (i64, K)> {
    bans.records().iter().filter_map(move |ban| Some((order(ban)?, ban.key)))
}

fn first<K: Key>(bans: &Dense<Slim<K>>, ends: &mut Ends<K>, order: Order<K>) -> Option<(Moment, K)> {
    let current = |moment, key| bans.get(key).is_some_and(|ban| order(ban) == Some(moment));
    ends.peek(bans.len(), current, || ordered(bans, order)).map(|(moment, key)| (Moment(moment), key))
}
