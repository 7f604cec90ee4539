//! Scenarios: a few lines of a log each, and what must come of them.
#![expect(clippy::float_cmp, reason = "scores are exact thousandths, and so are these numbers")]

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::{Decision, Engine, EngineOptions};
use crate::config::Decide;
use crate::sighting::{Kind, PatternId, Points, Sighting, SourceId};
use crate::target::Target;
use crate::time::Moment;

const ATTACKER: &str = "203.0.113.7";
const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const JOURNAL: SourceId = SourceId(0);
const FILE: SourceId = SourceId(1);

/// An engine with a timeline: each line is given with the time it happens at.
struct Scene {
    engine: Engine,
    now: Moment,
    next_pid: u32,
}

impl Scene {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Decide)) -> Self {
        let mut decide = Decide { jitter_permille: 0, ..Decide::default() };
        change(&mut decide);
        let engine = Engine::new(EngineOptions { decide, seed: 7, evidence: 10 });
        Self { engine, now: Moment(0), next_pid: 100 }
    }

    fn at(&mut self, ms: i64) -> &mut Self {
        self.now = Moment(ms);
        self
    }

    fn wait(&mut self, ms: i64) -> &mut Self {
        self.at(self.now.0 + ms)
    }

    fn see(&mut self, s: Sighting<'_>) -> Option<Decision> {
        self.engine.observe(&s, JOURNAL, self.now, self.now)
    }

    /// A failed login of one line, from a connection of its own.
    fn fail(&mut self, address: &str) -> Option<Decision> {
        self.next_pid += 1;
        let pid = self.next_pid;
        self.see(line(address, Kind::FailedPassword, pid))
    }

    fn score(&self, address: &str) -> f64 {
        self.engine.score(address.parse().unwrap(), self.now).as_f64()
    }

    /// Fails until banned, five times at most; answers strike and length in milliseconds.
    fn until_banned(&mut self, address: &str) -> (u32, Option<i64>) {
        for _ in 0..5 {
            if let Some(Decision::Ban(order)) = self.fail(address) {
                assert_eq!(order.since, self.now);
                return (order.strike, order.until.map(|until| until.0 - order.since.0));
            }
        }
        panic!("not banned");
    }
}

fn line(address: &str, kind: Kind, pid: u32) -> Sighting<'static> {
    Sighting {
        at: None,
        address: address.parse().unwrap(),
        kind,
        points: kind.default_points(),
        pattern: PatternId { filter: 0, pattern: kind as u16 },
        pid,
        port: 0,
        account: None,
        line: b"a line",
    }
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

#[test]
fn five_quick_failures_ban() {
    let mut scene = Scene::new();
    for failure in 1..=4 {
        assert_eq!(scene.wait(SECOND).fail(ATTACKER), None);
        assert_eq!(scene.score(ATTACKER), f64::from(failure));
    }
    let Some(Decision::Ban(order)) = scene.wait(SECOND).fail(ATTACKER) else { panic!("not banned") };
    assert_eq!(order.target, target(ATTACKER));
    assert_eq!((order.score, order.strike), (Points(5000), 1));
    assert_eq!(order.until, Some(scene.now + Duration::from_secs(3600)));
    assert_eq!(order.pattern.pattern, Kind::FailedPassword as u16);
    assert_eq!(scene.score(ATTACKER), 0.0);
}

#[test]
fn one_point_leaks_each_fifth_of_the_window() {
    let mut scene = Scene::new();
    scene.fail(ATTACKER);
    scene.wait(SECOND).fail(ATTACKER);
    for (ms, points) in [(0, 2.0), (119_999, 2.0), (120_000, 1.0), (239_999, 1.0), (240_000, 0.0), (DAY, 0.0)]
    {
        assert_eq!(scene.at(ms).score(ATTACKER), points, "after {ms} ms");
    }
}

#[test]
fn a_slow_drip_leaks_and_a_slightly_faster_one_bans() {
    let drip = |every: i64| {
        let mut scene = Scene::new();
        (0..200).position(|i| scene.at(i * every).fail(ATTACKER).is_some())
    };
    assert_eq!(drip(2 * MINUTE), None);
    assert_eq!(drip(MINUTE), Some(7)); // eight points came, three leaked
    assert_eq!(drip(SECOND), Some(4));
}

#[test]
fn other_windows_and_thresholds() {
    let mut scene = Scene::with(|d| (d.threshold, d.window) = (Points(500), Duration::from_secs(60)));
    assert!(scene.see(line(ATTACKER, Kind::PreauthClose, 1)).is_none());
    assert!(scene.see(line(ATTACKER, Kind::PreauthClose, 2)).is_none());
    assert_eq!(scene.at(MINUTE).score(ATTACKER), 0.0);
    for pid in 3..5 {
        assert!(scene.see(line(ATTACKER, Kind::PreauthClose, pid)).is_none());
    }
    assert!(scene.see(line(ATTACKER, Kind::PreauthClose, 5)).is_some());
}

#[test]
fn lines_of_one_attempt_count_once() {
    let mut scene = Scene::new();
    for kind in [Kind::InvalidUser, Kind::FailedAuth, Kind::FailedPassword, Kind::PreauthClose] {
        scene.wait(SECOND).see(line(ATTACKER, kind, 42));
    }
    assert_eq!(scene.score(ATTACKER), 1.0);
    assert_eq!(scene.engine.count().joined, 3);
}

#[test]
fn a_joined_line_adds_what_the_earlier_ones_did_not_give() {
    let mut scene = Scene::new();
    scene.see(line(ATTACKER, Kind::PreauthClose, 42));
    assert_eq!(scene.score(ATTACKER), 0.2);
    scene.see(line(ATTACKER, Kind::InvalidUser, 42));
    assert_eq!(scene.score(ATTACKER), 1.0);
}

#[test]
fn six_failed_passwords_on_one_connection_are_six() {
    let mut scene = Scene::with(|d| d.threshold = Points(6001));
    for _ in 0..6 {
        scene.wait(SECOND).see(line(ATTACKER, Kind::FailedAuth, 42));
        scene.wait(SECOND).see(line(ATTACKER, Kind::FailedPassword, 42));
    }
    scene.see(line(ATTACKER, Kind::TooManyAttempts, 42));
    assert_eq!(scene.score(ATTACKER), 6.0);
}

#[test]
fn what_never_joins() {
    let score = |first: Sighting<'static>, wait: i64, second: Sighting<'static>| {
        let mut scene = Scene::new();
        scene.see(first);
        scene.wait(wait).see(second);
        scene.score(ATTACKER)
    };
    let (a, b) = (Kind::FailedPassword, Kind::InvalidUser);
    let port = |port, s: Sighting<'static>| Sighting { port, ..s };
    let (first, second) = (line(ATTACKER, a, 42), line(ATTACKER, b, 42));
    assert_eq!(score(first, SECOND, second), 1.0);
    assert_eq!(score(line(ATTACKER, a, 0), SECOND, line(ATTACKER, b, 0)), 2.0, "unknown process");
    assert_eq!(score(first, SECOND, line(ATTACKER, b, 43)), 2.0, "other process");
    assert_eq!(score(port(1, first), SECOND, port(2, second)), 2.0, "other port");
    assert_eq!(score(port(1, first), SECOND, port(1, second)), 1.0, "same port");
    assert_eq!(score(port(1, first), SECOND, second), 1.0, "port not known");
    assert_eq!(score(first, 2 * MINUTE - 1, second), 1.0, "within two minutes");
    assert_eq!(score(first, 2 * MINUTE + 1, second), 1.0, "after two minutes the first point has leaked");
    let mut scene = Scene::with(|d| d.window = Duration::from_secs(6000));
    scene.see(first);
    scene.wait(2 * MINUTE + 1).see(second);
    assert_eq!(scene.score(ATTACKER), 2.0, "after two minutes");
    scene.see(line("203.0.113.8", b, 42));
    assert_eq!(scene.score("203.0.113.8"), 1.0, "other address");
}

#[test]
fn the_same_log_through_two_sources_counts_once() {
    let log =
        [(Kind::InvalidUser, 1), (Kind::FailedAuth, 1), (Kind::FailedPassword, 1), (Kind::FailedAuth, 1)];
    let log = log.into_iter().chain([(Kind::FailedPassword, 1), (Kind::FailedPassword, 2)]);
    let lines: Vec<_> = log.map(|(kind, pid)| line(ATTACKER, kind, pid)).collect();
    let run = |order: &[(SourceId, usize)]| {
        let mut scene = Scene::new();
        for (via, i) in order {
            let now = scene.now;
            scene.engine.observe(&lines[*i], *via, Moment(*i as i64), now + Duration::from_secs(10));
        }
        scene.engine.score(ATTACKER.parse().unwrap(), Moment(SECOND)).as_f64()
    };
    let journal: Vec<_> = (0..lines.len()).map(|i| (JOURNAL, i)).collect();
    let file: Vec<_> = (0..lines.len()).map(|i| (FILE, i)).collect();
    let alternating: Vec<_> = journal.iter().zip(&file).flat_map(|(a, b)| [*a, *b]).collect();
    assert_eq!(run(&journal), 3.0);
    assert_eq!(run(&[journal.clone(), file.clone()].concat()), 3.0);
    assert_eq!(run(&[file, journal].concat()), 3.0);
    assert_eq!(run(&alternating), 3.0);
}

#[test]
fn old_lines_do_not_count_and_future_ones_count_as_of_now() {
    let mut scene = Scene::new();
    let now = Moment(HOUR);
    let mut observe =
        |at| scene.engine.observe(&line(ATTACKER, Kind::FailedPassword, 0), JOURNAL, Moment(at), now);
    assert!(observe(HOUR - 10 * MINUTE - 1).is_none());
    observe(2 * HOUR);
    assert_eq!(scene.engine.count().too_old, 1);
    assert_eq!(scene.engine.score(ATTACKER.parse().unwrap(), now), Points(1000));
    assert_eq!(scene.engine.score(ATTACKER.parse().unwrap(), now + Duration::from_secs(120)), Points(0));
}

#[test]
fn lines_read_late_count_with_the_time_they_happened_at() {
    let mut scene = Scene::new();
    let now = Moment(HOUR);
    let late = |minutes: i64| now - Duration::from_millis((minutes * MINUTE) as u64);
    let mut observe = |at| scene.engine.observe(&line(ATTACKER, Kind::FailedPassword, 0), JOURNAL, at, now);
    for minutes in [9, 7, 5, 3, 1] {
        assert_eq!(observe(late(minutes)), None, "a slow drip of the past stays one");
    }
    assert_eq!(scene.engine.score(ATTACKER.parse().unwrap(), now), Points(1000));
    let mut scene = Scene::new();
    let burst = (0..5).filter_map(|_| {
        scene.engine.observe(&line(ATTACKER, Kind::FailedPassword, 0), JOURNAL, late(9), now)
    });
    let Some(Decision::Ban(order)) = burst.last() else { panic!("a burst of the past bans") };
    assert_eq!(order.since, now);
}

#[test]
fn a_line_that_arrives_after_newer_ones_counts_what_is_left_of_it() {
    let mut scene = Scene::new();
    scene.at(HOUR).fail(ATTACKER);
    let late = Moment(HOUR - 5 * MINUTE);
    scene.engine.observe(&line(ATTACKER, Kind::FailedPassword, 0), FILE, late, Moment(HOUR));
    assert_eq!(scene.score(ATTACKER), 1.0);
}

#[test]
fn a_key_login_clears_the_score_and_a_password_login_does_not() {
    let mut scene = Scene::new();
    for _ in 0..4 {
        scene.fail(ATTACKER);
    }
    assert_eq!(scene.see(line(ATTACKER, Kind::PasswordLogin, 5)), None);
    assert_eq!(scene.score(ATTACKER), 4.0);
    let login = Sighting { port: 4711, ..line(ATTACKER, Kind::KeyLogin, 6) };
    let address: IpAddr = ATTACKER.parse().unwrap();
    assert_eq!(scene.see(login), Some(Decision::KeyLogin { address, port: 4711, at: scene.now }));
    assert_eq!(scene.score(ATTACKER), 0.0);
    let end = Sighting { port: 4711, ..line(ATTACKER, Kind::SessionEnd, 6) };
    assert_eq!(scene.see(end), Some(Decision::SessionEnd { address, port: 4711 }));
}

#[test]
fn a_key_and_then_another_method_are_a_key_login() {
    let mut scene = Scene::new();
    scene.fail(ATTACKER);
    let key = Sighting { port: 4711, ..line(ATTACKER, Kind::PartialKey, 6) };
    let login = Sighting { kind: Kind::PasswordLogin, ..key };
    let address: IpAddr = ATTACKER.parse().unwrap();
    assert_eq!(scene.see(key), None);
    assert_eq!(scene.score(ATTACKER), 1.0, "the key alone says nothing");
    scene.wait(MINUTE);
    assert_eq!(scene.see(login), Some(Decision::KeyLogin { address, port: 4711, at: scene.now }));
    assert_eq!(scene.score(ATTACKER), 0.0);
    assert_eq!(scene.see(login), None, "the key counts for one login");
}

#[test]
fn a_key_and_a_login_of_another_connection_are_no_key_login() {
    let key = Sighting { port: 4711, ..line(ATTACKER, Kind::PartialKey, 6) };
    let login = Sighting { kind: Kind::PasswordLogin, ..key };
    let other = "203.0.113.8".parse().unwrap();
    for (key, login) in [
        (key, Sighting { port: 4712, ..login }),
        (key, Sighting { pid: 7, ..login }),
        (key, Sighting { address: other, ..login }),
        (Sighting { pid: 0, ..key }, Sighting { pid: 0, ..login }),
        (Sighting { port: 0, ..key }, Sighting { port: 0, ..login }),
    ] {
        let mut scene = Scene::new();
        assert_eq!((scene.see(key), scene.see(login)), (None, None), "{login:?}");
    }
    let mut scene = Scene::new();
    scene.engine.observe(&key, FILE, scene.now, scene.now);
    assert_eq!(scene.see(login), None, "a forged line of a file helps no login of the journal");
    scene.see(key);
    scene.wait(HOUR);
    assert_eq!(scene.see(login), None, "too late");
}

#[test]
fn who_offers_key_after_key_pushes_out_the_oldest() {
    let mut scene = Scene::new();
    let key = |pid| Sighting { port: 4711, ..line(ATTACKER, Kind::PartialKey, pid) };
    for pid in 1..=2000 {
        scene.see(key(pid));
    }
    let mut login = |pid| scene.see(Sighting { kind: Kind::PasswordLogin, ..key(pid) });
    assert_eq!(login(1), None);
    assert!(login(2000).is_some());
}

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
fn each_score_that_changed_is_told_once() {
    let mut scene = Scene::with(|decide| decide.max_sources = 1000);
    scene.fail("203.0.113.1");
    assert!(scene.engine.changed_scores().is_empty(), "nobody has asked before");
    scene.engine.follow_scores();
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
fn an_old_key_login_is_told_but_clears_nothing() {
    let mut scene = Scene::new();
    scene.at(HOUR).fail(ATTACKER);
    let at = Moment(0);
    let told = scene.engine.observe(&line(ATTACKER, Kind::KeyLogin, 6), JOURNAL, at, scene.now);
    assert!(matches!(told, Some(Decision::KeyLogin { at: Moment(0), .. })));
    assert_eq!(scene.score(ATTACKER), 1.0);
}

#[test]
fn a_shared_address_with_good_logins_and_one_offender_under_the_threshold_is_not_banned() {
    let mut scene = Scene::new();
    for minute in 0..24 * 60 {
        scene.at(minute * MINUTE);
        if minute % 5 == 0 {
            scene.see(line(ATTACKER, Kind::KeyLogin, 9));
        }
        assert!(!matches!(scene.wait(SECOND).fail(ATTACKER), Some(Decision::Ban(_))), "minute {minute}");
    }
}

#[test]
fn a_decoy_account_bans_at_once() {
    let mut scene = Scene::with(|d| d.decoys = vec!["oracle".into()]);
    let tried = |account, kind| Sighting { account: Some(account), ..line(ATTACKER, kind, 0) };
    assert_eq!(scene.see(tried(b"oracle2", Kind::FailedPassword)), None);
    assert_eq!(scene.see(tried(b"oracle", Kind::PasswordLogin)), None);
    assert!(matches!(scene.see(tried(b"oracle", Kind::InvalidUser)), Some(Decision::Ban(_))));
}

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
fn lines_in_flight_lead_to_no_second_ban() {
    let mut scene = Scene::new();
    scene.until_banned(ATTACKER);
    for _ in 0..50 {
        assert_eq!(scene.fail(ATTACKER), None);
    }
    assert_eq!(scene.engine.count().suppressed, 10);
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
fn hosts_of_one_network_are_scored_each_for_itself() {
    let mut scene = Scene::new();
    for host in 1..=20 {
        assert_eq!(scene.fail(&format!("2001:db8::{host:x}")), None);
    }
    assert_eq!(scene.engine.tracked(), 20);
}

#[test]
fn a_reload_keeps_scores() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        scene.fail(ATTACKER);
    }
    scene.engine.configure(Decide { threshold: Points(4000), ..Decide::default() });
    assert_eq!(scene.score(ATTACKER), 3.0);
    assert!(scene.fail(ATTACKER).is_some());
}

#[test]
fn a_smaller_table_keeps_the_worst() {
    let mut scene = Scene::new();
    for i in 0..100 {
        scene.fail(&format!("198.51.100.{i}"));
    }
    for _ in 0..3 {
        scene.fail(ATTACKER);
    }
    scene.engine.configure(Decide { max_sources: 10, ..Decide::default() });
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
fn sources_whose_score_has_leaked_away_make_room_uncounted() {
    let mut scene = Scene::new();
    for i in 0..1000 {
        scene.fail(&format!("198.51.{}.{}", i / 250, i % 250));
    }
    scene.wait(HOUR);
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

/// A random sighting: few addresses and processes, so that much joins.
fn any_sighting() -> impl Strategy<Value = (Sighting<'static>, SourceId, i64)> {
    let kind = prop::sample::select(Kind::ALL.to_vec());
    (0..6u8, kind, 0..4u32, 0..3u16, -500..3000i32, 0..2u16, 0..90_000i64).prop_map(
        |(host, kind, pid, port, points, via, wait)| {
            let address = if host < 4 { format!("192.0.2.{host}") } else { format!("2001:db8::{host}") };
            (Sighting { port, points: Points(points), ..line(&address, kind, pid) }, SourceId(via), wait)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_input_gives_the_same_decisions(log in prop::collection::vec(any_sighting(), 0..400), seed: u64) {
        let run = || {
            let decide = Decide { max_sources: 4, ladder: vec![Some(Duration::from_secs(60))], ..Decide::default() };
            let mut engine = Engine::new(EngineOptions { decide, seed, evidence: 2 });
            let mut now = Moment(0);
            let decisions: Vec<_> = log.iter().map(|(s, via, wait)| {
                now = Moment(now.0 + wait);
                engine.observe(s, *via, now, now)
            }).collect();
            (decisions, engine.count())
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn a_score_is_never_negative_and_never_reaches_the_threshold_unanswered(
        log in prop::collection::vec((any_sighting(), 0..700_000i64), 0..400),
    ) {
        let mut engine = Engine::new(EngineOptions { decide: Decide::default(), seed: 3, evidence: 0 });
        let mut now = Moment(0);
        for ((s, via, wait), late) in log {
            now = Moment(now.0 + wait);
            let decision = engine.observe(&s, via, Moment(now.0 - late), now);
            for at in [Moment(now.0 - late), now] {
                let score = engine.score(s.address, at);
                prop_assert!((Points(0)..Points(5000)).contains(&score), "{:?}", score);
            }
            if let Some(Decision::Ban(order)) = decision {
                prop_assert!(order.score >= Points(5000) && order.since == now);
                prop_assert!(order.until.unwrap() > now);
            }
        }
    }

    #[test]
    fn the_order_of_lines_that_happen_together_does_not_matter(
        kinds in prop::collection::vec((0..4usize, 1..4u32), 0..4).prop_shuffle(),
        shuffled in any::<prop::sample::Index>(),
    ) {
        let log: Vec<_> = kinds.iter().map(|&(kind, pid)| line(ATTACKER, Kind::ALL[kind], pid)).collect();
        let score = |log: &[Sighting<'static>]| {
            let mut scene = Scene::new();
            for s in log {
                scene.see(*s);
            }
            scene.score(ATTACKER)
        };
        let mut other = log.clone();
        if !other.is_empty() {
            let at = shuffled.index(other.len());
            other.rotate_left(at);
            other.reverse();
        }
        prop_assert_eq!(score(&log), score(&other));
    }

    #[test]
    fn lines_of_two_files_read_one_after_the_other_are_at_most_a_point_apart(
        log in prop::collection::vec((0..500_000i64, any::<bool>()), 0..30),
    ) {
        // The highest score on the way, with every line read at the end of the window.
        let highest = |lines: &[(i64, bool)]| {
            // No ban takes the score away, and a point leaks in two minutes all the same.
            let mut scene = Scene::with(|d| {
                d.threshold = Points(i32::MAX);
                d.window = Duration::from_secs(120 * (i32::MAX / 1000) as u64);
            });
            let now = Moment(500_000);
            let mut highest = Points(0);
            for (at, _) in lines {
                scene.engine.observe(&line(ATTACKER, Kind::FailedAuth, 0), FILE, Moment(*at), now);
                highest = highest.max(scene.engine.score(ATTACKER.parse().unwrap(), Moment(0)));
            }
            highest.0
        };
        let (mut in_time, mut by_file) = (log.clone(), log);
        in_time.sort_by_key(|(at, _)| *at);
        by_file.sort_by_key(|(at, second)| (*second, *at));
        prop_assert!(highest(&by_file) <= highest(&in_time) + 1000);
    }

    #[test]
    fn more_lines_never_mean_fewer_points(
        log in prop::collection::vec((any_sighting(), any::<bool>()), 0..60),
    ) {
        let mut all = Scene::with(|d| d.threshold = Points(i32::MAX));
        let mut some = Scene::with(|d| d.threshold = Points(i32::MAX));
        for ((s, _, _), kept) in log {
            let s = Sighting { pid: 0, points: Points(s.points.0.abs()), kind: Kind::FailedAuth, ..s };
            all.see(s);
            if kept {
                some.see(s);
            }
            prop_assert!(all.engine.score(s.address, all.now) >= some.engine.score(s.address, some.now));
        }
    }
}
