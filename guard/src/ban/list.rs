//! Lists of bans: chosen, sorted and in pages, gathered in parts between which the table may change.

use std::cmp::Ordering;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{BanRef, BanTable, Walk};
use crate::target::Target;
use crate::time::{Clock, Moment};

/// Which bans are listed, and in which order. Without any wish: all of them, in the order of their targets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BanQuery {
    /// Of this origin: a filter's name, or `manual`.
    pub origin: Option<String>,
    /// Of this family.
    pub family: Option<Family>,
    /// Of targets that lie in this one.
    pub within: Option<Target>,
    /// That end within so many seconds.
    pub ends_within: Option<u64>,
    /// Without an end.
    pub permanent: bool,
    /// In their target's so many-th strike, or a later one.
    pub strike: Option<u32>,
    /// The order.
    pub sort: Sort,
    /// Whether the last comes first.
    pub reverse: bool,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// What bans are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// The target, IPv4 first.
    #[default]
    Target,
    /// When it began.
    Since,
    /// When it ends; those without an end last.
    Until,
    /// The score that led to it.
    Score,
    /// The strike.
    Strike,
}

/// A place in a sorted list: how the next page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// What the order goes by, as a number.
    rank: i64,
    target: Target,
}

impl Place {
    /// The place of a target in a list that is sorted by targets.
    pub const fn of(target: Target) -> Self {
        Self { rank: 0, target }
    }

    /// The target there.
    pub const fn target(self) -> Target {
        self.target
    }
}

impl BanQuery {
    /// Whether it is for all bans in the order of their targets, which needs no list to be gathered.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    fn wants(&self, ban: &BanRef<'_>, clock: Clock) -> bool {
        let is_of = |family| ban.target.address().is_ipv4() == (family == Family::Ipv4);
        let lies_in =
            |wide: Target| wide.length() <= ban.target.length() && wide.covers(ban.target.address());
        let ends =
            |seconds: u64| ban.until.is_some_and(|until| until.since(clock.moment).as_secs() < seconds);
        self.origin.as_ref().is_none_or(|origin| ban.origin.name() == origin)
            && self.family.is_none_or(is_of)
            && self.within.is_none_or(lies_in)
            && self.ends_within.is_none_or(ends)
            && (!self.permanent || ban.until.is_none())
            && self.strike.is_none_or(|least| ban.strike >= least)
    }

    fn place(&self, ban: &BanRef<'_>) -> Place {
        let rank = match self.sort {
            Sort::Target => 0,
            Sort::Since => ban.since.0,
            Sort::Until => ban.until.map_or(i64::MAX, |Moment(until)| until),
            Sort::Score => ban.score.0.into(),
            Sort::Strike => ban.strike.into(),
        };
        Place { rank, target: ban.target }
    }

    fn order(&self, one: &Place, other: &Place) -> Ordering {
        let order = one.cmp(other);
        if self.reverse { order.reverse() } else { order }
    }
}

/// A page of a list that is being gathered.
#[derive(Debug)]
pub struct Listing {
    query: BanQuery,
    after: Option<Place>,
    limit: usize,
    clock: Clock,
    walk: Walk,
    /// The first bans so far, and some more.
    found: Vec<Place>,
}

impl Listing {
    /// Begins with the page of at most `limit` bans after a place.
    pub fn new(query: BanQuery, after: Option<Place>, limit: usize, table: &BanTable, clock: Clock) -> Self {
        Self { query, after, limit: limit.max(1), clock, walk: table.walk(), found: Vec::new() }
    }

    /// Looks at the next bans, at most `part`. Whether there are more.
    pub fn step(&mut self, table: &BanTable, part: usize) -> bool {
        let Self { query, after, limit, clock, walk, found } = self;
        let Some(bans) = table.part(walk, part) else { return false };
        for (ban, _) in bans {
            if !query.wants(&ban, *clock) {
                continue;
            }
            let place = query.place(&ban);
            if after.is_some_and(|after| query.order(&place, &after) != Ordering::Greater) {
                continue;
            }
            found.push(place);
            if found.len() >= *limit * 2 {
                found.select_nth_unstable_by(*limit - 1, |one, other| query.order(one, other));
                found.truncate(*limit);
            }
        }
        true
    }

    /// The page, and where the next one begins unless this is the last.
    pub fn finish(self, table: &BanTable) -> (Vec<BanRef<'_>>, Option<Place>) {
        let Self { query, mut found, limit, .. } = self;
        found.sort_unstable_by(|one, other| query.order(one, other));
        // One that moved while it was gone through may have been met twice.
        found.dedup();
        found.truncate(limit);
        let next = if found.len() == limit { found.last().copied() } else { None };
        (found.into_iter().filter_map(|place| table.get(place.target)).collect(), next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Ban, BanId, Origin};
    use super::*;
    use crate::sighting::Points;
    use crate::time::Wall;

    const NOW: Clock = Clock { wall: Wall(0), moment: Moment(0) };

    fn ban(n: u32) -> Ban {
        let targets = ["203.0.113.0/28", "2001:db8::/64"];
        let target = match n % 7 {
            5 | 6 => targets[n as usize % 7 - 5].parse().unwrap(),
            _ if n.is_multiple_of(3) => Target::host(std::net::Ipv6Addr::from(u128::from(n) << 64).into()),
            _ => Target::host(std::net::Ipv4Addr::from(0x0b00_0000 + n).into()),
        };
        Ban {
            id: BanId(u64::from(n) + 1),
            target,
            since: Moment(i64::from(n * 37 % 11)),
            until: (!n.is_multiple_of(4)).then_some(Moment(i64::from(n * 13 % 17) * 1000)),
            origin: if n.is_multiple_of(5) { Origin::Manual(0) } else { Origin::Filter("sshd".into()) },
            score: Points((n * 7 % 5) as i32 * 1000),
            strike: n % 4,
            reason: "because".into(),
        }
    }

    fn table(bans: u32) -> BanTable {
        let mut table = BanTable::new();
        for n in 0..bans {
            table.set(ban(n));
        }
        table
    }

    /// All pages of a list.
    fn pages(table: &BanTable, query: &BanQuery, limit: usize, part: usize) -> Vec<Target> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let mut listing = Listing::new(query.clone(), after, limit, table, NOW);
            while listing.step(table, part) {}
            let (page, next) = listing.finish(table);
            assert!(page.len() <= limit);
            all.extend(page.iter().map(|ban| ban.target));
            match next {
                Some(_) => after = next,
                None => return all,
            }
        }
    }

    /// The same by sorting all of it.
    fn naively(table: &BanTable, query: &BanQuery) -> Vec<Target> {
        let mut all: Vec<_> = table
            .iter()
            .filter(|ban| query.wants(ban, NOW))
            .map(|ban| (query.place(&ban), ban.target))
            .collect();
        all.sort_by(|one, other| query.order(&one.0, &other.0));
        all.into_iter().map(|(_, target)| target).collect()
    }

    fn queries() -> impl Strategy<Value = BanQuery> {
        let sorts = Sort::value_variants();
        let choice = (
            prop_oneof![Just(None), Just(Some("sshd".to_owned())), Just(Some("manual".to_owned()))],
            prop_oneof![Just(None), Just(Some(Family::Ipv4)), Just(Some(Family::Ipv6))],
            prop_oneof![Just(None), Just(Some("11.0.0.0/26")), Just(Some("::/0"))],
            prop_oneof![Just(None), (0u64..20).prop_map(Some)],
            any::<bool>(),
            prop_oneof![Just(None), (0u32..4).prop_map(Some)],
        );
        (choice, proptest::sample::select(sorts), any::<bool>()).prop_map(|(choice, sort, reverse)| {
            let (origin, family, within, ends_within, permanent, strike) = choice;
            let within = within.map(|text| text.parse().unwrap());
            BanQuery { origin, family, within, ends_within, permanent, strike, sort, reverse }
        })
    }

    proptest! {
        #[test]
        fn pages_are_what_sorting_all_of_it_gives(
            query in queries(), bans in 0u32..120, limit in 1usize..50, part in 1usize..60,
        ) {
            let table = table(bans);
            prop_assert_eq!(pages(&table, &query, limit, part), naively(&table, &query));
        }

        #[test]
        fn what_stays_is_listed_once_while_the_table_changes(part in 1usize..20, gone in 0u32..100) {
            let mut table = table(100);
            let query = BanQuery { sort: Sort::Score, ..BanQuery::default() };
            let mut listing = Listing::new(query.clone(), None, 1000, &table, NOW);
            listing.step(&table, part);
            table.remove(ban(gone).target);
            while listing.step(&table, part) {}
            let listed: Vec<Target> = listing.finish(&table).0.iter().map(|ban| ban.target).collect();
            prop_assert_eq!(listed, naively(&table, &query));
        }
    }

    #[test]
    fn each_wish_is_heard() {
        let table = table(100);
        let count = |query: BanQuery| pages(&table, &query, 1000, 1000).len();
        let all = BanQuery::default();
        assert!(all.is_plain());
        assert_eq!(count(all.clone()), table.len());
        let manual = BanQuery { origin: Some("manual".into()), ..all.clone() };
        assert!(!manual.is_plain());
        assert_eq!(count(manual), table.iter().filter(|ban| ban.origin.is_manual()).count());
        let within = |text: &str| BanQuery { within: Some(text.parse().unwrap()), ..all.clone() };
        assert_eq!(count(within("203.0.113.0/24")), 1);
        assert_eq!(count(within("203.0.113.0/28")), 1);
        assert_eq!(count(within("203.0.113.0/29")), 0, "a wider ban does not lie in it");
        let permanent = BanQuery { permanent: true, ..all.clone() };
        assert_eq!(count(permanent), table.iter().filter(|ban| ban.until.is_none()).count());
        let soon = BanQuery { ends_within: Some(3), ..all };
        let ends = |ban: &BanRef<'_>| ban.until.is_some_and(|until| until < Moment(3000));
        assert_eq!(count(soon), table.iter().filter(ends).count());
    }
}
