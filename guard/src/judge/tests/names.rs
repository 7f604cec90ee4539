//! Names that are allowed, as their answers change.

use super::*;
use crate::config::Allowance;
use crate::protect::names::Answer;
use crate::target::{Allowable, HostName};

const DAY: i64 = 86_400;

fn vpn() -> HostName {
    "vpn.example.org".parse().unwrap()
}

fn answer(addresses: &[&str]) -> Answer {
    Answer::found(addresses.iter().map(|text| text.parse().unwrap()), Duration::from_secs(300))
}

impl World {
    /// A world whose configuration allows a name.
    fn named() -> Self {
        let mut world = Self::new(&[]);
        world.config.allow.targets.push(Allowable::Name(vpn()).into());
        world.judge.configure(&world.config.clone(), START);
        world.settle();
        world
    }

    fn hear(&mut self, answer: &Answer, clock: Clock) -> Vec<Target> {
        let lifted = self.judge.resolved(&vpn(), answer, clock);
        self.settle();
        lifted
    }

    fn lets_pass(&self, address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        self.allowed.iter().any(|allowed| allowed.covers(address))
    }

    fn names(&mut self) -> Vec<(String, i64)> {
        let snapshot = self.store.snapshot().unwrap();
        let row = |one: &crate::store::StoredAddress| (one.address.to_string(), one.seen.0 - START.wall.0);
        snapshot.resolved.iter().map(row).collect()
    }
}

#[test]
fn what_a_name_has_is_protected_and_follows_its_answers() {
    let mut world = World::named();
    world.ban("203.0.113.7", &asker(None, false), START).unwrap();
    world.ban("203.0.113.8", &asker(None, false), START).unwrap();
    world.ban("2001:db8::/32", &asker(None, false), START).unwrap();
    let lifted = world.hear(&answer(&["203.0.113.7", "2001:db8::7"]), after(1));
    assert_eq!(lifted, [target("203.0.113.7"), target("2001:db8::/32")], "also one that lies around it");
    assert!(world.lets_pass("203.0.113.7") && world.lets_pass("2001:db8::7") && world.drops("203.0.113.8"));
    let refused = world.ban("203.0.113.7", &asker(None, false), after(2)).unwrap_err();
    assert!(
        refused
            .contains("203.0.113.7 is an address of the name vpn.example.org, allowed by the configuration"),
        "{refused}"
    );
    world.ban("203.0.113.0/24", &asker(None, false), after(2)).unwrap_err();

    // Another answer: the new address loses its ban, the old one may be banned.
    assert_eq!(world.hear(&answer(&["203.0.113.8"]), after(3)), [target("203.0.113.8")]);
    let events = world.store.events(&crate::store::EventQuery::default()).unwrap().events;
    let told = events.iter().find(|kept| kept.event.kind == "name").unwrap();
    let told: Value = serde_json::from_str(&told.event.detail).unwrap();
    assert_eq!(
        (&told["name"], &told["added"], &told["removed"]),
        (
            &"vpn.example.org".into(),
            &serde_json::json!(["203.0.113.8"]),
            &serde_json::json!(["203.0.113.7", "2001:db8::7"])
        )
    );
    world.ban("203.0.113.7", &asker(None, false), after(4)).unwrap();
    assert!(world.drops("203.0.113.7") && world.lets_pass("203.0.113.8"));
    // An answer that says the same is no event.
    let before = world.store.events(&crate::store::EventQuery::default()).unwrap().events.len();
    world.hear(&answer(&["203.0.113.8"]), after(5));
    assert_eq!(world.store.events(&crate::store::EventQuery::default()).unwrap().events.len(), before);
}

#[test]
fn without_an_answer_the_last_one_holds_for_a_while() {
    let mut world = World::named();
    world.hear(&answer(&["203.0.113.7"]), after(0));
    let gone = Answer::failed("192.0.2.53 does not answer");
    for day in 1..7 {
        world.hear(&gone, after(day * DAY));
        assert!(world.lets_pass("203.0.113.7"), "day {day}");
    }
    let state = &world.judge.protection().name_states(after(6 * DAY).moment)[0];
    assert_eq!((state.failure.as_deref(), state.failures), (Some("192.0.2.53 does not answer"), 6));
    let failures = world.store.events(&crate::store::EventQuery::default()).unwrap().events;
    assert_eq!(failures.iter().filter(|kept| kept.event.detail.contains("failure")).count(), 1, "once");
    // Nobody has to say anything for it to end.
    world.judge.sync_allowed(after(7 * DAY));
    world.settle();
    assert!(!world.lets_pass("203.0.113.7"));
    world.ban("203.0.113.7", &asker(None, false), after(7 * DAY)).unwrap();
    // Of one family something is known, of the other what was known stays.
    world.hear(&answer(&["203.0.113.9", "2001:db8::9"]), after(8 * DAY));
    let mut half = answer(&["203.0.113.10"]);
    half.v6 = Err("late".into());
    world.hear(&half, after(8 * DAY + 1));
    assert!(world.lets_pass("203.0.113.10") && world.lets_pass("2001:db8::9"));
    assert!(!world.lets_pass("203.0.113.9"));
    // A zone that lost the name's addresses is no reason to lock anybody out at once.
    world.hear(&answer(&[]), after(8 * DAY + 2));
    assert!(world.lets_pass("203.0.113.10"));
    let state = &world.judge.protection().name_states(after(8 * DAY + 2).moment)[0];
    assert_eq!(state.failure.as_deref(), Some("the name has no addresses"));
}

#[test]
fn what_nobody_may_allow_is_not_allowed_by_a_name() {
    let mut world = World::named();
    world.hear(&answer(&["127.0.0.1", "0.0.0.0", "224.0.0.1", "::1", "203.0.113.7"]), after(0));
    let state = &world.judge.protection().name_states(START.moment)[0];
    assert_eq!((state.addresses.len(), state.refused.len()), (1, 4));
    // And not without bound.
    let many: Vec<String> = (0..=255).map(|n| format!("203.0.113.{n}")).collect();
    world.hear(&answer(&many.iter().map(String::as_str).collect::<Vec<_>>()), after(1));
    let state = &world.judge.protection().name_states(after(1).moment)[0];
    assert_eq!((state.addresses.len(), state.is_cut), (64, true));
}

#[test]
fn a_restart_without_a_name_server_protects_who_was_known() {
    let mut world = World::named();
    world.hear(&answer(&["203.0.113.7"]), after(0));
    world
        .judge
        .allow_name(&"b.example.org".parse().unwrap(), Some(Duration::from_secs(100)), "c", 7, START)
        .unwrap();
    world.settle();
    // What did not change is written once an hour.
    world.hear(&answer(&["203.0.113.7"]), after(300));
    assert_eq!(world.names(), [("203.0.113.7".into(), 0)]);
    world.hear(&answer(&["203.0.113.7"]), after(3600));
    assert_eq!(world.names(), [("203.0.113.7".into(), 3_600_000)]);

    let mut world = World::start(world.config, world.store, after(4000));
    assert!(world.lets_pass("203.0.113.7"));
    world.ban("203.0.113.7", &asker(None, false), after(4000)).unwrap_err();
    let names = world.judge.protection().names(after(50).moment);
    assert_eq!(names.len(), 2, "{names:?}");
    // The end of what a person allowed is kept, and comes.
    assert_eq!(world.judge.protection().names(after(101).moment).len(), 1);
    world.judge.expire_protections(after(4001));
    world.settle();
    assert_eq!(world.store.snapshot().unwrap().allowed_names, []);
    // The age counts from when it was last heard of.
    let mut world = World::start(world.config, world.store, after(3600 + 7 * DAY));
    assert!(!world.lets_pass("203.0.113.7"));
    // Whom the configuration no longer names is forgotten, at a reload or a start.
    world.config.allow.targets.clear();
    let mut world = World::start(world.config, world.store, after(5000));
    assert_eq!(world.names(), []);
}

#[test]
fn names_are_allowed_and_taken_back_by_hand() {
    let mut world = World::new(&[]);
    let said = world.judge.allow_name(&vpn(), None, "office", 0, START).unwrap();
    assert!(said.contains("asked for"), "{said}");
    world.hear(&answer(&["203.0.113.7"]), after(1));
    let because = world.judge.protection().refusal(target("203.0.113.7"), after(1).moment).unwrap();
    assert!(because.contains("name vpn.example.org, allowed by hand: office"), "{because}");
    world.judge.disallow_name(&vpn(), 0, after(2)).unwrap();
    world.judge.sync_allowed(after(2));
    world.settle();
    assert!(!world.lets_pass("203.0.113.7") && world.names().is_empty());
    world.judge.disallow_name(&vpn(), 0, after(3)).unwrap_err();
    assert_eq!(world.hear(&answer(&["203.0.113.7"]), after(4)), [], "an answer that comes too late");
    assert!(!world.lets_pass("203.0.113.7"));

    // The configuration's has an end, and is not taken back by hand.
    let until = Some(Wall(START.wall.0 + 50_000));
    world.config.allow.targets =
        vec![Allowance { target: Allowable::Name(vpn()), until, comment: String::new() }];
    world.judge.configure(&world.config.clone(), after(5));
    world.hear(&answer(&["203.0.113.7"]), after(6));
    let said = world.judge.disallow_name(&vpn(), 0, after(7)).unwrap_err();
    assert!(said.contains("the configuration allows it"), "{said}");
    assert!(world.lets_pass("203.0.113.7"));
    world.judge.sync_allowed(after(50));
    world.settle();
    assert!(!world.lets_pass("203.0.113.7"));
    assert!(world.judge.protection().names(after(50).moment).is_empty(), "it is asked for no more");

    let name = |n: usize| format!("n{n}.example.org").parse().unwrap();
    for n in 1..crate::config::MAX_NAMES {
        world.judge.allow_name(&name(n), None, "", 0, after(51)).unwrap();
    }
    assert!(world.judge.allow_name(&name(0), None, "", 0, after(51)).unwrap_err().contains("256 names"));
}
