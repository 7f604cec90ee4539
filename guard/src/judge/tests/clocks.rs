//! The wall clock is set while guard is down, or while it runs.

use super::*;
use crate::config::Allowance;
use crate::sighting::{Kind, PatternId, Sighting, SourceId};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The wall clock was set back by so many seconds; `seconds` have passed since the start.
fn set_back(by: i64, seconds: i64) -> Clock {
    let clock = after(seconds);
    Clock { wall: Wall(clock.wall.0 - by * 1000), ..clock }
}

/// For how many seconds a target is banned.
fn left(world: &World, text: &str, clock: Clock) -> u64 {
    let ban = world.judge.bans().get(target(text)).unwrap();
    ban.until.unwrap().since(clock.moment).as_secs()
}

#[test]
fn a_ban_is_no_longer_after_a_start_than_it_was_and_does_not_begin_anew_with_each() {
    let mut world = World::new(&[]);
    world.ban("203.0.113.7", &asker(None, false), START).unwrap();
    let clock = after(600);
    let mut world = World::start(world.config, world.store, clock);
    assert_eq!(left(&world, "203.0.113.7", clock), 3000);

    for (minutes, seconds) in [(10, 3600), (20, 3000), (30, 2400)] {
        let clock = set_back(90 * DAY, minutes * 60);
        world = World::start(world.config, world.store, clock);
        assert_eq!(left(&world, "203.0.113.7", clock), seconds, "after {minutes} min");
    }
}

#[test]
fn strikes_of_the_future_are_forgiven_in_time() {
    let mut world = World::new(&[]);
    let failure = |world: &mut World, clock| {
        for pid in 1..=5 {
            let line = Sighting { pid, ..failure_of("203.0.113.7") };
            world.judge.sighting(&line, SourceId(0), Voucher::Kernel, clock);
        }
        world.judge.keep(clock);
        world.settle();
    };
    failure(&mut world, START);
    let mut world = World::start(world.config, world.store, set_back(90 * DAY, 60));
    world.settle();
    let clock = set_back(90 * DAY, 31 * DAY);
    let world = World::start(world.config, world.store, clock);
    assert_eq!(world.judge.engine().strikes(target("203.0.113.7"), clock.moment), 0);
}

fn failure_of(address: &str) -> Sighting<'static> {
    let kind = Kind::FailedPassword;
    Sighting {
        at: None,
        address: address.parse().unwrap(),
        kind,
        points: kind.default_points(),
        pattern: PatternId::default(),
        pid: 0,
        port: 0,
        account: None,
        service: b"sshd",
        request: None,
        line: b"a line",
    }
}

#[test]
fn what_the_configuration_allows_ends_by_the_wall_clock_however_that_is_set() {
    let target: Target = target("203.0.113.7");
    let until = Some(after(HOUR).wall);
    let allowance = Allowance { target: target.into(), until, comment: String::new() };
    let config =
        Config { allow: Allow { targets: vec![allowance], ..Allow::default() }, ..Config::default() };
    let mut world = World::start(config, Memory::new(), START);
    let mut is_allowed = |clock: Clock| {
        world.judge.expire_protections(clock);
        world.judge.protection().refusal(target, clock.moment).is_some()
    };
    assert!(is_allowed(after(HOUR - 1)) && !is_allowed(after(HOUR)));
    assert!(is_allowed(set_back(DAY, 2 * HOUR)) && is_allowed(set_back(DAY, DAY + HOUR - 1)));
    assert!(!is_allowed(set_back(DAY, DAY + HOUR)));
    assert!(!is_allowed(set_back(-DAY, HOUR / 2)), "set ahead");
}

#[test]
fn a_key_login_protects_no_longer_than_it_can() {
    let mut world = World::new(&[]);
    let login = Sighting { port: 50_122, account: Some(b"root"), ..failure_of("203.0.113.7") };
    let login = Sighting { kind: Kind::KeyLogin, ..login };
    world.judge.sighting(&login, SourceId(0), Voucher::Kernel, START);
    world.settle();
    let longest = i64::try_from(world.config.allow.key_login_for.as_secs()).unwrap().max(HOUR);
    for back in [0, 90 * DAY] {
        let world = World::start(world.config.clone(), world.store.clone(), set_back(back, 60));
        let protects = |seconds| {
            let until = after(seconds).moment;
            world.judge.protection().refusal(target("203.0.113.7"), until).is_some()
        };
        assert!(protects(120) && !protects(60 + longest), "{back}");
    }
}
