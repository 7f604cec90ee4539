//! Bans that must not be any more because more is allowed than was: lifted in parts, however many there are.
//!
//! What is allowed passes from the moment the kernel is told, whatever the table holds. So there is no hurry.

use serde_json::json;
use tracing::warn;

use super::Judge;
use crate::ban::Walk;
use crate::target::{Target, touching};
use crate::time::Clock;

/// Bans that are looked at in one go, at most: a fraction of a millisecond.
const LOOK: usize = 8192;
/// Bans that are lifted in one go, beyond which no others are looked at.
const LIFT: usize = 64;
/// Bans that are looked at before any of them is lifted.
const STEP: usize = 64;

/// How far the table has been gone through since a prefix was allowed; nothing if there is nothing left to look at.
#[derive(Debug, Default)]
pub(super) struct Overtaken(Option<Walk>);

impl Overtaken {
    /// Whether bans are still to be looked at.
    pub(super) const fn is_under_way(&self) -> bool {
        self.0.is_some()
    }
}

impl Judge {
    /// Whether bans of what is allowed may still stand in the table, where the kernel does not heed them.
    pub const fn is_lifting(&self) -> bool {
        self.overtaken.is_under_way()
    }

    /// These targets are allowed from now on: begins to lift the bans that overlap them. Answers those that it has lifted
    /// already: around and at single addresses all of them.
    pub(super) fn overtake(&mut self, allowed: &[Target], clock: Clock) -> Vec<Target> {
        let around = allowed.iter().flat_map(|target| self.bans.covering(target.address()));
        let around = around.map(|ban| ban.target).collect();
        let mut lifted = Vec::new();
        self.lift_overtaken(around, &mut lifted, clock);
        if allowed.iter().any(|target| !target.is_host()) {
            self.overtaken = Overtaken(Some(self.bans.walk()));
            lifted.extend(self.go_on_overtaking(clock));
        }
        lifted
    }

    /// Looks at the next bans, and answers those that it lifted.
    pub(super) fn go_on_overtaking(&mut self, clock: Clock) -> Vec<Target> {
        let mut lifted = Vec::new();
        let Some(mut walk) = self.overtaken.0.take() else { return lifted };
        for _ in 0..LOOK / STEP {
            let Some(part) = self.bans.part(&mut walk, STEP) else { return lifted };
            let touches = |target: &Target| !touching(*target, &self.allowed).is_empty();
            let touched = part.map(|(ban, _)| ban.target).filter(touches).collect();
            self.lift_overtaken(touched, &mut lifted, clock);
            if lifted.len() >= LIFT {
                break;
            }
        }
        self.overtaken = Overtaken(Some(walk));
        lifted
    }

    fn lift_overtaken(&mut self, bans: Vec<Target>, lifted: &mut Vec<Target>, clock: Clock) {
        for (target, because) in self.protection.conflicts(bans, clock.moment) {
            let Some(ban) = self.lift(target, clock) else { continue };
            lifted.push(target);
            // Of a feed's ban what is not protected is still banned, and a list may hold many.
            if !ban.origin.is_feed() {
                warn!(%target, because, "ban lifted: the target is protected now");
                self.event("unban", Some(target), &json!({ "because": because }), clock);
            }
        }
    }
}
