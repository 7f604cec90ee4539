//! Scores over a restart: what has not led to a ban yet is kept, so that a restart is no fresh start for attackers.

use std::time::{Duration, Instant};

use crate::engine::{Engine, KeptScore};
use crate::sighting::Points;
use crate::store::{StoredScore, Write};
use crate::time::Clock;

use super::control::Control;

/// How often the scores are kept.
const EVERY: Duration = Duration::from_secs(60);
/// Scores that are kept at most: the highest.
const MOST: usize = 10_000;

/// When scores are kept next.
#[derive(Debug)]
pub(super) struct Keeping {
    next: Instant,
    /// Whether the store has any.
    any: bool,
}

impl Keeping {
    /// `any`: whether the store has scores from before.
    pub(super) fn new(any: bool) -> Self {
        Self { next: Instant::now() + EVERY, any }
    }
}

/// Gives the engine the scores of the store.
pub(super) fn restore(engine: &mut Engine, stored: &[StoredScore], clock: Clock) {
    for score in stored {
        let kept = KeptScore {
            address: score.address,
            points: Points(score.points),
            settled: clock.moment_of(score.settled),
        };
        engine.restore_score(&kept, clock.moment);
    }
}

impl Control {
    /// Keeps the scores when it is time.
    pub(super) fn keep_scores_in_time(&mut self, now: Instant) {
        if now >= self.keeping.next {
            self.keeping.next = now + EVERY;
            self.keep_scores();
        }
    }

    /// Lines the highest scores up for the store, behind the positions of the lines they come from: after a crash no
    /// line counts twice.
    pub(super) fn keep_scores(&mut self) {
        let clock = Clock::now();
        let scores: Vec<_> = self
            .engine
            .scores(MOST, clock.moment)
            .into_iter()
            .map(|kept| StoredScore {
                address: kept.address,
                points: kept.points.0,
                settled: clock.wall_of(kept.settled),
            })
            .collect();
        let any = !scores.is_empty();
        if any || self.keeping.any {
            self.keeping.any = any;
            self.writes.push(Write::Scores(scores));
        }
    }
}
