//! What can be asked of a store, and what it is told to leave.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StoredEvent;
use crate::target::Target;
use crate::time::Wall;

/// Which events are wanted. Without any wish: all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventQuery {
    /// Of these kinds; empty: of any.
    pub kinds: Vec<String>,
    /// About a target that shares an address with this one: itself, what it covers, what covers it.
    pub target: Option<Target>,
    /// Not older.
    pub since: Option<Wall>,
    /// Older.
    pub until: Option<Wall>,
    /// Only what was written after the event of this number: how what is new is asked for.
    pub after: u64,
    /// Only what was written before the event of this number: how a search goes on.
    pub before: Option<u64>,
    /// At most this many.
    pub limit: usize,
}

impl Default for EventQuery {
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            target: None,
            since: None,
            until: None,
            after: 0,
            before: None,
            limit: usize::MAX,
        }
    }
}

impl Retention {
    /// Quiet time after which a strike is forgiven, in milliseconds.
    pub(super) fn forgive_after_ms(&self) -> i64 {
        i64::try_from(self.forgive_after.as_millis()).unwrap_or(i64::MAX)
    }
}

impl EventQuery {
    /// Whether an event is one of those wanted, whatever its number.
    pub fn wants(&self, event: &StoredEvent) -> bool {
        self.wants_kind(&event.kind)
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
            && self.target.is_none_or(|wanted| event.target.is_some_and(|target| target.overlaps(wanted)))
    }

    /// Whether events of a kind are wanted.
    pub fn wants_kind(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted == kind)
    }
}

/// An event with its number: events are numbered from 1 in the order in which they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEvent {
    /// Its number.
    pub number: u64,
    /// The event.
    pub event: StoredEvent,
}

/// A part of the answer to an [`EventQuery`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPage {
    /// Events, the newest first.
    pub events: Vec<KeptEvent>,
    /// Where the search goes on, as [`EventQuery::before`]; `None` if all was seen or the limit is reached.
    pub next: Option<u64>,
}

/// What [`super::Store::prune`] leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events, ended bans, ended allowances and scores older than this are forgotten.
    pub keep_from: Wall,
    /// The time. Strikes are forgotten once all of them are forgiven, and no ban of their target stands.
    pub now: Wall,
    /// Quiet time after which a strike is forgiven.
    pub forgive_after: Duration,
    /// Events beyond this number are forgotten, the oldest first.
    pub max_events: u64,
    /// Bytes that all of it may take up. Events give way, the oldest first; bans, strikes and positions never do.
    pub max_bytes: u64,
}
