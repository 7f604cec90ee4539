//! What outlives the daemon: bans, strikes, positions, events. Never on the path to the kernel.

use thiserror::Error;

use crate::ban::BanId;
use crate::source::Position;
use crate::target::Target;
use crate::time::Wall;

// #[cfg(feature = "sqlite")]
// mod sqlite;

// #[cfg(feature = "sqlite")]
// pub use sqlite::Sqlite;

/// A ban as it is kept: in wall-clock time, because moments end with the boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBan {
    /// Its identity.
    pub id: BanId,
    /// What is dropped.
    pub target: Target,
    /// Since when.
    pub since: Wall,
    /// Until when; `None` for good.
    pub until: Option<Wall>,
    /// `filter:NAME` or `manual:UID`.
    pub origin: String,
    /// Score in thousandths.
    pub score: i32,
    /// Strike.
    pub strike: u32,
    /// Why.
    pub reason: String,
}

/// A target's past, kept for the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredStrikes {
    /// The target.
    pub target: Target,
    /// Bans so far.
    pub strikes: u32,
    /// When the last one began.
    pub last: Wall,
}

/// Something that happened, for `guardctl why` and `events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// When.
    pub at: Wall,
    /// `ban`, `unban`, `expire`, `refuse`, `reload`, `start`, `stop` ….
    pub kind: String,
    /// The target it is about, if any.
    pub target: Option<Target>,
    /// A JSON object with what is known: rule, score, evidence lines (already printable).
    pub detail: String,
}

/// A change to be made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A ban began or was changed.
    Ban(StoredBan),
    /// A ban ended.
    Unban(Target),
    /// A target was struck.
    Strikes(StoredStrikes),
    /// A source was read up to here.
    Position(Position),
    /// Something happened.
    Event(StoredEvent),
    /// A target was allowed at run time, with an end and a comment.
    Allow {
        /// The target.
        target: Target,
        /// Until when.
        until: Option<Wall>,
        /// Why.
        comment: String,
    },
    /// A run-time allowance was taken back.
    Disallow(Target),
}

/// An allowance made at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAllow {
    /// The target.
    pub target: Target,
    /// Until when.
    pub until: Option<Wall>,
    /// Why.
    pub comment: String,
}

/// Everything but the bans and events: small enough to be read at once.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Strikes of known offenders.
    pub strikes: Vec<StoredStrikes>,
    /// Positions of the sources.
    pub positions: Vec<Position>,
    /// Allowances made at run time.
    pub allowed: Vec<StoredAllow>,
    /// The highest ban id ever given out.
    pub last_id: u64,
}

/// Why the store could not be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another daemon owns this state.
    #[error("{path} is in use by another guard (pid {pid})")]
    Busy {
        /// The state's path.
        path: String,
        /// The owner, 0 if unknown.
        pid: u32,
    },
    /// The state was written by a newer guard.
    #[error(
        "{path} has schema {found}, this guard knows up to {known}: install the newer guard again, or move the file away"
    )]
    TooNew {
        /// The state's path.
        path: String,
        /// Schema found.
        found: u32,
        /// Newest schema known.
        known: u32,
    },
    /// The store does not work.
    #[error("{operation} failed in {path}: {reason}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// The state's path.
        path: String,
        /// The cause.
        reason: String,
    },
}

/// Durable state. Used from the store's own thread only, except for the reads at start.
pub trait Store: Send {
    /// Everything small.
    fn snapshot(&mut self) -> Result<Snapshot, StoreError>;

    /// Calls `each` with chunks of the bans that have not ended at `now`, the latest to end first, until all were
    /// given or it answers `false`.
    fn bans(&mut self, now: Wall, each: &mut dyn FnMut(Vec<StoredBan>) -> bool) -> Result<(), StoreError>;

    /// Makes the writes durable, in order, as one transaction.
    fn write(&mut self, writes: &[Write]) -> Result<(), StoreError>;

    /// The last events, newest first, of one target or all.
    fn events(&mut self, target: Option<Target>, limit: usize) -> Result<Vec<StoredEvent>, StoreError>;

    /// Forgets what retention says: events older than `keep_from`, bans that ended and strikes last added before it.
    fn prune(&mut self, keep_from: Wall) -> Result<(), StoreError>;
}

/// An event as people see it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredEventView {
    /// When, RFC 3339.
    pub at: String,
    /// What.
    pub kind: String,
    /// The target it is about, if any.
    pub target: Option<Target>,
    /// What is known.
    pub detail: serde_json::Value,
}
