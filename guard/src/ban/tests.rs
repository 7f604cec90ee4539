//! The table against what it must mean, and against a naive one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;

use super::{Ban, BanId, BanTable, Origin};
use crate::sighting::Points;
use crate::target::Target;
use crate::time::Moment;

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn ban(text: &str, until: Option<i64>) -> Ban {
    Ban {
        id: BanId(1),
        target: target(text),
        since: Moment(-5),
        until: until.map(Moment),
        origin: Origin::Filter("sshd".into()),
        score: Points(5200),
        strike: 2,
        reason: "sshd: 5 points in 10 minutes".into(),
    }
}

fn manual(text: &str, until: Option<i64>) -> Ban {
    Ban { origin: Origin::Manual(0), ..ban(text, until) }
}

fn targets(bans: &[Ban]) -> Vec<String> {
    bans.iter().map(|ban| ban.target.to_string()).collect()
}

#[test]
fn what_goes_in_comes_out() {
    let mut table = BanTable::new();
    let long = Moment(4_000_000_000_000);
    for text in ["203.0.113.7", "203.0.113.0/24", "2001:db8::1", "2001:db8::/64", "0.0.0.0/0", "::/0"] {
        for until in [None, Some(7), Some(long.0)] {
            let ban = Ban { id: BanId(1 << 40), ..manual(text, until) };
            table.set(ban.clone());
            assert_eq!(table.get(ban.target).unwrap().to_ban(), ban);
        }
    }
    assert_eq!(table.len(), 6);
    assert_eq!(table.remove(target("2001:db8::/64")).unwrap().until, Some(long));
    assert!(table.remove(target("2001:db8::/64")).is_none());
    assert_eq!(table.len(), 5);
}

#[test]
fn a_second_ban_extends_and_never_shortens_unless_set() {
    let mut table = BanTable::new();
    let until = |table: &BanTable| table.get(target("203.0.113.7")).unwrap().until;
    assert_eq!(table.insert(ban("203.0.113.7", Some(10))), None);
    assert_eq!(table.insert(ban("203.0.113.7", Some(20))).unwrap().until, Some(Moment(10)));
    assert_eq!(until(&table), Some(Moment(20)));
    table.insert(ban("203.0.113.7", Some(15)));
    assert_eq!(until(&table), Some(Moment(20)));
    table.insert(ban("203.0.113.7", None));
    table.insert(ban("203.0.113.7", Some(30)));
    assert_eq!(until(&table), None);
    table.set(ban("203.0.113.7", Some(5)));
    assert_eq!(until(&table), Some(Moment(5)));
    assert_eq!(table.len(), 1);
}

#[test]
fn covering_answers_the_host_and_every_prefix() {
    let mut table = BanTable::new();
    for text in ["203.0.113.7", "203.0.113.0/24", "203.0.0.0/16", "198.51.100.0/24", "2001:db8::/64", "::/0"]
    {
        table.insert(ban(text, None));
    }
    let covering = |address: &str| -> Vec<String> {
        table.covering(address.parse().unwrap()).map(|ban| ban.target.to_string()).collect()
    };
    assert_eq!(covering("203.0.113.7"), ["203.0.113.7", "203.0.113.0/24", "203.0.0.0/16"]);
    assert_eq!(covering("::ffff:203.0.113.8"), ["203.0.113.0/24", "203.0.0.0/16"]);
    assert_eq!(covering("2001:db8::5"), ["2001:db8::/64", "::/0"]);
    assert!(covering("192.0.2.1").is_empty());
}

#[test]
fn bans_end_in_order_and_at_most_so_many_at_once() {
    let mut table = BanTable::new();
    for (text, until) in [("192.0.2.3", 30), ("192.0.2.0/28", 20), ("192.0.2.1", 10), ("2001:db8::1", 40)] {
        table.insert(ban(text, Some(until)));
    }
    table.insert(ban("192.0.2.9", None));
    assert_eq!(table.next_expiry(), Some(Moment(10)));
    assert!(table.expired(Moment(9), 10).is_empty());
    assert_eq!(targets(&table.expired(Moment(30), 2)), ["192.0.2.1", "192.0.2.0/28"]);
    assert_eq!(targets(&table.expired(Moment(30), 2)), ["192.0.2.3"]);
    assert_eq!(table.next_expiry(), Some(Moment(40)));
    assert_eq!(targets(&table.expired(Moment(i64::MAX), 9)), ["2001:db8::1"]);
    assert_eq!((table.next_expiry(), table.len()), (None, 1));
}

#[test]
fn room_is_made_by_the_ban_that_ends_first_but_never_by_a_manual_one() {
    let mut table = BanTable::new();
    table.insert(manual("192.0.2.1", Some(10)));
    table.insert(ban("192.0.2.2", Some(30)));
    table.insert(ban("192.0.2.0/24", Some(20)));
    table.insert(ban("192.0.2.4", None));
    let evicted: Vec<_> = std::iter::from_fn(|| table.evict()).collect();
    assert_eq!(targets(&evicted), ["192.0.2.0/24", "192.0.2.2", "192.0.2.4"]);
    table.insert(ban("192.0.2.6", Some(60)));
    table.insert(ban("192.0.2.5", Some(50)));
    assert_eq!(table.evict().unwrap().target, target("192.0.2.5"));
    assert_eq!(table.len(), 2);
}

#[test]
fn bans_are_counted_by_who_decided_them() {
    let mut table = BanTable::new();
    table.insert(ban("192.0.2.1", None));
    table.insert(ban("2001:db8::/48", None));
    table.insert(manual("192.0.2.2", None));
    table.insert(manual("192.0.2.1", None));
    table.remove(target("192.0.2.2"));
    let counts: Vec<_> = table.counts().map(|(origin, n)| (origin.is_manual(), n.ipv4, n.ipv6)).collect();
    assert_eq!(counts, [(false, 0, 1), (true, 1, 0)]);
}

#[test]
fn identities_are_not_given_twice() {
    let mut table = BanTable::new();
    assert_eq!((table.next_id(), table.next_id()), (BanId(1), BanId(2)));
    table.reserve_ids(BanId(10));
    table.insert(Ban { id: BanId(20), ..ban("192.0.2.1", None) });
    table.reserve_ids(BanId(15));
    assert_eq!(table.next_id(), BanId(21));
}

/// Equal ends are the rule, not the exception: a permanent ladder, a list with one end, a restored batch. Each must
/// cost what any other ban costs.
#[test]
fn any_number_of_bans_may_end_at_once() {
    for until in [Some(10), None] {
        let mut table = BanTable::new();
        let started = std::time::Instant::now();
        for i in 0..300_000u32 {
            let target = Target::host(IpAddr::from(i.to_be_bytes()));
            table.insert(Ban { target, ..ban("192.0.2.1", until) });
            if i % 1000 == 0 {
                table.next_expiry();
                table.evict();
            }
        }
        let length = table.len();
        let mut ended = 0;
        while until.is_some() && ended < length {
            ended += table.expired(Moment(10), 4096).len();
        }
        assert_eq!(table.len(), if until.is_some() { 0 } else { length });
        // A quadratic table took minutes; this is seconds even without optimisation on a busy machine.
        assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
    }
}

/// A million bans, as a flood of many sources leaves them.
fn million() -> BanTable {
    let mut table = BanTable::new();
    for i in 0..1_000_000u32 {
        let address = IpAddr::from(i.wrapping_mul(0x9e37_79b1).to_be_bytes());
        let until = Some(Moment(i64::from(i.wrapping_mul(0x85eb_ca6b) % 2_592_000) * 1000));
        let id = table.next_id();
        table.insert(Ban { id, target: Target::host(address), until, ..ban("192.0.2.1", None) });
    }
    table
}

#[test]
fn a_million_bans_fit_into_little_memory_and_page_in_order() {
    let mut table = million();
    assert_eq!(table.len(), 1_000_000);
    assert!(table.bytes() < 56 << 20, "{} bytes", table.bytes());

    let mut after = None;
    let mut count = 0;
    loop {
        let page: Vec<_> = table.page(after, 150_000).iter().map(|ban| ban.target).collect();
        assert!(page.is_sorted() && page.first().is_none_or(|first| Some(first) > after.as_ref()));
        count += page.len();
        match page.last() {
            Some(last) => after = Some(*last),
            None => break,
        }
    }
    assert_eq!(count, 1_000_000);

    let mut last = Moment(0);
    for _ in 0..10 {
        let over = table.expired(Moment(i64::MAX), 20_000);
        assert!(over.iter().is_sorted_by_key(|ban| ban.until));
        assert!(over[0].until.unwrap() >= last);
        last = over.last().unwrap().until.unwrap();
    }
    assert_eq!(table.len(), 800_000);
    assert!(table.iter().all(|ban| ban.until.unwrap() >= last));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Ban),
    Set(Ban),
    Remove(Target),
    Expire(i64, usize),
    Evict,
}

fn any_target() -> impl Strategy<Value = Target> {
    let v4 = (0..64u32, 24..=32u8)
        .prop_map(|(host, length)| Target::prefix(IpAddr::from((0xc000_0200 + host).to_be_bytes()), length));
    let host4 =
        (0..64u32).prop_map(|host| Target::prefix(IpAddr::from((0xc000_0200 + host).to_be_bytes()), 32));
    let v6 = (0..8u128, 60..=128u8).prop_map(|(host, length)| {
        Target::prefix(IpAddr::from((0x2001_0db8 << 96 | host).to_be_bytes()), length)
    });
    prop_oneof![host4, v4, v6].prop_map(|target| target.unwrap())
}

fn any_ban() -> impl Strategy<Value = Ban> {
    let reason = prop::sample::select(vec!["one", "two", "three"]);
    (any_target(), prop::option::of(0..1000i64), any::<bool>(), reason, 1..99u64).prop_map(
        |(target, until, by_hand, reason, id)| Ban {
            id: BanId(id),
            target,
            until: until.map(Moment),
            origin: if by_hand { Origin::Manual(7) } else { Origin::Filter("f".into()) },
            reason: reason.into(),
            ..ban("192.0.2.1", None)
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any_ban().prop_map(Step::Insert),
        2 => any_ban().prop_map(Step::Set),
        3 => any_target().prop_map(Step::Remove),
        1 => (0..1000i64, 0..9usize).prop_map(|(now, limit)| Step::Expire(now, limit)),
        1 => Just(Step::Evict),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_table_equals_a_naive_one(steps in prop::collection::vec(any_step(), 0..300)) {
        let mut table = BanTable::new();
        let mut naive: BTreeMap<Target, Ban> = BTreeMap::new();
        let end = |ban: &Ban| ban.until.map_or(i64::MAX, |until| until.0);
        for step in steps {
            match step {
                Step::Insert(ban) => {
                    let old = naive.get(&ban.target).cloned();
                    let later = old.as_ref().filter(|old| end(old) > end(&ban)).map_or(ban.until, |old| old.until);
                    naive.insert(ban.target, Ban { until: later, ..ban.clone() });
                    prop_assert_eq!(table.insert(ban), old);
                }
                Step::Set(ban) => {
                    prop_assert_eq!(table.set(ban.clone()), naive.insert(ban.target, ban));
                }
                Step::Remove(target) => {
                    prop_assert_eq!(table.remove(target), naive.remove(&target));
                }
                Step::Expire(now, limit) => {
                    let over = table.expired(Moment(now), limit);
                    let due = naive.values().filter(|ban| end(ban) <= now).count();
                    prop_assert_eq!(over.len(), due.min(limit));
                    let rest_from = over.iter().map(end).max().unwrap_or(i64::MIN);
                    for ban in over {
                        prop_assert_eq!(naive.remove(&ban.target), Some(ban));
                    }
                    prop_assert!(limit == 0 || naive.values().all(|ban| end(ban) >= rest_from));
                }
                Step::Evict => {
                    let first = naive.values().filter(|ban| !ban.origin.is_manual()).map(end).min();
                    let evicted = table.evict();
                    prop_assert_eq!(evicted.as_ref().map(end), first);
                    if let Some(ban) = evicted {
                        prop_assert_eq!(naive.remove(&ban.target), Some(ban));
                    }
                }
            }
            prop_assert_eq!(table.len(), naive.len());
            prop_assert_eq!(table.next_expiry(), naive.values().filter_map(|ban| ban.until).min());
        }
        let all: Vec<_> = table.page(None, usize::MAX).into_iter().map(super::BanRef::to_ban).collect();
        let expected: Vec<_> = naive.values().cloned().collect();
        prop_assert_eq!(&all, &expected);
        let mut unordered: Vec<_> = table.iter().map(super::BanRef::to_ban).collect();
        unordered.sort_by_key(|ban| ban.target);
        prop_assert_eq!(&unordered, &expected);

        let mut paged = Vec::new();
        while let page = table.page(paged.last().map(|ban: &Ban| ban.target), 3) && !page.is_empty() {
            prop_assert!(page.len() <= 3);
            paged.extend(page.into_iter().map(super::BanRef::to_ban));
        }
        prop_assert_eq!(paged, expected);

        for host in 0..70u32 {
            let address = IpAddr::from((0xc000_0200 + host).to_be_bytes());
            let covering: Vec<_> = table.covering(address).map(|ban| ban.target).collect();
            let mut expected: Vec<_> = naive.keys().copied().filter(|target| target.covers(address)).collect();
            expected.sort_by_key(|target| std::cmp::Reverse(target.length()));
            prop_assert_eq!(covering, expected);
        }
        let [ipv4, ipv6] = [true, false].map(|v4| naive.keys().filter(|t| t.address().is_ipv4() == v4).count());
        let counted = table.counts().fold((0, 0), |sum, (_, n)| (sum.0 + n.ipv4, sum.1 + n.ipv6));
        prop_assert_eq!(counted, (ipv4 as u64, ipv6 as u64));
    }
}
