//! Prefixes that hosts lead to: those that wait for the end of a storm, and those that are one too many.

use serde_json::json;

use super::*;
use crate::sighting::{Kind, PatternId, Sighting, SourceId};
use crate::store::EventQuery;

impl World {
    /// Ten hosts of an IPv4 prefix fail until each is banned.
    fn crowd(&mut self, prefix: [u8; 3], clock: Clock) {
        for host in 0..10 {
            self.fail([prefix[0], prefix[1], prefix[2], host], clock);
        }
    }

    /// A host fails until it is banned.
    fn fail(&mut self, address: [u8; 4], clock: Clock) {
        for pid in 1..=5 {
            let failure = Sighting {
                at: None,
                address: address.into(),
                kind: Kind::FailedPassword,
                points: Kind::FailedPassword.default_points(),
                pattern: PatternId::default(),
                pid,
                port: 0,
                account: None,
                service: b"sshd",
                request: None,
                line: b"a line",
            };
            self.judge.sighting(&failure, SourceId(0), Voucher::Kernel, clock);
        }
        self.settle();
    }

    /// The events of a kind, the oldest first: what they are about, and their detail.
    fn told(&mut self, kind: &str) -> Vec<(Option<Target>, Value)> {
        let query = EventQuery { kinds: vec![kind.into()], limit: 1000, ..EventQuery::default() };
        let events = self.store.events(&query).unwrap().events;
        let told = |kept: &crate::store::KeptEvent| {
            (kept.event.target, serde_json::from_str(&kept.event.detail).unwrap())
        };
        events.iter().rev().map(told).collect()
    }
}

#[test]
fn a_storm_is_told_of_and_so_is_what_it_holds_back() {
    let mut world = World::new(&[]);
    for host in 0..20 {
        world.fail([198, 18, host, 1], START);
    }
    world.crowd([203, 0, 113], after(1));
    let until = Wall(START.wall.0 + 301_000);
    assert_eq!(
        world.told("storm"),
        [(None, json!({ "begins": true, "until": Wall(START.wall.0 + 300_000).to_string() }))]
    );
    let held = world.told("hold");
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(held[0].0, Some(target("203.0.113.0/24")));
    assert!(held[0].1["because"].as_str().unwrap().contains("waits"), "{held:?}");
    assert_eq!((world.judge.count().storms, world.judge.count().held), (1, 1));
    assert!(world.drops("203.0.113.9") && !world.drops("203.0.113.99"), "hosts are banned, the prefix waits");

    assert_eq!(world.judge.next_due(), Some(after(301).moment), "each ban of it makes it longer");
    world.judge.expire(after(301));
    world.settle();
    assert_eq!(world.told("storm")[1], (None, json!({ "begins": false, "held": 1, "unheld": 0 })));
    assert!(world.drops("203.0.113.99"), "until {until}");
}

#[test]
fn no_more_prefixes_are_banned_than_may_be_at_once() {
    let mut config = Config::default();
    (config.decide.prefix_most, config.decide.storm_bans) = (2, 0);
    let mut world = World::start(config, Memory::new(), START);
    for net in 0..3 {
        world.crowd([198, 18, net], START);
    }
    assert!(world.drops("198.18.1.99") && !world.drops("198.18.2.99"), "{:?}", world.banned);
    assert!(world.drops("198.18.2.9"), "its hosts are banned all the same");
    let refused = world.told("refuse");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].0, Some(target("198.18.2.0/24")));
    assert_eq!(refused[0].1["because"], "2 prefixes are banned already (decide.prefix_most)");
    assert_eq!(world.judge.count().refused, 1);
    assert_eq!(world.judge.engine().strikes(target("198.18.2.0/24"), START.moment), 0, "no strike");

    // One has ended: there is room for another.
    let later = after(2 * 86_400);
    world.judge.expire(later);
    world.settle();
    world.crowd([198, 18, 2], later);
    assert!(world.drops("198.18.2.99"));
}
