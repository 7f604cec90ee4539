//! What people ask for, and what of it holds: with a kernel that takes every change.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::ban::{Ban, BanId, Origin};
use crate::config::Allow;
use crate::enforce::LiveEntry;
use crate::engine::KeptScore;
use crate::scan::{FilterFile, Mode};
use crate::sighting::Points;
use crate::store::{Memory, Store as _};
use crate::time::Wall;

mod clocks;
mod logins;
mod names;
mod overtaken;
mod prefixes;
#[cfg(feature = "sqlite")]
mod restart;

const START: Clock = Clock { wall: Wall(1_800_000_000_000), moment: Moment(1_000_000) };

fn after(seconds: i64) -> Clock {
    Clock { wall: Wall(START.wall.0 + seconds * 1000), moment: Moment(START.moment.0 + seconds * 1000) }
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn asker(from: Option<&str>, force: bool) -> Asker {
    Asker { uid: 0, from: from.iter().map(|text| text.parse().unwrap()).collect(), force }
}

/// One filter, of a service that people log in to with keys.
fn filters() -> Arc<FilterSet> {
    let text =
        "identifiers = [\"sshd\"]\n[[pattern]]\nkind = \"key-login\"\ntext = 'in <address>'\n".to_owned();
    let file = FilterFile { name: "sshd".into(), path: "sshd.toml".into(), text, shipped: false };
    Arc::new(FilterSet::compile(&[file], Mode::Normal).unwrap())
}

/// A judge, what the kernel lets pass and drops, and the store.
struct World {
    judge: Judge,
    config: Config,
    allowed: Vec<Target>,
    banned: Vec<Target>,
    store: Memory,
}

impl World {
    fn new(allowed: &[&str]) -> Self {
        let targets = allowed.iter().map(|text| target(text).into()).collect();
        let config = Config { allow: Allow { targets, ..Allow::default() }, ..Config::default() };
        Self::start(config, Memory::new(), START)
    }

    fn start(config: Config, mut store: Memory, clock: Clock) -> Self {
        let protection = Protection::new(&config.allow, clock);
        let mut judge = Judge::new(&config, filters(), protection, &store.snapshot().unwrap(), 7, clock);
        let mut bans = Vec::new();
        store.bans(clock.wall, &mut |chunk| (bans.extend(chunk), true).1).unwrap();
        let restored = judge.restore(&bans, 0, clock);
        judge.restored();
        let mut world = Self { judge, config, allowed: Vec::new(), banned: Vec::new(), store };
        world.bring_about(restored);
        world.judge.sync_allowed(clock);
        world.settle();
        world
    }

    fn bring_about(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Ban { target, .. } => self.banned.push(target),
                Change::Unban(target) => self.banned.retain(|banned| *banned != target),
                Change::Allow(target) => self.allowed.push(target),
                Change::Disallow(target) => self.allowed.retain(|allowed| *allowed != target),
            }
        }
    }

    /// How many events of a kind have lined up.
    fn events(&mut self, kind: &str) -> usize {
        let is_one = |write: &&Write| matches!(write, Write::Event(event) if event.kind == kind);
        self.judge.outcome().writes.iter().filter(is_one).count()
    }

    fn settle(&mut self) {
        let Outcome { changes, writes, .. } = std::mem::take(self.judge.outcome());
        self.bring_about(changes);
        self.store.write(&writes).unwrap();
    }

    /// What the kernel does: a ban hits, and no allowance covers the source.
    fn drops(&self, address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        let covers = |target: &Target| target.covers(address);
        self.banned.iter().any(covers) && !self.allowed.iter().any(covers)
    }

    fn ban(&mut self, text: &str, asker: &Asker, clock: Clock) -> Said {
        let said = self.judge.ban(target(text), Some(Duration::from_secs(3600)), None, asker, clock);
        self.settle();
        said
    }

    fn last_event(&mut self) -> StoredEvent {
        self.store.events(&crate::store::EventQuery::default()).unwrap().events.swap_remove(0).event
    }
}

#[test]
fn a_forced_ban_goes_past_what_is_allowed_and_nothing_else_does() {
    let mut world = World::new(&["203.0.113.0/24"]);
    let said = world.ban("203.0.113.7", &asker(None, false), START).unwrap_err();
    assert!(said.contains("allowed by the configuration"), "{said}");
    let said = world.ban("203.0.113.7", &asker(None, true), START).unwrap();
    assert!(said.contains("although 203.0.113.7 is allowed by the configuration"), "{said}");
    assert!(world.drops("203.0.113.7"));
    assert!(world.allowed.iter().any(|allowed| allowed.covers("203.0.113.8".parse().unwrap())));
    let event = world.last_event();
    assert!(event.kind == "ban" && event.detail.contains("forced past"), "{event:?}");

    // Private ranges give way too, and prefixes that lie across an allowance.
    world.ban("10.1.0.0/16", &asker(None, true), START).unwrap();
    world.ban("203.0.112.0/23", &asker(None, true), START).unwrap();
    assert!(world.drops("10.1.2.3") && world.drops("203.0.113.99") && !world.drops("10.2.0.1"));
}

#[test]
fn force_never_covers_loopback_or_the_askers_own_session() {
    let mut world = World::new(&[]);
    let own = asker(Some("198.51.100.9"), true);
    for text in ["127.0.0.1", "::1", "0.0.0.0/0", "::/0", "198.51.100.9", "198.51.100.0/24"] {
        world.ban(text, &own, START).unwrap_err();
        let event = world.last_event();
        assert!(event.kind == "refuse" && event.detail.contains("\"force\":true"), "{event:?}");
    }
    assert!(world.banned.is_empty());
}

#[test]
fn a_forced_ban_holds_over_a_restart_a_reload_and_what_is_protected_later() {
    let mut world = World::new(&["203.0.113.0/24"]);
    world.ban("203.0.113.7", &asker(None, true), START).unwrap();
    let mut world = World::start(world.config, world.store, after(10));
    assert!(world.drops("203.0.113.7") && !world.drops("203.0.113.8"));
    assert_eq!(world.judge.bans().get(target("203.0.113.7")).unwrap().origin, &Origin::Forced(0));

    world.config.allow.targets.push(target("203.0.0.0/16").into());
    world.judge.configure(&world.config.clone(), after(20));
    assert_eq!(world.judge.sync_allowed(after(20)), []);
    world.settle();
    assert!(world.drops("203.0.113.7"));

    // Its end gives the hole back.
    world.judge.expire(after(4000));
    world.settle();
    assert!(world.banned.is_empty());
    assert!(world.allowed.iter().any(|allowed| allowed.covers("203.0.113.7".parse().unwrap())));
}

#[test]
fn a_forced_ban_that_only_the_kernel_knows_is_adopted_as_one() {
    let mut world = World::new(&["203.0.113.0/24"]);
    world.ban("203.0.113.7", &asker(None, true), START).unwrap();
    let forced = world.judge.bans().get(target("203.0.113.7")).unwrap().id;
    world.ban("192.0.2.7", &asker(None, false), START).unwrap();
    let plain = world.judge.bans().get(target("192.0.2.7")).unwrap().id;
    assert!(forced.is_forced() && !plain.is_forced() && plain.number() == forced.number() + 1);

    // The store is lost. What the kernel holds of loopback, or beside what was forced, is nobody's ban.
    let mut world = World::start(world.config, Memory::new(), after(10));
    let entry = |text: &str, id: BanId| LiveEntry {
        target: target(text),
        id: id.0,
        seconds_left: Some(600),
        packets: None,
        bytes: None,
    };
    let entries = vec![entry("203.0.113.7", forced), entry("203.0.113.8", plain), entry("127.0.0.1", forced)];
    assert_eq!(world.judge.adopt(entries, after(11)), 1);
    world.settle();
    assert!(world.drops("203.0.113.7") && !world.drops("203.0.113.8"));
    let ban = world.judge.bans().get(target("203.0.113.7")).unwrap().to_ban();
    assert!(ban.origin.is_forced() && ban.id.is_forced() && ban.until == Some(after(611).moment), "{ban:?}");
    assert_eq!(world.last_event().kind, "adopt");
    // It is one in the store as well, and gives way to a person's later word.
    let mut world = World::start(world.config, world.store, after(20));
    assert!(world.drops("203.0.113.7"));
    world.judge.unban(target("203.0.113.7"), 0, after(21)).unwrap();
    world.settle();
    assert!(world.banned.is_empty() && world.judge.protection().forced().next().is_none());
}

#[test]
fn a_later_allowance_or_unban_by_hand_lifts_a_forced_ban() {
    let mut world = World::new(&["203.0.113.0/24"]);
    world.ban("203.0.113.7", &asker(None, true), START).unwrap();
    let said = world.judge.allow(&[target("203.0.113.7")], None, "sorry", 0, after(1));
    world.settle();
    assert!(said[0].as_ref().unwrap().contains("lifted the ban of 203.0.113.7"), "{said:?}");
    assert!(!world.drops("203.0.113.7") && world.judge.bans().is_empty());

    world.ban("203.0.113.9", &asker(None, true), START).unwrap();
    world.judge.unban(target("203.0.113.9"), 0, after(2)).unwrap();
    world.settle();
    assert!(world.allowed.iter().any(|allowed| allowed.covers("203.0.113.9".parse().unwrap())));
}

/// A store with these bans, whose chunk has not been given yet, and the judge of the start after.
fn reading(banned: &[&str], force: bool) -> (World, Vec<crate::store::StoredBan>) {
    let mut world = World::new(&["203.0.113.0/28"]);
    for text in banned {
        world.ban(text, &asker(None, force), START).unwrap();
        world.judge.keep(START);
        world.settle();
    }
    let mut bans = Vec::new();
    world.store.bans(START.wall, &mut |chunk| (bans.extend(chunk), true).1).unwrap();
    let filters = Arc::new(FilterSet::compile(&[], Mode::Normal).unwrap());
    let protection = Protection::new(&world.config.allow, START);
    let snapshot = world.store.snapshot().unwrap();
    world.judge = Judge::new(&world.config, filters, protection, &snapshot, 7, START);
    world.judge.sync_allowed(START);
    world.settle();
    (world, bans)
}

impl World {
    /// The store has given its bans.
    fn read(&mut self, bans: &[crate::store::StoredBan]) {
        let changes = self.judge.restore(bans, 0, START);
        self.bring_about(changes);
        self.settle();
        self.judge.restored();
    }

    /// What a restart finds in the store.
    fn banned_in_store(&mut self) -> Vec<Target> {
        let mut bans = Vec::new();
        self.store.bans(START.wall, &mut |chunk| (bans.extend(chunk), true).1).unwrap();
        bans.into_iter().map(|ban| ban.target).collect()
    }
}

#[test]
fn a_ban_after_an_unban_while_the_store_still_reads_is_kept() {
    for all in [false, true] {
        let (mut world, bans) = reading(&["198.51.100.7", "198.51.100.8"], false);
        if all {
            assert_eq!(world.judge.unban_all(0, START), 0);
        } else {
            world.judge.unban_each(&[target("198.51.100.7"), target("198.51.100.8")], 0, START);
        }
        world.ban("198.51.100.7", &asker(None, false), START).unwrap();
        world.read(&bans);
        assert!(world.judge.bans().get(target("198.51.100.7")).is_some());
        assert_eq!(world.banned_in_store(), [target("198.51.100.7")], "all: {all}");
        assert!(!world.drops("198.51.100.8") && world.drops("198.51.100.7"));
    }
}

#[test]
fn an_unban_while_the_store_still_reads_counts_and_forgives() {
    let (mut world, bans) = reading(&["198.51.100.7", "198.51.100.0/24"], false);
    let strikes =
        |target| crate::engine::Strikes { target, count: 2, last: START.moment, recent: Vec::new() };
    for text in ["198.51.100.7", "198.51.100.0/24"] {
        world.judge.engine.restore_strikes(&strikes(target(text)));
    }
    world.banned = vec![target("198.51.100.7")];
    let said = world.judge.unban(target("198.51.100.7"), 0, START).unwrap();
    assert!(said.contains("does not come back"), "{said}");
    world.settle();
    assert!(!world.drops("198.51.100.7"), "the kernel holds it from the last run");
    assert_eq!(world.last_event().kind, "unban");
    assert_eq!(world.judge.engine.strikes(target("198.51.100.7"), START.moment), 0);
    world.judge.unban_all(0, START);
    world.read(&bans);
    assert!(world.judge.bans().is_empty() && world.banned_in_store().is_empty());
    assert_eq!(world.judge.engine.strikes(target("198.51.100.0/24"), START.moment), 0);
    assert_eq!(world.judge.unban(target("198.51.100.7"), 0, START), Err("is not banned".into()));
}

#[test]
fn an_allowance_while_the_store_still_reads_holds_against_a_forced_ban() {
    let (mut world, bans) = reading(&["203.0.113.7", "203.0.113.200"], true);
    let _ = world.judge.allow(&[target("203.0.113.7")], None, "", 0, START);
    world.read(&bans);
    assert_eq!(world.banned_in_store(), [target("203.0.113.200")]);
    assert!(!world.drops("203.0.113.7"));
}

#[test]
fn the_whole_set_has_the_pasts_of_offenders() {
    let mut world = World::new(&[]);
    let past = |text, count| crate::engine::Strikes {
        target: target(text),
        count,
        last: START.moment,
        recent: vec![START.moment],
    };
    let pasts = [past("198.51.100.7", 3), past("198.51.100.0/24", 1), past("2001:db8::7", 2)];
    for past in &pasts {
        world.judge.engine.restore_strikes(past);
    }
    world.judge.engine.banned(target("198.51.100.9"), None);
    let mut lost = Memory::new();
    lost.replace(&world.judge.everything(START)).unwrap();
    let kept = lost.snapshot().unwrap().strikes;
    let mut pasts = pasts.map(|past| stored::strikes(&past, START));
    pasts.sort_by_key(|past| past.target);
    assert_eq!(kept, pasts);
}

#[test]
fn bans_of_the_whole_set_share_their_texts() {
    let mut world = World::new(&[]);
    for text in ["198.51.100.7", "198.51.100.8", "198.51.100.9"] {
        world.ban(text, &asker(None, false), START).unwrap();
    }
    let all = world.judge.everything(START);
    let bans: Vec<_> =
        all.iter().filter_map(|write| if let Write::Ban(ban) = write { Some(ban) } else { None }).collect();
    assert_eq!((bans.len(), &*bans[0].origin, &*bans[0].reason), (3, "manual:0", "by hand"));
    assert!(bans.iter().all(|ban| Arc::ptr_eq(&ban.reason, &bans[0].reason)));
    assert!(bans.iter().all(|ban| Arc::ptr_eq(&ban.origin, &bans[0].origin)));
}

#[test]
fn many_prefixes_are_forgiven_in_one_pass() {
    let mut world = World::new(&[]);
    let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(0x0b00_0000 + n));
    for n in 0..100_000 {
        let kept = KeptScore { address: address(n), points: Points(2000), settled: START.moment };
        world.judge.engine.restore_score(&kept, START.moment);
    }
    let prefixes: Vec<Target> = (0..5000).map(|n| Target::prefix(address(n * 16), 28).unwrap()).collect();
    let began = std::time::Instant::now();
    world.judge.unban_each(&prefixes, 0, START);
    world.judge.forget(&prefixes, 0, START);
    // Without optimisation, on a busy machine; a pass for each prefix takes minutes.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(world.judge.engine.tracked(), 20_000);
}

#[test]
fn a_table_that_shrinks_does_so_in_parts() {
    let mut world = World::new(&[]);
    let ban = |n: u32, origin| Ban {
        id: BanId(u64::from(n) + 1),
        target: Target::host(std::net::Ipv4Addr::from(0x0b00_0000 + n).into()),
        since: START.moment,
        until: Some(START.moment + Duration::from_secs(u64::from(n) + 3600)),
        origin,
        score: Points(0),
        strike: 1,
        reason: "".into(),
    };
    for n in 0..5000 {
        world.judge.bans.set(ban(n, Origin::Filter("sshd".into())));
    }
    world.config.decide.max_bans = 1000;
    world.judge.configure(&world.config.clone(), START);
    world.ban("198.51.100.7", &asker(None, false), START).unwrap();
    assert_eq!(world.judge.bans().len(), 4489, "one ban does not wait for all of it");
    for _ in 0..100 {
        if world.judge.next_due() == Some(OVERDUE) {
            world.judge.expire(START);
        }
        assert_eq!(world.events("evict"), 0, "that is what was wanted");
        world.settle();
    }
    assert_eq!(world.judge.bans().len(), 1000);
    assert_ne!(world.judge.next_due(), Some(OVERDUE), "and then it is over");
    assert!(world.judge.bans().get(target("198.51.100.7")).is_some());
    let hour = Some(Duration::from_secs(3600));
    world.judge.ban(target("198.51.100.8"), hour, None, &asker(None, false), START).unwrap();
    assert_eq!(world.events("evict"), 1, "the history tells what became of it");

    // Where nothing may go, nothing is tried on and on.
    let mut world = World::new(&[]);
    for n in 0..10 {
        world.judge.bans.set(ban(n, Origin::Manual(0)));
    }
    world.config.decide.max_bans = 5;
    world.judge.configure(&world.config.clone(), START);
    world.judge.expire(START);
    assert_eq!(world.judge.bans().len(), 10);
    assert_ne!(world.judge.next_due(), Some(OVERDUE));
}

#[test]
fn overlaps_are_vetoed_and_lifted_in_both_directions() {
    let mut world = World::new(&["203.0.113.0/28", "198.51.100.7"]);
    for text in ["203.0.113.3", "203.0.113.0/24", "203.0.113.8/29", "198.51.100.0/24", "0.0.0.0/0"] {
        world.ban(text, &asker(None, false), START).unwrap_err();
    }
    for text in ["192.0.2.7", "192.0.2.128/25", "198.18.0.0/24", "198.18.1.9"] {
        world.ban(text, &asker(None, false), START).unwrap();
    }
    // A reload that allows what lies around a ban, and what lies in one.
    world.config.allow.targets.extend([target("192.0.2.0/24").into(), target("198.18.0.9").into()]);
    world.judge.configure(&world.config.clone(), after(1));
    let lifted = world.judge.sync_allowed(after(1));
    assert_eq!(lifted.len(), 3, "{lifted:?}");
    world.settle();
    assert_eq!(world.banned, [target("198.18.1.9")]);
    // And by hand.
    world.ban("198.18.2.0/24", &asker(None, false), after(2)).unwrap();
    let allowed = [target("198.18.2.77"), target("198.18.1.0/24")];
    let said = world.judge.allow(&allowed, None, "", 0, after(3));
    world.settle();
    assert!(said.iter().all(|said| said.as_ref().unwrap().contains("lifted the ban of")), "{said:?}");
    assert!(world.banned.is_empty());
}

#[test]
fn what_is_inside_a_prefix_is_gathered_in_parts_the_worst_first() {
    const PART: usize = 1000;
    let mut world = World::new(&[]);
    let host = |n: u32| IpAddr::V4((0x1000_0000 + n).into());
    let ban = |target: Target, score: i32| Ban {
        id: BanId(1),
        target,
        since: START.moment,
        until: Some(after(60).moment),
        origin: Origin::Manual(0),
        score: Points(score),
        strike: 1,
        reason: "".into(),
    };
    for n in 0..50_000 {
        world.judge.bans.set(ban(Target::host(host(n * 2)), (n % 977) as i32));
    }
    world.judge.bans.set(ban(target("16.0.0.0/8"), 9000));
    world.judge.bans.set(ban(target("16.0.3.0/24"), 9000));
    for n in 0..20_000 {
        let kept = KeptScore { address: host(n * 3), points: Points(1000), settled: START.moment };
        world.judge.engine.restore_score(&kept, START.moment);
    }

    let gather = |world: &mut World, prefix: &str, change: &dyn Fn(&mut Judge)| {
        let mut within = Within::new(target(prefix), 100, &world.judge);
        let mut steps = 0;
        while within.step(&world.judge, PART, START.moment) {
            steps += 1;
            if steps == 20 {
                change(&mut world.judge);
            }
        }
        (within.finish(), steps)
    };
    // Each step looks at a part; the bans are one more than 51 parts hold, the sources 20.
    let ((all, count), steps) = gather(&mut world, "16.0.0.0/8", &|_| {});
    assert_eq!((steps, count), (71, 50_001 + 10_000), "every other source has a ban");
    assert!(all.len() == 100 && all.iter().all(Inside::is_banned));
    assert_eq!(all[0].target, target("16.0.3.0/24"), "the prefix itself is not inside");
    assert!(all.is_sorted_by_key(|inside| -inside.score().0));

    // Hosts 4 to 7, of which 4 and 6 are banned, and points were given to 6.
    let ((few, count), _) = gather(&mut world, "16.0.0.4/30", &|_| {});
    let few: Vec<String> = few.iter().map(|inside| inside.target.to_string()).collect();
    assert_eq!((few, count), (vec!["16.0.0.6".to_owned(), "16.0.0.4".to_owned()], 2));
    let ((three, _), _) = gather(&mut world, "16.0.0.8/29", &|_| {});
    let scored: Vec<_> = three.iter().filter(|inside| !inside.is_banned()).collect();
    assert_eq!(scored.iter().map(|inside| inside.score()).collect::<Vec<_>>(), [Points(1000); 2]);

    // What goes meanwhile moves others: each that stays is met.
    let ((few, _), _) = gather(&mut world, "16.0.0.0/28", &|judge| {
        for n in 20_000..40_000 {
            judge.bans.remove(Target::host(host(n * 2)));
        }
    });
    assert_eq!(few.iter().filter(|inside| inside.is_banned()).count(), 8);
}
