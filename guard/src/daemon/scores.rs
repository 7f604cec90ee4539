//! Scores over a restart: what has not led to a ban yet is kept, so that no restart is a fresh start for attackers.
//!
//! What changed goes to the store with the positions of the lines it comes from, and is written with them. A line of an
//! attempt that began before a crash counts as one of its own afterwards: attempts are not kept.

use crate::engine::{Engine, KeptScore};
use crate::sighting::Points;
use crate::store::{StoredScore, Write};
use crate::time::Clock;

use super::control::Control;

/// Gives the engine the scores of the store. Answers the write that rids the store of those that have leaked away.
pub(super) fn restore(engine: &mut Engine, stored: &[StoredScore], clock: Clock) -> Option<Write> {
    for score in stored {
        let kept = KeptScore {
            address: score.address,
            points: Points(score.points),
            settled: clock.moment_of(score.settled),
        };
        engine.restore_score(&kept, clock.moment);
    }
    engine.follow_scores();
    let gone = |score: &&StoredScore| engine.score(score.address, clock.moment).0 == 0;
    let gone: Vec<_> = stored.iter().filter(gone).map(|score| StoredScore { points: 0, ..*score }).collect();
    (!gone.is_empty()).then_some(Write::Scores(gone))
}

impl Control {
    /// Lines the scores that have changed up for the store.
    pub(super) fn keep_scores(&mut self) {
        let changed = self.engine.changed_scores();
        if !changed.is_empty() {
            self.writes.push(write(changed, Clock::now()));
        }
    }

    /// Every score.
    pub(super) fn all_scores(&self) -> Write {
        write(self.engine.scores(), Clock::now())
    }
}

fn write(scores: impl IntoIterator<Item = KeptScore>, clock: Clock) -> Write {
    let stored = |kept: KeptScore| StoredScore {
        address: kept.address,
        points: kept.points.0,
        settled: clock.wall_of(kept.settled),
    };
    Write::Scores(scores.into_iter().map(stored).collect())
}
