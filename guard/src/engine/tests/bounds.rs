//! Memory is bounded, and the worst stay in it.

use std::ops::Range;

use super::*;

#[test]
fn a_smaller_table_keeps_the_worst() {
    let mut scene = Scene::new();
    for i in 0..100 {
        scene.fail(&format!("198.51.100.{i}"));
    }
    for _ in 0..3 {
        scene.fail(ATTACKER);
    }
    scene.engine.configure(Decide { max_sources: 10, ..Decide::default() }, scene.now);
    assert_eq!(scene.engine.tracked(), 10);
    assert_eq!(scene.engine.count().evicted, 91);
    assert_eq!(scene.score(ATTACKER), 3.0);
}

#[test]
fn a_flood_of_new_sources_neither_grows_memory_nor_hides_the_worst() {
    let mut scene = Scene::with(|d| d.max_sources = 2000);
    let offenders: Vec<_> = (0..100).map(|i| format!("203.0.113.{i}")).collect();
    for offender in &offenders {
        for _ in 0..4 {
            scene.fail(offender);
        }
    }
    let before = scene.engine.bytes();
    for i in 0..200_000u32 {
        if i % 100 == 0 {
            scene.wait(1); // 100k new sources a second
        }
        let address = IpAddr::from((0x0a00_0000 + i).to_be_bytes());
        scene.see(Sighting { address, ..line(ATTACKER, Kind::FailedPassword, 1) });
    }
    assert_eq!(scene.engine.tracked(), 2000);
    assert!(scene.engine.count().evicted > 190_000);
    assert!(scene.engine.bytes() < before + (8 << 20), "{} {before}", scene.engine.bytes());
    let banned = offenders.iter().filter(|offender| scene.fail(offender).is_some()).count();
    assert_eq!(banned, offenders.len());
}

#[test]
fn a_hundred_thousand_new_sources_a_second_hide_nobody_from_any_detector() {
    let mut scene = Scene::with(|d| d.max_sources = 50_000);
    let offenders: Vec<_> = (0..100).map(|i| format!("198.51.{i}.7")).collect();
    let mut banned = std::collections::HashSet::new();
    let mut filled = 0;
    for i in 0..200_000u32 {
        scene.at(i64::from(i / 100));
        // Half of them are of IPv6, each in a prefix of its own, and nearly all try an account of their own.
        let address = if i % 2 == 0 {
            IpAddr::from((0x0a00_0000 + i).to_be_bytes())
        } else {
            IpAddr::from((0x2001_0db8 << 96 | u128::from(i) << 64 | 1).to_be_bytes())
        };
        let account = format!("account{}", i % 9973);
        let account = Some(account.as_bytes());
        scene.see(Sighting { address, account, ..line(ATTACKER, Kind::FailedPassword, i | 1) });
        if i % 100 == 99 {
            // Each fails ten times a second.
            let offender = &offenders[i as usize / 100 % offenders.len()];
            if let Some(Decision::Ban(order)) = scene.fail(offender) {
                banned.insert(order.target);
                scene.engine.stands(&order, scene.now);
            }
        }
        scene.further();
        if i == 60_000 {
            filled = scene.engine.bytes();
        }
    }
    assert_eq!(scene.engine.tracked(), 50_000);
    assert!(scene.engine.count().evicted > 140_000, "{}", scene.engine.count().evicted);
    assert!(scene.engine.bytes() < filled + (8 << 20), "{} {filled}", scene.engine.bytes());
    assert!(scene.engine.bytes() < 40 << 20, "{}", scene.engine.bytes());
    assert_eq!(banned.len(), offenders.len());
}

#[test]
fn a_flood_does_not_hide_who_guesses_slowly() {
    let mut scene = Scene::with(|d| d.max_sources = 2000);
    let accounts = ["root", "admin", "anna", "test", "oracle", "git", "ubuntu", "bert"];
    let slow = |scene: &mut Scene, guess: usize| {
        scene.wait(11 * MINUTE).fail_at(ATTACKER, accounts[guess % accounts.len()]).is_some()
    };
    assert!((0..8).all(|guess| !slow(&mut scene, guess)));
    for i in 0..50_000u32 {
        let address = IpAddr::from((0x0a00_0000 + i).to_be_bytes());
        scene.see(Sighting { address, ..line(ATTACKER, Kind::FailedPassword, 1) });
    }
    assert!(scene.engine.count().evicted > 47_000);
    assert!((8..20).any(|guess| slow(&mut scene, guess)), "its guesses were forgotten");
}

#[test]
fn who_guessed_and_makes_room_is_counted() {
    let mut scene = Scene::new();
    for host in 0..10 {
        scene.fail(&format!("198.51.100.{host}"));
    }
    scene.wait(HOUR);
    scene.engine.configure(Decide { max_sources: 4, ..Decide::default() }, scene.now);
    assert_eq!(scene.engine.count().evicted, 6, "their points are gone, their guesses are not");
}

#[test]
fn accounts_that_make_room_are_counted() {
    let mut scene = Scene::new();
    for account in 0..5000u32 {
        let (name, address) = (format!("user{account}"), format!("10.0.{}.{}", account / 250, account % 250));
        let s = line(&address, Kind::FailedPassword, account + 1);
        scene.see(Sighting { account: Some(name.as_bytes()), ..s });
    }
    assert_eq!(scene.engine.count().groups_evicted, 5000 - 4096);
}

#[test]
fn the_past_of_many_targets_is_bounded_and_the_repeat_offender_stays_in_it() {
    let mut scene = Scene::with(|d| (d.max_bans, d.decoys) = (1000, vec!["decoy".into()]));
    scene.until_banned(ATTACKER);
    scene.engine.lifted(target(ATTACKER));
    scene.wait(SECOND).until_banned(ATTACKER);
    for i in 0..20_000u32 {
        let address = IpAddr::from((0x0a00_0000 + i).to_be_bytes());
        let s = Sighting { address, account: Some(b"decoy"), ..line(ATTACKER, Kind::InvalidUser, 0) };
        assert!(scene.see(s).is_some());
    }
    let count = scene.engine.count();
    assert_eq!((count.offenders, count.offenders_evicted), (1000, 19_001));
    assert_eq!(scene.engine.strikes(target(ATTACKER), scene.now), 2);
}

#[test]
fn the_past_of_the_forgiven_is_forgotten() {
    let mut scene = Scene::new();
    for i in 0..100 {
        scene.until_banned(&format!("198.51.100.{i}"));
    }
    scene.wait(31 * DAY);
    for i in 0..100 {
        scene.until_banned(&format!("203.0.113.{i}"));
    }
    assert_eq!(scene.engine.count().offenders, 100);
}

#[test]
fn sources_that_are_quiet_for_a_day_make_room_uncounted() {
    let mut scene = Scene::new();
    for i in 0..1000 {
        scene.fail(&format!("198.51.{}.{}", i / 250, i % 250));
    }
    scene.wait(25 * HOUR);
    for i in 0..1000 {
        scene.fail(&format!("203.0.{}.{}", i / 250, i % 250));
    }
    assert!(scene.engine.tracked() <= 1000, "{}", scene.engine.tracked());
    assert_eq!(scene.engine.count().evicted, 0);
}

#[test]
fn evidence_is_the_last_lines_with_what_they_gave() {
    let mut scene = Scene::new();
    for (i, kind) in [Kind::InvalidUser, Kind::FailedPassword, Kind::FailedPassword].into_iter().enumerate() {
        let text = format!("line {i}");
        scene.wait(SECOND);
        let s = Sighting { line: text.as_bytes(), ..line(ATTACKER, kind, 42) };
        scene.engine.observe(&s, JOURNAL, scene.now, scene.now);
        scene.fail("198.51.100.1");
    }
    let lines = scene.engine.evidence(ATTACKER.parse().unwrap());
    let seen: Vec<_> = lines.iter().map(|e| (e.at.0, e.kind, e.points.0, &*e.line)).collect();
    assert_eq!(
        seen,
        [
            (SECOND, Kind::InvalidUser, 1000, b"line 0".as_slice()),
            (2 * SECOND, Kind::FailedPassword, 0, b"line 1"),
            (3 * SECOND, Kind::FailedPassword, 1000, b"line 2"),
        ]
    );
    for _ in 0..20 {
        scene.fail(ATTACKER);
    }
    assert_eq!(scene.engine.evidence(ATTACKER.parse().unwrap()).len(), 10);
    assert!(scene.engine.evidence("192.0.2.1".parse().unwrap()).is_empty());
}

#[test]
fn evidence_is_bounded_for_all_sources_together() {
    let mut scene = Scene::new();
    let long = vec![b'x'; 5000];
    for i in 0..50_000u32 {
        let address = IpAddr::from((0x0a00_0000 + i % 20_000).to_be_bytes());
        scene.see(Sighting { address, line: &long, ..line(ATTACKER, Kind::FailedPassword, i) });
    }
    assert!(scene.engine.bytes() < 16 << 20, "{}", scene.engine.bytes());
    let last = scene.engine.evidence(IpAddr::from((0x0a00_0000 + 49_999 % 20_000u32).to_be_bytes()));
    assert_eq!(last.last().unwrap().line.len(), crate::encode::EVIDENCE);
    assert!(scene.engine.evidence(IpAddr::from(0x0a00_0000u32.to_be_bytes())).is_empty());
}

#[test]
fn nothing_is_kept_where_no_evidence_is_wanted() {
    let options = EngineOptions { decide: Decide::default(), seed: 1, evidence: 0 };
    let mut engine = Engine::new(options);
    engine.observe(&line(ATTACKER, Kind::FailedPassword, 1), JOURNAL, Moment(0), Moment(0));
    assert!(engine.evidence(ATTACKER.parse().unwrap()).is_empty());
}

#[test]
fn room_for_bans_that_come_back_is_made_once() {
    let mut engine = Scene::new().engine;
    let address = |n: u32| Target::host(IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
    let tell = |engine: &mut Engine, more: Range<u32>| {
        more.for_each(|n| engine.banned(address(n), Some(Moment(HOUR))));
    };
    tell(&mut engine, 0..1000);
    engine.reserve_offenders(50_000);
    let before = engine.bytes();
    tell(&mut engine, 0..50_000);
    assert_eq!(engine.bytes(), before);
    engine.reserve_offenders(50_000);
    assert_eq!(engine.bytes(), before, "all are there");
}
