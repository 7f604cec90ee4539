//! What outlives a restart.

use proptest::prelude::*;

use super::*;
use crate::engine::Recalled;
use crate::time::{Clock, Wall};

/// A wall clock far ahead of the engine's timeline.
fn clock(now: Moment) -> Clock {
    Clock { wall: Wall(now.0 + 1_795_000_000_000), moment: now }
}

/// Patterns by names that say their numbers.
const NAMES: fn(PatternId) -> (&'static str, &'static str) = |id| {
    let leaked = |number: u16| -> &'static str { number.to_string().leak() };
    (leaked(id.filter), leaked(id.pattern))
};
const NUMBERS: fn(&str, &str) -> PatternId =
    |filter, pattern| PatternId { filter: filter.parse().unwrap(), pattern: pattern.parse().unwrap() };

#[test]
fn scores_survive_through_the_store_and_leak_meanwhile() {
    let mut scene = Scene::new();
    for (address, failures) in [("203.0.113.7", 4), ("2001:db8::7", 3), ("203.0.113.9", 1)] {
        for _ in 0..failures {
            scene.fail(address);
        }
    }
    let mut kept: Vec<_> = scene.engine.scores().collect();
    kept.sort();

    let mut next = Scene::new();
    next.at(3 * MINUTE);
    for score in &kept {
        next.engine.restore_score(score, next.now);
    }
    assert_eq!((next.score("203.0.113.7"), next.score("2001:db8::7")), (3.0, 2.0), "a point in two minutes");
    assert_eq!(next.fail("203.0.113.7"), None);
    assert!(matches!(next.fail("203.0.113.7"), Some(Decision::Ban(_))));
    let mut late = Scene::new();
    late.at(HOUR);
    late.engine.restore_score(&kept[0], late.now);
    assert_eq!(late.engine.tracked(), 0, "nothing is left of it");
}

#[test]
fn a_score_of_the_future_does_not_count_as_one_of_now() {
    let mut scene = Scene::new();
    scene.at(HOUR);
    for _ in 0..4 {
        scene.fail(ATTACKER);
    }
    let kept = scene.engine.scores().next().unwrap();
    let restored = |at: i64| {
        let mut next = Scene::new();
        next.at(at);
        next.engine.restore_score(&kept, next.now);
        next.score(ATTACKER)
    };
    assert_eq!(restored(HOUR - 2 * MINUTE), 4.0, "the clock was set right by a little");
    assert_eq!(restored(HOUR - 3 * MINUTE), 0.0, "it was set back: nobody knows how old this is");
}

#[test]
fn each_score_that_changed_is_told_once() {
    let mut scene = Scene::with(|decide| decide.max_sources = 1000);
    scene.fail("203.0.113.1");
    assert!(scene.engine.changed_scores().is_empty(), "nobody has asked before");
    scene.engine.follow();
    for address in ["203.0.113.7", "203.0.113.8", "203.0.113.7"] {
        scene.fail(address);
    }
    let told = |scene: &mut Scene| -> Vec<_> {
        let changed = scene.engine.changed_scores();
        changed.iter().map(|kept| (kept.address.to_string(), kept.points.as_f64())).collect()
    };
    assert_eq!(told(&mut scene), [("203.0.113.7".to_owned(), 2.0), ("203.0.113.8".to_owned(), 1.0)]);
    assert!(told(&mut scene).is_empty());

    scene.until_banned("203.0.113.7");
    scene.engine.forgive(Target::host("203.0.113.8".parse().unwrap()));
    assert_eq!(told(&mut scene), [("203.0.113.7".to_owned(), 0.0), ("203.0.113.8".to_owned(), 0.0)]);

    // What makes room is told too, so the store never has more than the engine.
    let mut known = std::collections::HashSet::new();
    for host in 0..5000u32 {
        scene.fail(&std::net::Ipv4Addr::from(0x0B00_0000 + host).to_string());
        for (address, points) in told(&mut scene) {
            if points > 0.0 {
                known.insert(address)
            } else {
                known.remove(&address)
            };
        }
    }
    // But for the first one, which came before anybody asked.
    assert!((999..=1000).contains(&known.len()), "{}", known.len());
}

#[test]
fn who_should_still_be_banned_is_not_struck_again_before_his_ban_is_back() {
    let mut scene = Scene::new();
    scene.until_banned(ATTACKER);
    scene.until_banned("203.0.113.77");
    let past = scene.engine.changed_strikes();

    let mut next = Scene::new();
    next.at(MINUTE);
    for strikes in &past {
        next.engine.restore_strikes(strikes);
    }
    next.engine.presume_banned(next.now);
    for _ in 0..5 {
        assert_eq!(next.fail(ATTACKER), None, "lines that were in flight");
    }
    let back = Target::host(ATTACKER.parse().unwrap());
    next.engine.banned(back, Some(Moment(HOUR)));
    next.engine.release(|target| target == back);
    for _ in 0..5 {
        assert_eq!(next.fail(ATTACKER), None, "the ban stands");
    }
    assert_eq!(next.until_banned("203.0.113.77").0, 2, "whose ban did not come back is struck");

    let mut late = Scene::new();
    late.at(2 * HOUR);
    late.engine.restore_strikes(&past[0]);
    late.engine.presume_banned(late.now);
    assert!(matches!((0..5).find_map(|_| late.fail(ATTACKER)), Some(Decision::Ban(_))), "his ban is over");
}

#[test]
fn strikes_survive_through_the_store() {
    let mut scene = Scene::new();
    scene.until_banned(ATTACKER);
    scene.until_banned("2001:db8::1");
    let changed = scene.engine.changed_strikes();
    assert_eq!(changed.len(), 2);
    assert!(scene.engine.changed_strikes().is_empty());

    let mut next = Scene::new();
    for strikes in &changed {
        next.engine.restore_strikes(strikes);
    }
    assert!(next.engine.changed_strikes().is_empty());
    next.wait(HOUR);
    for address in [ATTACKER, "2001:db8::1"] {
        assert_eq!(next.until_banned(address), (2, Some(DAY)));
    }
    next.engine.forgive(target(ATTACKER));
    let counts: Vec<_> = next.engine.changed_strikes().iter().map(|s| (s.target, s.count)).collect();
    assert_eq!(counts, [(target(ATTACKER), 0), (target("2001:db8::1"), 2)]);
}

#[test]
fn a_reload_keeps_scores() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        scene.fail(ATTACKER);
    }
    scene.engine.configure(Decide { threshold: Points(4000), ..Decide::default() }, scene.now);
    assert_eq!(scene.score(ATTACKER), 3.0);
    assert!(scene.fail(ATTACKER).is_some());
}

#[test]
fn points_that_have_leaked_away_come_back_with_no_other_window() {
    let day = Decide { window: Duration::from_secs(86_400), ..Decide::default() };
    let mut scene = Scene::new();
    for _ in 0..4 {
        scene.fail(ATTACKER);
    }
    let kept: Vec<_> = scene.engine.scores().collect();
    let recalled = scene.engine.recall_later(clock(scene.now), NAMES);
    scene.wait(HOUR);
    scene.engine.configure(day.clone(), scene.now);
    assert_eq!(scene.score(ATTACKER), 0.0);

    // Nor by a restart with another configuration.
    let mut engine = Engine::new(EngineOptions { decide: day, seed: 7, evidence: 0 });
    engine.recall(Recalled::read(&recalled).unwrap(), clock(scene.now), NUMBERS);
    engine.restore_score(&kept[0], scene.now);
    assert_eq!(engine.score(ATTACKER.parse().unwrap(), scene.now).0, 0);
}

#[test]
fn a_busy_minute_is_one_after_a_restart() {
    let mut scene = Scene::with(|d| d.adapt = crate::config::Adapt::Stricter);
    for host in 0..20 {
        scene.fail(&format!("192.0.{host}.1"));
    }
    scene.restart();
    scene.wait(SECOND);
    assert_eq!((1..10).find(|_| scene.fail(ATTACKER).is_some()), Some(3));
}

#[test]
fn of_too_many_groups_the_fullest_are_recalled() {
    let mut scene = Scene::new();
    let names: Vec<String> = (0..4000).map(|name| format!("user{name}")).collect();
    let fail_at = |scene: &mut Scene, address: &str, name: &str, pid: u32| {
        let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
        scene.see(Sighting { account: Some(name.as_bytes()), ..line(address, Kind::FailedPassword, pid) });
    };
    for (number, name) in names.iter().enumerate() {
        fail_at(&mut scene, &format!("10.0.{}.{}", number / 250, number % 250), name, number as u32);
    }
    for host in 0..19 {
        fail_at(&mut scene, &format!("192.0.2.{host}"), &names[3999], 5000 + host);
    }
    let recalled = Recalled::read(&scene.engine.recall_later(clock(scene.now), NAMES)).unwrap();
    let mut scene = Scene::new();
    scene.engine.recall(recalled, clock(scene.now), NUMBERS);
    let within = scene.engine.decide.account_within;
    let key = scene.engine.accounts.key(names[3999].as_bytes()).at(0);
    assert_eq!(scene.engine.accounts.addresses(key, scene.now, within), 20);
}

/// What follows from a log, if the daemon ends after so many lines and a new one goes on.
fn decisions_with_a_restart(log: &[(u8, u8, i64)], restart: usize) -> Vec<Decision> {
    const ACCOUNTS: [&str; 4] = ["root", "admin", "anna", "git"];
    let mut scene = Scene::with(|d| {
        (d.prefix_hosts, d.storm_bans, d.account_addresses) = (2, 4, 3);
        d.adapt = crate::config::Adapt::Both;
    });
    let mut decisions = Vec::new();
    for (line, &(host, account, wait)) in log.iter().enumerate() {
        if line == restart {
            scene.restart();
        }
        scene.wait(wait);
        scene.engine.tick(scene.now);
        let address = format!("203.0.{}.{}", 112 + host % 3, host);
        let mut next = scene.fail_at(&address, ACCOUNTS[usize::from(account) % 4]);
        while let Some(decision) = next.or_else(|| scene.engine.further()) {
            if let Decision::Ban(order) = &decision {
                scene.engine.stands(order, scene.now);
            }
            decisions.push(decision);
            next = None;
        }
    }
    decisions
}

impl Scene {
    /// An engine that knows what the store has kept of the one before.
    pub(super) fn restart(&mut self) {
        let clock = clock(self.now);
        let recalled = Recalled::read(&self.engine.recall_later(clock, NAMES)).unwrap();
        let old = &mut self.engine;
        let strikes = old.changed_strikes();
        let decide = old.decide.clone();
        let mut new = Engine::new(EngineOptions { decide, seed: recalled.seed(), evidence: 10 });
        new.set_login_filters(vec![true, false]);
        for past in &strikes {
            new.restore_strikes(past);
        }
        for target in strikes.iter().map(|past| past.target) {
            if let Some(until) = old.offenders.until(target) {
                new.banned(target, Some(until));
            }
        }
        for score in old.scores() {
            new.restore_score(&score, self.now);
        }
        new.recall(recalled, clock, NUMBERS);
        self.engine = new;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_restart_changes_no_decision(
        log in prop::collection::vec((0..12u8, 0..8u8, 0..200_000i64), 0..200),
        restart in any::<prop::sample::Index>(),
    ) {
        let restart = restart.index(log.len().max(1));
        prop_assert_eq!(decisions_with_a_restart(&log, usize::MAX), decisions_with_a_restart(&log, restart));
    }
}

#[test]
fn rubbish_is_not_recalled() {
    for bytes in [&b""[..], &[0], &[1], &[1, 255, 255, 255, 255, 255, 255], &[5, 0, 0, 0, 0, 0, 0, 0]] {
        assert!(Recalled::read(bytes).is_none(), "{bytes:?}");
    }
}
