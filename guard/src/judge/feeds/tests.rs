//! Whatever comes meanwhile, the table follows the lists, and the kernel never opens a gap.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::feed::tests::{addresses, target};
use crate::judge::Asker;
use crate::protect::Protection;
use crate::scan::{FilterSet, Mode};
use crate::store::{Snapshot, StoredEvent, Write};
use crate::time::{Moment, Wall};

const NAMES: [&str; 2] = ["first", "second"];

/// A judge with a kernel that does as it is told.
struct Scene {
    judge: Judge,
    kernel: BTreeMap<Target, Option<Moment>>,
    clock: Clock,
    lists: BTreeMap<&'static str, List>,
    /// Addresses that have been listed and free since the table last followed all lists.
    steady: BTreeSet<IpAddr>,
    told: Vec<StoredEvent>,
}

impl Scene {
    fn new(max_bans: usize) -> Self {
        let mut config = Config::default();
        config.decide.max_bans = max_bans;
        let filters = Arc::new(FilterSet::compile(&[], Mode::Normal).unwrap());
        let clock = Clock { moment: Moment(1_000_000), wall: Wall(1_700_000_000_000) };
        let protection = Protection::new(&config.allow, clock);
        let mut judge = Judge::new(&config, filters, protection, &Snapshot::default(), 1, clock);
        judge.sync_allowed(clock);
        let mut scene = Self {
            judge,
            kernel: BTreeMap::new(),
            clock,
            lists: BTreeMap::new(),
            steady: BTreeSet::new(),
            told: Vec::new(),
        };
        scene.settle();
        scene
    }

    fn set(&mut self, name: &'static str, listed: impl IntoIterator<Item = Target>) {
        let list: List = listed.into_iter().collect();
        self.judge.set_feed(name, Arc::new(list.clone()));
        self.lists.insert(name, list);
        self.settle();
    }

    fn follow(&mut self) {
        while self.judge.is_following() {
            self.judge.follow_feeds(3, self.clock);
            self.settle();
        }
        self.steady = addresses().filter(|address| self.is_wanted(*address)).collect();
    }

    fn is_wanted(&self, address: IpAddr) -> bool {
        let is_protected = self.judge.allowed.iter().any(|known| known.covers(address));
        !is_protected && self.lists.values().any(|list| list.covering(address).is_some())
    }

    fn pass(&mut self, time: Duration) {
        self.clock.moment = self.clock.moment + time;
        self.clock.wall = Wall(self.clock.wall.0 + time.as_millis() as i64);
        self.judge.expire(self.clock);
        self.judge.expire_protections(self.clock);
        self.settle();
    }

    fn ban(&mut self, target: Target, length: Duration) {
        let asker = Asker { uid: 0, from: BTreeSet::new(), force: false };
        let _ = self.judge.ban(target, Some(length), None, &asker, self.clock);
        self.settle();
    }

    /// Brings the changes about one by one, and looks after each whether all is as it must be.
    fn settle(&mut self) {
        let lists = &self.lists;
        let allowed = &self.judge.allowed;
        self.steady.retain(|address| {
            lists.values().any(|list| list.covering(*address).is_some())
                && !allowed.iter().any(|known| known.covers(*address))
        });
        let outcome = std::mem::take(self.judge.outcome());
        for change in outcome.changes {
            match change {
                Change::Ban { target, until, .. } => {
                    self.kernel.insert(target, until);
                }
                Change::Unban(target) => {
                    self.kernel.remove(&target);
                }
                Change::Allow(_) | Change::Disallow(_) => {}
            }
            for address in &self.steady {
                let drops = self.kernel.keys().any(|target| target.covers(*address));
                assert!(drops, "a gap for {address} after {change:?}");
            }
        }
        for write in outcome.writes {
            if let Write::Event(event) = &write {
                self.told.push(event.clone());
            }
            assert!(
                !matches!(write, Write::Ban(ban) if ban.origin.starts_with("feed:")),
                "it is kept as a list"
            );
        }
        let table: BTreeMap<_, _> = self.judge.bans.iter().map(|ban| (ban.target, ban.until)).collect();
        assert_eq!(self.kernel, table);
        for target in self.kernel.keys() {
            assert!(!self.judge.allowed.iter().any(|known| known.overlaps(*target)), "{target} is protected");
        }
    }

    /// What feeds have banned.
    fn of_feeds(&self) -> Vec<String> {
        let all = self.judge.bans.iter().filter(|ban| ban.origin.is_feed());
        let mut all: Vec<_> = all.map(|ban| ban.target).collect();
        all.sort();
        all.iter().map(Target::to_string).collect()
    }
}

fn parsed(texts: &[&str]) -> Vec<Target> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_listed_target_that_has_a_ban_of_its_own_gets_the_feeds_ban_afterwards() {
    let mut scene = Scene::new(1000);
    let listed = parsed(&["203.0.113.7", "203.0.113.9"]);
    scene.ban(listed[0], Duration::from_secs(60));
    scene.set("first", listed.clone());
    scene.follow();
    assert_eq!(scene.of_feeds(), ["203.0.113.9"]);
    scene.ban(listed[1], Duration::from_secs(60));
    assert_eq!(scene.of_feeds(), [] as [&str; 0]);
    assert!(scene.judge.bans.get(listed[1]).unwrap().until.is_some(), "the person's end holds");
    scene.pass(Duration::from_secs(61));
    assert_eq!(scene.of_feeds(), ["203.0.113.7", "203.0.113.9"]);
    let said = scene.judge.unban(listed[0], 0, scene.clock).unwrap_err();
    assert!(said.contains("feed first") && said.contains("guardctl allow add 203.0.113.7"), "{said}");
    assert_eq!(scene.judge.unban_all(0, scene.clock), 0);
}

#[test]
fn what_is_allowed_is_cut_out_and_comes_back() {
    let mut scene = Scene::new(1000);
    scene.set("first", parsed(&["203.0.113.0/29"]));
    scene.follow();
    let owner = parsed(&["203.0.113.5"]);
    scene.judge.allow(&owner, Some(Duration::from_secs(60)), "", 0, scene.clock);
    scene.settle();
    assert_eq!(scene.of_feeds(), ["203.0.113.0/30", "203.0.113.4", "203.0.113.6/31"]);
    scene.pass(Duration::from_secs(61));
    assert_eq!(scene.of_feeds(), ["203.0.113.0/29"]);
}

#[test]
fn a_full_table_keeps_what_it_has() {
    let mut scene = Scene::new(1000);
    let own = |n: u32| Target::host(std::net::Ipv4Addr::from_bits(0x5000_0000 + n).into());
    for n in 0..999 {
        scene.ban(own(n), Duration::from_secs(60));
    }
    scene.set("first", parsed(&["203.0.113.7", "203.0.113.9"]));
    scene.follow();
    assert_eq!(scene.of_feeds(), ["203.0.113.7"]);
    assert_eq!(scene.judge.feed_count("first").no_room, 1);
    assert_eq!(scene.judge.count().evicted, 0);
}

#[test]
fn bans_of_feeds_make_room_for_those_of_filters_and_come_back() {
    let mut scene = Scene::new(10);
    let listed = |n: u32| Target::host(std::net::Ipv4Addr::from_bits(0xcb00_7100 + n).into());
    scene.set("first", (0..20).map(listed));
    scene.follow();
    // Not all have room, so some that are listed are not banned.
    scene.steady.clear();
    assert_eq!(scene.judge.feed_count("first").no_room, 10);
    let own = |n: u32| Target::host(std::net::Ipv4Addr::from_bits(0x5000_0000 + n).into());
    let ban = |n| Ban {
        id: BanId(u64::from(n) + 1),
        target: own(n),
        since: Moment(1_000_000),
        until: Some(Moment(1_060_000)),
        origin: Origin::Filter("sshd".into()),
        score: Points(0),
        strike: 1,
        reason: "".into(),
    };
    for n in 0..4 {
        scene.judge.insert(ban(n), scene.clock);
        scene.settle();
    }
    assert!((0..4).all(|n| scene.judge.bans.get(own(n)).is_some()), "none makes the one before go");
    assert_eq!((scene.of_feeds().len(), scene.judge.feed_count("first").no_room), (6, 14));
    scene.pass(Duration::from_secs(61));
    scene.judge.try_again_for_room();
    scene.follow();
    assert_eq!((scene.of_feeds().len(), scene.judge.feed_count("first").no_room), (10, 10));
}

/// What a part of a round finds, however a ban that comes between two parts takes the room of a listed one: behind the
/// place the round has come to, before it, or of the list that is being replaced.
#[test]
fn a_listed_target_whose_ban_makes_room_during_a_round_is_counted_once() {
    let listed = |n: u32| Target::host(std::net::Ipv4Addr::from_bits(0xcb00_7100 + n).into());
    for (parts, old) in [(0, 0..10), (1, 0..10), (2, 0..10), (0, 20..30), (2, 20..30)] {
        let mut scene = Scene::new(10);
        scene.set("first", old.clone().map(listed));
        scene.follow();
        scene.set("first", (0..10).map(listed));
        for _ in 0..parts {
            scene.judge.follow_feeds(3, scene.clock);
            scene.settle();
        }
        scene.steady.clear();
        // Four bans that stay take the room of four that feeds list.
        for n in 0..4 {
            let own = Target::host(std::net::Ipv4Addr::from_bits(0x5000_0000 + n).into());
            scene.ban(own, Duration::from_secs(60));
        }
        scene.follow();
        let no_room = scene.judge.feed_count("first").no_room;
        assert_eq!(no_room, 10 - scene.of_feeds().len() as u64, "{parts} {old:?}");
    }
}

#[test]
fn a_swap_tells_what_it_did_and_nothing_else() {
    let mut scene = Scene::new(1000);
    let listed = parsed(&["203.0.113.7", "203.0.113.9", "203.0.113.16/28"]);
    scene.set("first", listed.clone());
    scene.follow();
    // Between two swaps listed targets lose their ban, and get it back.
    for _ in 0..3 {
        scene.ban(listed[0], Duration::from_secs(60));
        scene.judge.allow(&listed[1..], Some(Duration::from_secs(60)), "", 0, scene.clock);
        scene.settle();
        scene.pass(Duration::from_secs(61));
    }
    scene.told.clear();
    scene.set("first", parsed(&["203.0.113.7", "203.0.113.9", "203.0.113.11"]));
    scene.follow();
    let told: Vec<_> = scene.told.iter().filter(|event| event.kind == "feed").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].detail.contains("\"added\":1") && told[0].detail.contains("\"removed\":1"), "{told:?}");
}

#[test]
fn a_feed_that_bans_no_more_leaves_its_list() {
    let mut scene = Scene::new(1000);
    let listed = parsed(&["203.0.113.7", "203.0.113.9"]);
    scene.set("first", listed.clone());
    scene.follow();
    scene.lists.clear();
    scene.steady.clear();
    let list = scene.judge.drop_feed("first").unwrap();
    assert!(list.iter().eq(listed) && scene.judge.drop_feed("first").is_none());
    scene.follow();
    assert_eq!(scene.of_feeds(), [] as [&str; 0]);
}

#[test]
fn entries_that_an_earlier_list_left_are_not_adopted() {
    use crate::enforce::LiveEntry;
    let mut scene = Scene::new(1000);
    scene.judge.set_left_over(vec![Arc::new(parsed(&["203.0.113.0/24"]).into_iter().collect())]);
    let entry = |text: &str, id, seconds_left| LiveEntry {
        target: text.parse().unwrap(),
        id,
        seconds_left,
        packets: None,
        bytes: None,
    };
    let entries = vec![
        entry("203.0.113.0/24", 0, None),
        entry("203.0.113.128/25", 0, None),
        entry("203.0.113.7", 9, None),
        entry("203.0.113.8", 0, Some(60)),
        entry("198.51.100.7", 0, None),
    ];
    assert_eq!(scene.judge.adopt(entries, scene.clock), 3);
    let mut adopted: Vec<_> = scene.judge.bans.iter().map(|ban| ban.target.to_string()).collect();
    adopted.sort();
    assert_eq!(adopted, ["198.51.100.7", "203.0.113.7", "203.0.113.8"]);
}

#[derive(Clone, Debug)]
enum Step {
    Set(usize, Vec<Target>),
    Drop(usize),
    Follow(usize),
    FollowAll,
    Allow(Target, u64),
    Disallow(Target),
    Ban(Target, u64),
    Unban(Target),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..2usize, prop::collection::vec(target(), 0..20)).prop_map(|(feed, list)| Step::Set(feed, list)),
        1 => (0..2usize).prop_map(Step::Drop),
        3 => (1..6usize).prop_map(Step::Follow),
        1 => Just(Step::FollowAll),
        2 => (target(), 1..90u64).prop_map(|(target, seconds)| Step::Allow(target, seconds)),
        1 => target().prop_map(Step::Disallow),
        2 => (target(), 1..90u64).prop_map(|(target, seconds)| Step::Ban(target, seconds)),
        1 => target().prop_map(Step::Unban),
        2 => (1..60u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_table_follows_the_lists_without_a_gap(steps in prop::collection::vec(step(), 0..40)) {
        let mut scene = Scene::new(100_000);
        for step in steps {
            match step {
                Step::Set(feed, list) => scene.set(NAMES[feed], list),
                Step::Drop(feed) => {
                    scene.judge.drop_feed(NAMES[feed]);
                    scene.lists.remove(NAMES[feed]);
                    scene.settle();
                }
                Step::Follow(limit) => {
                    scene.judge.follow_feeds(limit, scene.clock);
                    scene.settle();
                }
                Step::FollowAll => scene.follow(),
                Step::Allow(target, seconds) => {
                    scene.judge.allow(&[target], Some(Duration::from_secs(seconds)), "", 0, scene.clock);
                    scene.settle();
                }
                Step::Disallow(target) => {
                    let _ = scene.judge.disallow(target, 0, scene.clock);
                    scene.judge.sync_allowed(scene.clock);
                    scene.settle();
                }
                Step::Ban(target, seconds) => scene.ban(target, Duration::from_secs(seconds)),
                Step::Unban(target) => {
                    let _ = scene.judge.unban(target, 0, scene.clock);
                    scene.settle();
                }
                Step::Pass(seconds) => scene.pass(Duration::from_secs(seconds)),
            }
        }
        scene.follow();
        let own: BTreeSet<Target> =
            scene.judge.bans.iter().filter(|ban| !ban.origin.is_feed()).map(|ban| ban.target).collect();
        let mut wanted: BTreeSet<Target> = scene
            .lists
            .values()
            .flat_map(List::iter)
            .flat_map(|listed| cut(listed, &scene.judge.allowed).targets(listed))
            .collect();
        wanted.retain(|target| !own.contains(target));
        let wanted: Vec<String> = wanted.iter().map(Target::to_string).collect();
        prop_assert_eq!(scene.of_feeds(), wanted);
        for ban in scene.judge.bans.iter() {
            if let Origin::Feed(name) = ban.origin {
                prop_assert!(scene.lists[&**name].covering(ban.target.address()).is_some(), "{name} lists {}", ban.target);
            }
        }
    }
}
