//! What comes to its end by itself: bans, and storms.

use serde_json::json;
use tracing::info;

use super::Judge;
use crate::ban::{Ban, Origin};
use crate::enforce::Change;
use crate::store::Write;
use crate::target::Target;
use crate::time::Clock;

/// Bans swept at once.
const SWEEP: usize = 512;

impl Judge {
    /// Does what the time has brought: a storm may be over; bans that are over are swept, which the kernel stopped
    /// enforcing at their deadline by itself.
    pub fn expire(&mut self, clock: Clock) {
        self.engine.tick(clock.moment);
        self.decide_further(None, clock);
        self.tell_repeats(clock);
        self.shrink(clock);
        self.go_on_overtaking(clock);
        for ban in self.bans.expired(clock.moment, SWEEP) {
            info!(target = %ban.target, "ban ended");
            self.count.expired += 1;
            self.has_gone(&ban, clock);
            self.event("expire", Some(ban.target), &json!({ "strike": ban.strike }), clock);
            if ban.origin.is_forced() {
                self.sync_allowed(clock);
            }
        }
    }

    /// Takes a ban out of the table and lines its change and its write up. Answers the ban, if there was one.
    pub(super) fn lift(&mut self, target: Target, clock: Clock) -> Option<Ban> {
        let ban = self.bans.remove(target)?;
        self.has_gone(&ban, clock);
        Some(ban)
    }

    /// A ban is out of the table: kernel, store and engine have to follow. If feeds list what it covered, their bans do.
    fn has_gone(&mut self, ban: &Ban, clock: Clock) {
        if !ban.origin.is_feed() {
            self.has_ended(ban.target);
        }
        if !self.relist(ban.target, clock) {
            self.outcome.changes.push(Change::Unban(ban.target));
        }
    }

    /// A ban has made room for another, or for fewer. The latter is what a person wants, and may be hundreds of thousands:
    /// no events.
    pub(super) fn evicted(&mut self, ban: &Ban, clock: Clock) {
        if let Origin::Feed(feed) = &ban.origin {
            self.lost_its_room(feed, ban.target);
        } else {
            self.has_ended(ban.target);
            if !self.is_shrinking() {
                let because = "the ban table is full: it made room for another";
                self.event(
                    "evict",
                    Some(ban.target),
                    &json!({ "strike": ban.strike, "because": because }),
                    clock,
                );
            }
        }
        self.outcome.changes.push(Change::Unban(ban.target));
    }

    /// A ban that was no feed's has ended: store, engine and protections learn of it.
    fn has_ended(&mut self, target: Target) {
        self.write(Write::Unban(target));
        self.engine.lifted(target);
        self.protection.unforce(target);
    }
}
