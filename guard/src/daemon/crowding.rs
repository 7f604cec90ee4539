//! A full ban table: told once and then from time to time, however many bans have to make room.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::target::Target;

use super::control::Control;

/// The log has one line of it in this time.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// The problem in status.
const TOPIC: &str = "ban table";

/// Bans that made room and were not told of yet.
#[derive(Debug, Default)]
pub(super) struct Crowding {
    told: Option<Instant>,
    untold: u64,
}

impl Crowding {
    /// One more made room. Answers how many are to be told of, if it is time.
    fn add(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.duration_since(told) < TELL_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

impl Control {
    /// Makes room for a ban: of those that filters led to, the one that would end first goes. Bans by hand stay.
    pub(super) fn make_room(&mut self) {
        let most = self.config.decide.max_bans;
        while self.bans.len() >= most {
            let Some(victim) = self.bans.evict() else { break };
            self.count.evicted_bans += 1;
            self.tell_crowding(victim.target, most);
            self.lifted(victim.target);
        }
    }

    fn tell_crowding(&mut self, target: Target, most: usize) {
        let Some(bans) = self.crowding.add(Instant::now()) else { return };
        warn!(bans, %target, "the ban table is full; bans that would end first make room");
        self.problems.set(
            TOPIC,
            format!(
                "the ban table is full ({most} bans): each new ban takes the place of the one that would end first, \
                 bans by hand stay; raise decide.max_bans"
            ),
        );
    }

    /// The table is well again once a twentieth of it is free.
    pub(super) fn keep_room(&mut self) {
        let most = self.config.decide.max_bans;
        if self.count.evicted_bans > 0 && self.bans.len() <= most - most / 20 && self.problems.clear(TOPIC) {
            info!(bans = self.bans.len(), most, "the ban table has room again");
            self.crowding = Crowding::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_evictions_is_a_line_a_minute() {
        let mut crowding = Crowding::default();
        let start = Instant::now();
        let told: Vec<u64> =
            (0..150_000).filter_map(|ms| crowding.add(start + Duration::from_millis(ms))).collect();
        assert_eq!(told, [1, 60_000, 60_000], "each is told of once");
    }
}
