//! A full ban table: told once and then from time to time, however many bans have to make room.

use std::time::Duration;

use tracing::{info, warn};

use super::Judge;
use crate::target::Target;
use crate::time::Moment;

/// The log has one line of it in this time.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How full the ban table is, and what was told of it.
#[derive(Debug, Default)]
pub struct Crowding {
    is_full: bool,
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
    /// Makes room for a ban: of those that filters led to, the one that would end first goes. Bans by hand stay.
    pub(super) fn make_room(&mut self, now: Moment) {
        while self.bans.len() >= self.decide.max_bans {
            let Some(victim) = self.bans.evict() else { break };
            self.count.evicted += 1;
            self.tell_crowding(victim.target, now);
            self.evicted(&victim);
        }
    }

    fn tell_crowding(&mut self, target: Target, now: Moment) {
        if let Some(bans) = self.crowding.add(now) {
            warn!(bans, %target, "the ban table is full; bans that would end first make room");
        }
    }

    /// What people are to know of a full table, as long as it is one. It is well again once a twentieth is free.
    pub fn crowded(&mut self) -> Option<String> {
        let most = self.decide.max_bans;
        if self.crowding.is_full && self.bans.len() <= most - most / 20 {
            info!(bans = self.bans.len(), most, "the ban table has room again");
            self.crowding = Crowding::default();
        }
        self.crowding.is_full.then(|| {
            format!(
                "the ban table is full ({most} bans): each new ban takes the place of the one that would end first, \
                 bans by hand stay; raise decide.max_bans"
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
