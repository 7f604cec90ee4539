//! A full ban table: told once and then from time to time, however many bans have to make room.

use std::time::Duration;

use tracing::{info, warn};

use super::Judge;
use crate::target::Target;
use crate::time::{Clock, Moment};

/// The log has one line of it in this time.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Bans that make room in one go at most: what else is due does not wait for a table that shrinks.
const PART: usize = 512;

/// How full the ban table is, and what was told of it.
#[derive(Debug, Default)]
pub struct Crowding {
    is_full: bool,
    /// Whether there may be more bans than there are to be.
    pub(super) is_shrinking: bool,
    told: Option<Moment>,
    untold: u64,
}

impl Crowding {
    /// One more made room. Answers how many are to be told of, if it is time.
    fn add(&mut self, now: Moment) -> Option<u64> {
        self.is_full = true;
        self.untold += 1;
        if self.told.is_some_and(|told| now.since(told) < TELL_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

impl Judge {
    /// Makes room for a ban: of those that feeds list one goes, else of those that filters led to the one that would end
    /// first. Bans by hand stay.
    pub(super) fn make_room(&mut self, clock: Clock) {
        self.evict_beyond(self.decide.max_bans.saturating_sub(1), PART, clock);
    }

    /// Takes out a part of what is too much for a table that is to hold less than it does.
    pub(super) fn shrink(&mut self, clock: Clock) {
        if self.crowding.is_shrinking {
            self.crowding.is_shrinking = self.evict_beyond(self.decide.max_bans, PART, clock);
        }
    }

    /// Whether the table holds more than it is to.
    pub(super) const fn is_shrinking(&self) -> bool {
        self.crowding.is_shrinking
    }

    /// The table is to hold another number of bans.
    pub(super) const fn resize_table(&mut self) {
        self.crowding.is_shrinking = true;
    }

    /// Evicts bans down to `most`, at most `limit` of them. Whether it is to go on.
    fn evict_beyond(&mut self, most: usize, limit: usize, clock: Clock) -> bool {
        for _ in 0..limit {
            if self.bans.len() <= most {
                return false;
            }
            let Some(victim) = self.bans.evict() else { return false };
            self.count.evicted += 1;
            self.tell_crowding(victim.target, clock.moment);
            self.evicted(&victim, clock);
        }
        self.bans.len() > most
    }

    fn tell_crowding(&mut self, target: Target, now: Moment) {
        if let Some(bans) = self.crowding.add(now) {
            warn!(bans, %target, "the ban table is full; bans of feeds make room, then those that would end first");
        }
    }

    /// What people are to know of a full table, as long as it is one. It is well again once a twentieth is free.
    pub fn crowded(&mut self) -> Option<String> {
        let most = self.decide.max_bans;
        if self.crowding.is_full && self.bans.len() <= most - most / 20 {
            info!(bans = self.bans.len(), most, "the ban table has room again");
            self.crowding = Crowding { is_shrinking: self.crowding.is_shrinking, ..Crowding::default() };
        }
        self.crowding.is_full.then(|| {
            format!(
                "the ban table is full ({most} bans): each new ban takes the place of one of a feed, or else of the one \
                 that would end first, bans by hand stay; raise decide.max_bans"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_evictions_is_a_line_a_minute() {
        let mut crowding = Crowding::default();
        let told: Vec<u64> = (0..150_000).filter_map(|ms| crowding.add(Moment(ms))).collect();
        assert_eq!(told, [1, 60_000, 60_000], "each is told of once");
    }
}
