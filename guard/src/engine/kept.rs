//! Scores that outlive the daemon: the highest ones.
//!
//! Without them whoever makes the daemon restart, or waits for it, begins at nothing again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;

use super::score::{Leak, Score};
use crate::sighting::Points;
use crate::time::Moment;

/// The score of an address, as the store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptScore {
    /// The address.
    pub address: IpAddr,
    /// Its points when leaking was last accounted for.
    pub points: Points,
    /// When that was.
    pub settled: Moment,
}

impl KeptScore {
    /// The score it was, none of it in the future.
    pub(super) fn score(&self, now: Moment) -> Score {
        Score::kept(self.points, self.settled.min(now))
    }
}

/// The highest scores at a moment, at most so many. Memory is for these only, however many there are.
pub(super) fn highest(
    scores: impl Iterator<Item = (IpAddr, Score)>,
    most: usize,
    now: Moment,
    leak: Leak,
) -> Vec<KeptScore> {
    let mut heap = BinaryHeap::new();
    for (address, score) in scores {
        let left = score.at(now, leak);
        if left.0 == 0 {
            continue;
        }
        if heap.len() >= most {
            let Some(Reverse((least, _))) = heap.peek() else { break };
            if left <= *least {
                continue;
            }
            heap.pop();
        }
        heap.push(Reverse((left, KeptScore { address, points: score.points(), settled: score.settled() })));
    }
    heap.into_iter().map(|Reverse((_, kept))| kept).collect()
}
