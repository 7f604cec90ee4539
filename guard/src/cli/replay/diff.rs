//! What another configuration would do otherwise: two lists of bans as a difference.
//!
//! Two bans are the same one if they are of one target and there is a time at which both hold. When each begins is of
//! no weight: a lower threshold bans some lines earlier.

use std::collections::BTreeMap;

use serde::Serialize;

use super::judge::Ban;
use crate::target::Target;

/// The difference, each list in the order of the log.
#[derive(Debug, Default, Serialize)]
pub(super) struct Difference {
    /// Bans that only the other configuration leads to.
    pub(super) added: Vec<Ban>,
    /// Bans that only the configuration in force leads to.
    pub(super) dropped: Vec<Ban>,
    /// Bans of both, of another length.
    pub(super) changed: Vec<Changed>,
    /// Bans of both, of the same length.
    pub(super) unchanged: u64,
}

/// A ban of another length.
#[derive(Debug, Serialize)]
pub(super) struct Changed {
    /// As the other configuration has it.
    #[serde(flatten)]
    pub(super) ban: Ban,
    /// Its length with the configuration in force; absent: for good.
    pub(super) seconds_before: Option<u64>,
}

impl Difference {
    /// What `other` has otherwise than `present`.
    pub(super) fn between(present: Vec<Ban>, other: Vec<Ban>) -> Self {
        let mut targets: BTreeMap<Target, [Vec<Ban>; 2]> = BTreeMap::new();
        for (side, bans) in [present, other].into_iter().enumerate() {
            for ban in bans {
                targets.entry(ban.target).or_default()[side].push(ban);
            }
        }
        let mut difference = Self::default();
        for [present, other] in targets.into_values() {
            difference.of_target(present, other);
        }
        difference.added.sort_by_key(|ban| ban.since);
        difference.dropped.sort_by_key(|ban| ban.since);
        difference.changed.sort_by_key(|changed| changed.ban.since);
        difference
    }

    fn of_target(&mut self, present: Vec<Ban>, other: Vec<Ban>) {
        let (mut present, mut other) = (present.into_iter().peekable(), other.into_iter().peekable());
        loop {
            match (present.peek(), other.peek()) {
                (Some(old), Some(new)) if is_over_before(old, new) => self.dropped.extend(present.next()),
                (Some(old), Some(new)) if is_over_before(new, old) => self.added.extend(other.next()),
                (Some(_), Some(_)) => {
                    if let (Some(old), Some(new)) = (present.next(), other.next()) {
                        self.both(&old, new);
                    }
                }
                (Some(_), None) => self.dropped.extend(present.next()),
                (None, Some(_)) => self.added.extend(other.next()),
                (None, None) => return,
            }
        }
    }

    fn both(&mut self, old: &Ban, new: Ban) {
        if old.seconds == new.seconds {
            self.unchanged += 1;
        } else {
            self.changed.push(Changed { ban: new, seconds_before: old.seconds });
        }
    }
}

fn is_over_before(ban: &Ban, other: &Ban) -> bool {
    ban.until.is_some_and(|until| until <= other.since)
}
