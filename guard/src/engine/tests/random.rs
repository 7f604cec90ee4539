//! What holds for every log.

use proptest::prelude::*;

use super::*;

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
                let (Cause::Score(threshold) | Cause::Known(threshold)) = order.cause else { panic!("{order:?}") };
                let is_known = matches!(order.cause, Cause::Known(_));
                prop_assert_eq!(is_known, threshold < Points(5000), "{:?}", order);
                prop_assert!((Points(2000)..=Points(5000)).contains(&threshold), "{:?}", threshold);
                prop_assert!(order.score >= threshold && order.since == now);
                prop_assert!(order.until.unwrap() > now);
            }
        }
    }

    #[test]
    fn the_order_of_lines_that_happen_together_does_not_matter(
        kinds in prop::collection::vec((0..4usize, 1..4u32), 0..4).prop_shuffle(),
        shuffled in any::<prop::sample::Index>(),
    ) {
        // Not of PAM: of its lines and those of the process that has forked for it the order tells which is which.
        let all = [Kind::FailedPassword, Kind::FailedKey, Kind::FailedAuth, Kind::InvalidUser];
        let log: Vec<_> = kinds.iter().map(|&(kind, pid)| line(ATTACKER, all[kind], pid)).collect();
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
