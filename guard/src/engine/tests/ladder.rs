//! How long bans are, and when there is one.

use super::*;

#[test]
fn the_ladder_goes_up_and_its_last_step_goes_on() {
    let mut scene = Scene::new();
    for (strike, length) in [(1, HOUR), (2, DAY), (3, 30 * DAY), (4, 30 * DAY)] {
        assert_eq!(scene.until_banned(ATTACKER), (strike, Some(length)));
        scene.engine.lifted(target(ATTACKER));
        scene.wait(20 * DAY);
    }
}

#[test]
fn a_ladder_can_end_for_good() {
    let mut scene = Scene::with(|d| d.ladder = vec![Some(Duration::from_secs(60)), None]);
    assert_eq!(scene.until_banned(ATTACKER), (1, Some(MINUTE)));
    assert_eq!(scene.wait(MINUTE).until_banned(ATTACKER), (2, None));
    for _ in 0..10 {
        assert_eq!(scene.wait(400 * DAY).fail(ATTACKER), None);
    }
}

#[test]
fn one_strike_is_forgiven_for_each_thirty_quiet_days() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        scene.until_banned(ATTACKER);
        scene.engine.lifted(target(ATTACKER));
    }
    let strikes = |scene: &Scene| scene.engine.strikes(target(ATTACKER), scene.now);
    let began = scene.now.0;
    for (days, left) in [(0, 3), (29, 3), (30, 2), (59, 2), (60, 1), (90, 0), (900, 0)] {
        assert_eq!(strikes(scene.at(began + days * DAY)), left, "after {days} days");
    }
    assert_eq!(scene.at(began + 60 * DAY).until_banned(ATTACKER), (2, Some(DAY)));
}

#[test]
fn five_bans_in_a_day_are_at_least_a_week() {
    let run = |every: i64| {
        let mut scene = Scene::with(|d| d.ladder = vec![Some(Duration::from_secs(600))]);
        (0..7).map(|i| scene.at(i * every).until_banned(ATTACKER).1.unwrap()).collect::<Vec<_>>()
    };
    let week = 7 * DAY;
    let short = 10 * MINUTE;
    assert_eq!(run(7 * HOUR), [short; 7]);
    let mut scene = Scene::with(|d| d.ladder = vec![Some(Duration::from_secs(600))]);
    let lengths: Vec<_> = (0..5).map(|i| scene.at(i * HOUR).until_banned(ATTACKER).1).collect();
    assert_eq!(lengths, [Some(short), Some(short), Some(short), Some(short), Some(week)]);
    // The week ends every count of a day.
    assert_eq!(scene.wait(week).until_banned(ATTACKER).1, Some(short));
}

#[test]
fn bans_get_random_extra_time_within_bounds() {
    let mut scene = Scene::with(|d| d.jitter_permille = 100);
    let lengths: Vec<_> =
        (0..100).map(|i| scene.until_banned(&format!("198.51.100.{i}")).1.unwrap()).collect();
    assert!(lengths.iter().all(|length| (HOUR..=HOUR + HOUR / 10).contains(length)));
    let spread = lengths.iter().max().unwrap() - lengths.iter().min().unwrap();
    assert!(spread > 4 * MINUTE, "{spread}");
}

#[test]
fn a_ban_that_is_decided_once_more_after_a_crash_ends_no_earlier() {
    let ends = |seed: u64, at: i64| {
        let decide = Decide { jitter_permille: 500, ..Decide::default() };
        let mut scene = Scene::new();
        scene.engine = Engine::new(EngineOptions { decide, seed, evidence: 0 });
        let (_, length) = scene.at(at).until_banned(ATTACKER);
        at + length.unwrap()
    };
    for later in [1, 10, SECOND, MINUTE] {
        assert_eq!(ends(7, 0) + later, ends(8, later), "the next engine has another seed, and a later clock");
    }
}

#[test]
fn lines_in_flight_lead_to_no_second_ban() {
    let mut scene = Scene::new();
    scene.until_banned(ATTACKER);
    for _ in 0..50 {
        assert_eq!(scene.fail(ATTACKER), None);
    }
    assert_eq!(scene.engine.count().suppressed, 12, "four points lead to a second one");
    assert_eq!(scene.engine.strikes(target(ATTACKER), scene.now), 1);
    scene.wait(HOUR);
    assert_eq!(scene.until_banned(ATTACKER), (2, Some(DAY)));
}

#[test]
fn a_ban_the_engine_is_told_of_is_not_ordered_again() {
    let mut scene = Scene::new();
    scene.engine.banned(target(ATTACKER), Some(Moment(HOUR)));
    assert!((0..10).all(|_| scene.fail(ATTACKER).is_none()));
    assert_eq!(scene.engine.past(target(ATTACKER)), None);
    assert_eq!(scene.at(HOUR).until_banned(ATTACKER), (1, Some(HOUR)));
}

#[test]
fn a_refused_order_is_no_strike_and_comes_again() {
    let mut scene = Scene::new();
    scene.until_banned(ATTACKER);
    scene.engine.refused(target(ATTACKER));
    assert_eq!(scene.engine.strikes(target(ATTACKER), scene.now), 0);
    assert_eq!(scene.until_banned(ATTACKER), (1, Some(HOUR)));
    scene.engine.lifted(target(ATTACKER));
    assert_eq!(scene.until_banned(ATTACKER), (2, Some(DAY)));
    scene.engine.refused(target(ATTACKER));
    assert_eq!(scene.engine.strikes(target(ATTACKER), scene.now), 1);
}

#[test]
fn a_refused_order_leaves_the_past_as_it_was() {
    let mut scene = Scene::with(|d| {
        (d.ladder, d.recidive_bans) = (vec![Some(Duration::from_secs(60))], 20);
    });
    for _ in 1..20 {
        scene.wait(SECOND).until_banned(ATTACKER);
        scene.engine.lifted(target(ATTACKER));
        let past = scene.engine.past(target(ATTACKER));
        scene.wait(SECOND).until_banned(ATTACKER);
        scene.engine.refused(target(ATTACKER));
        assert_eq!(scene.engine.past(target(ATTACKER)), past);
    }
    assert_eq!(scene.wait(SECOND).until_banned(ATTACKER), (20, Some(7 * DAY)), "twenty of a day");
}

#[test]
fn a_person_forgives_everything() {
    let mut scene = Scene::new();
    scene.until_banned(ATTACKER);
    scene.fail(ATTACKER);
    scene.engine.forgive(target(ATTACKER));
    assert_eq!(scene.score(ATTACKER), 0.0);
    assert_eq!(scene.until_banned(ATTACKER), (1, Some(HOUR)));
    scene.fail("198.51.100.1");
    scene.fail("198.51.101.1");
    scene.engine.forgive(target("198.51.100.0/24"));
    assert_eq!((scene.score("198.51.100.1"), scene.score("198.51.101.1")), (0.0, 1.0));
}
