//! Scenarios: a few lines of a log each, and what must come of them.
#![expect(clippy::float_cmp, reason = "scores are exact thousandths, and so are these numbers")]

use std::net::IpAddr;
use std::time::Duration;

use super::{Cause, Decision, Engine, EngineOptions};
use crate::config::Decide;
use crate::sighting::{Kind, PatternId, Points, Sighting, SourceId};
use crate::target::Target;
use crate::time::Moment;

mod attempts;
mod bounds;
mod detect;
mod kept;
mod ladder;
mod listed;
mod logins;
mod random;
mod witnesses;

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
        let mut engine = Engine::new(EngineOptions { decide, seed: 7, evidence: 10 });
        engine.set_login_filters(vec![true, false]);
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

    /// A failed login at an account.
    fn fail_at(&mut self, address: &str, account: &'static str) -> Option<Decision> {
        self.next_pid += 1;
        let pid = self.next_pid;
        self.see(Sighting { account: Some(account.as_bytes()), ..line(address, Kind::FailedPassword, pid) })
    }

    /// Everything that was decided besides.
    fn further(&mut self) -> Vec<Decision> {
        std::iter::from_fn(|| self.engine.further()).collect()
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
        service: &[],
        request: None,
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
fn a_decoy_account_bans_at_once() {
    let mut scene = Scene::with(|d| d.decoys = vec!["oracle".into()]);
    let tried = |account, kind| Sighting { account: Some(account), ..line(ATTACKER, kind, 0) };
    assert_eq!(scene.see(tried(b"oracle2", Kind::FailedPassword)), None);
    assert_eq!(scene.see(tried(b"oracle", Kind::PasswordLogin)), None);
    assert!(matches!(scene.see(tried(b"oracle", Kind::InvalidUser)), Some(Decision::Ban(_))));
}

#[test]
fn hosts_of_one_network_are_scored_each_for_itself() {
    let mut scene = Scene::new();
    for host in 1..=20 {
        assert_eq!(scene.fail(&format!("2001:db8::{host:x}")), None);
    }
    assert_eq!(scene.engine.tracked(), 20);
}
