//! The ban table: the desired state, small enough that a million bans fit into a small server.
//!
//! About 45 bytes for each ban of an IPv4 host, its index included. There is no ordered index: a page in target
//! order is selected by one pass over the bans, and what ends first is found by [`super::ends`].

use std::net::IpAddr;

use super::cause::{ByFamily, Causes};
use super::shelf::{Shelf, Slim};
use super::walk::{self, Walk};
use super::{Ban, BanId, BanRef, Origin};
use crate::dense::{Host4, TargetKey};
use crate::target::{Target, canonical};
use crate::time::Moment;

/// The desired set of bans, at most one for each target.
#[derive(Debug)]
pub struct BanTable {
    hosts4: Shelf<Host4>,
    /// IPv6 hosts, and prefixes of both families.
    others: Shelf<Target>,
    causes: Causes,
    /// How many bans of `others` have each length of prefix: by family, IPv4 first.
    lengths: [[u32; 129]; 2],
    last_id: u64,
}

impl Default for BanTable {
    fn default() -> Self {
        Self::new()
    }
}

impl BanTable {
    /// A table without bans.
    pub fn new() -> Self {
        Self {
            hosts4: Shelf::new(),
            others: Shelf::new(),
            causes: Causes::default(),
            lengths: [[0; 129]; 2],
            last_id: 0,
        }
    }

    /// Number of bans.
    pub fn len(&self) -> usize {
        self.hosts4.bans().len() + self.others.bans().len()
    }

    /// Whether there is no ban.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers of bans by who decided them. An origin stays listed when its last ban has gone.
    pub fn counts(&self) -> impl Iterator<Item = (&Origin, ByFamily)> {
        self.causes.counts()
    }

    /// An identity no ban has had.
    pub fn next_id(&mut self) -> BanId {
        self.last_id += 1;
        BanId(self.last_id)
    }

    /// Identities up to this one are taken (the store remembers the highest ever given out).
    pub fn reserve_ids(&mut self, last: BanId) {
        self.last_id = self.last_id.max(last.number());
    }

    /// Bans a target. A ban of the same target is replaced and given back, but its end is kept if it is the later
    /// one: a second ban extends, it never shortens. What holds afterwards is what [`Self::get`] says.
    pub fn insert(&mut self, mut ban: Ban) -> Option<Ban> {
        if let (Some(old), Some(until)) = (self.get(ban.target), ban.until) {
            ban.until = old.until.map(|old| old.max(until));
        }
        self.set(ban)
    }

    /// Bans a target until exactly the end given, even where that is earlier. Gives the ban it had back.
    #[expect(clippy::needless_pass_by_value, reason = "the ban goes into the table, as in `insert`")]
    pub fn set(&mut self, ban: Ban) -> Option<Ban> {
        self.put(ban.view())
    }

    /// As [`Self::set`], of a ban whose texts stay with the caller.
    pub fn put(&mut self, ban: BanRef<'_>) -> Option<Ban> {
        let target = ban.target;
        self.reserve_ids(ban.id);
        let cause = self.causes.take(ban.origin, ban.reason, is_ipv4(target));
        if let Some(key) = Host4::of(target) {
            let old = self.hosts4.insert(Slim::new(key, cause, ban));
            return old.map(|old| self.release(&old));
        }
        let old = self.others.insert(Slim::new(target, cause, ban));
        *self.length_of(target) += 1;
        old.map(|old| {
            *self.length_of(target) -= 1;
            self.release(&old)
        })
    }

    /// Makes room for so many more bans, most of them of IPv4 hosts.
    pub fn reserve(&mut self, more: usize) {
        self.hosts4.reserve(more);
    }

    /// Bans of these targets are asked for soon, or put. Of a large table each would be waited for; asked for ahead of
    /// time, the waits are one.
    pub fn expect(&self, targets: impl Iterator<Item = Target>) {
        for target in targets {
            match Host4::of(target) {
                Some(key) => self.hosts4.expect(key),
                None => self.others.expect(target),
            }
        }
    }

    /// Begins a comparison: no ban has been met.
    pub fn begin_meeting(&self) {
        self.hosts4.marks().begin(self.hosts4.bans().len());
        self.others.marks().begin(self.others.bans().len());
    }

    /// The comparison is over.
    pub fn end_meeting(&self) {
        self.hosts4.marks().end();
        self.others.marks().end();
    }

    /// The ban of exactly this target, which counts as met from here on. Bans that are added meanwhile count as met.
    pub fn meet(&self, target: Target) -> Option<BanRef<'_>> {
        match Host4::of(target) {
            Some(key) => self.hosts4.meet(key).map(|ban| self.view(ban)),
            None => self.others.meet(target).map(|ban| self.view(ban)),
        }
    }

    /// A walk over all bans, from which [`Self::part`] takes its parts.
    pub fn walk(&self) -> Walk {
        Walk { hosts4: self.hosts4.bans().len(), others: self.others.bans().len() }
    }

    /// The next bans of a walk, at most `limit`, with whether each was met; `None` at its end. The table may change
    /// between the parts.
    pub fn part(&self, walk: &mut Walk, limit: usize) -> Option<impl Iterator<Item = (BanRef<'_>, bool)>> {
        let Walk { hosts4, others } = walk;
        if *hosts4 == 0 && *others == 0 {
            return None;
        }
        let hosts4 = walk::part(hosts4, self.hosts4.bans().len(), limit);
        let limit = limit - hosts4.len();
        let others = walk::part(others, self.others.bans().len(), limit);
        let hosts4 = hosts4.map(|at| (self.view(&self.hosts4.bans()[at]), self.hosts4.marks().is_set(at)));
        let others = others.map(|at| (self.view(&self.others.bans()[at]), self.others.marks().is_set(at)));
        Some(hosts4.chain(others))
    }

    /// Lifts the ban of exactly this target and gives it back.
    pub fn remove(&mut self, target: Target) -> Option<Ban> {
        if let Some(key) = Host4::of(target) {
            let old = self.hosts4.remove(key)?;
            return Some(self.release(&old));
        }
        let old = self.others.remove(target)?;
        *self.length_of(target) -= 1;
        Some(self.release(&old))
    }

    /// The ban of exactly this target.
    pub fn get(&self, target: Target) -> Option<BanRef<'_>> {
        match Host4::of(target) {
            Some(key) => self.hosts4.get(key).map(|ban| self.view(ban)),
            None => self.others.get(target).map(|ban| self.view(ban)),
        }
    }

    /// The bans that cover an address: of itself, then of prefixes, widest last.
    pub fn covering(&self, address: IpAddr) -> impl Iterator<Item = BanRef<'_>> {
        let address = canonical(address);
        let (family, width) = if address.is_ipv4() { (0, 32) } else { (1, 128) };
        let present = move |length: &u8| {
            self.lengths[family][usize::from(*length)] > 0 || (*length == 32 && family == 0)
        };
        let lengths = (0..=width).rev().filter(present);
        lengths.filter_map(move |length| self.get(Target::prefix(address, length)?))
    }

    /// All bans, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = BanRef<'_>> {
        let hosts4 = self.hosts4.bans().iter().map(|ban| self.view(ban));
        hosts4.chain(self.others.bans().iter().map(|ban| self.view(ban)))
    }

    /// The first `limit` bans whose targets come after `after`, in the order of targets (IPv4 first). The last
    /// target of a page asks for the next one.
    pub fn page(&self, after: Option<Target>, limit: usize) -> Vec<BanRef<'_>> {
        let hosts4 = self.hosts4.page(after, limit);
        let others = self.others.page(after, limit);
        let mut page: Vec<_> = hosts4.into_iter().map(|ban| self.view(ban)).collect();
        page.extend(others.into_iter().map(|ban| self.view(ban)));
        page.sort_by_key(|ban| ban.target); // two sorted runs: one merge
        page.truncate(limit);
        page
    }

    /// When the first ban ends.
    pub fn next_expiry(&mut self) -> Option<Moment> {
        let hosts4 = self.hosts4.first_to_end().map(|(moment, _)| moment);
        let others = self.others.first_to_end().map(|(moment, _)| moment);
        hosts4.into_iter().chain(others).min()
    }

    /// Takes out up to `limit` bans that are over, in the order they ended in.
    pub fn expired(&mut self, now: Moment, limit: usize) -> Vec<Ban> {
        let mut over = Vec::new();
        while over.len() < limit {
            let hosts4 = self.hosts4.first_to_end();
            let others = self.others.first_to_end();
            match earlier(hosts4, others).filter(|(end, _)| *end <= now) {
                Some((_, target)) => over.extend(self.remove(target)),
                None => break,
            }
        }
        over
    }

    /// Takes out a ban to make room: one of a feed, else the one that ends first. Manual bans are spared, bans without
    /// end go last.
    pub fn evict(&mut self) -> Option<Ban> {
        let hosts4 = self.hosts4.first_to_evict();
        let others = self.others.first_to_evict();
        let (_, target) = earlier(hosts4, others)?;
        self.remove(target)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.hosts4.bytes() + self.others.bytes() + self.causes.bytes()
    }

    fn view<K: TargetKey>(&self, ban: &Slim<K>) -> BanRef<'_> {
        use crate::dense::Record;
        BanRef {
            id: ban.id(),
            target: ban.key().target(),
            since: ban.since(),
            until: ban.until(),
            origin: self.causes.origin_of(ban.cause),
            score: ban.score(),
            strike: ban.strike(),
            reason: self.causes.reason_of(ban.cause),
        }
    }

    /// The ban as a value, once it is out of its shelf.
    fn release<K: TargetKey>(&mut self, ban: &Slim<K>) -> Ban {
        let view = self.view(ban).to_ban();
        self.causes.give_back(ban.cause, is_ipv4(view.target));
        view
    }

    fn length_of(&mut self, target: Target) -> &mut u32 {
        &mut self.lengths[usize::from(!is_ipv4(target))][usize::from(target.length())]
    }
}

/// The earlier of two; the first if they are equal.
fn earlier(hosts4: Option<(Moment, Host4)>, others: Option<(Moment, Target)>) -> Option<(Moment, Target)> {
    let hosts4 = hosts4.map(|(moment, key)| (moment, key.target()));
    match (hosts4, others) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}

fn is_ipv4(target: Target) -> bool {
    target.address().is_ipv4()
}
