//! What outlives the daemon: bans, strikes, positions, events. Never on the path to the kernel.

use std::net::IpAddr;
use std::sync::Arc;

use crate::ban::BanId;
use crate::config::Config;
use crate::source::Position;
use crate::target::Target;
use crate::time::Wall;

mod error;
#[cfg(feature = "sqlite")]
mod sqlite;
mod writer;

pub use error::{StoreError, StoreErrorClass};
#[cfg(feature = "sqlite")]
pub use sqlite::Sqlite;
pub use writer::{Writer, WriterOptions, WriterStatus};

/// Opens the durable state that the configuration names. Besides the store come notes for people: what was found
/// damaged and what became of it, or that nothing can be kept at present. Each is a `problem` in status.
#[cfg(feature = "sqlite")]
pub fn open(config: &Config) -> Result<(Box<dyn Store>, Vec<String>), StoreError> {
    let (store, notes) = Sqlite::open(&config.paths.state)?;
    Ok((Box::new(store), notes))
}

/// Built without a store: nothing outlives the daemon.
#[cfg(not(feature = "sqlite"))]
pub fn open(config: &Config) -> Result<(Box<dyn Store>, Vec<String>), StoreError> {
    Err(StoreError::Failed {
        operation: "opening the store",
        path: config.paths.state.display().to_string(),
        reason: "this guard was built without the feature `sqlite`".into(),
    })
}

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
    pub origin: Arc<str>,
    /// Score in thousandths.
    pub score: i32,
    /// Strike.
    pub strike: u32,
    /// Why. Many bans have the same, so it is shared.
    pub reason: Arc<str>,
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
    /// When its bans of the last day began, oldest first, if there were several: what recidive is told by.
    pub recent: Vec<Wall>,
}

/// The score of an address that has not led to a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredScore {
    /// The address.
    pub address: IpAddr,
    /// Its points in thousandths, when leaking was last accounted for; 0: there is nothing to keep.
    pub points: i32,
    /// When that was.
    pub settled: Wall,
}

/// Something that happened, for `guardctl why` and `events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// When.
    pub at: Wall,
    /// `ban`, `unban`, `expire`, `refuse`, `adopt` (a ban that only the kernel knew), `denied`, `reload`, `start`, `stop` ….
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
    /// These scores changed; one without points is forgotten.
    Scores(Vec<StoredScore>),
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
    /// Scores.
    pub scores: Vec<StoredScore>,
    /// The highest ban id ever given out.
    pub last_id: u64,
}

/// What [`Store::prune`] leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events, ended bans, ended allowances and strikes older than this are forgotten.
    pub keep_from: Wall,
    /// Events beyond this number are forgotten, the oldest first.
    pub max_events: u64,
}

/// Durable state. Used from the store's own thread only, except for the reads at start.
pub trait Store: Send + std::fmt::Debug {
    /// Everything small.
    fn snapshot(&mut self) -> Result<Snapshot, StoreError>;

    /// Calls `each` with chunks of the bans that have not ended at `now`, the latest to end first, until all were
    /// given or it answers `false`. Where a damage is found and repaired on the way, bans may come twice.
    fn bans(&mut self, now: Wall, each: &mut dyn FnMut(Vec<StoredBan>) -> bool) -> Result<(), StoreError>;

    /// Ends the bans whose time was over at `now`, each with an event `expire` of the time it ended, all as one
    /// transaction; how many. Whoever is at work ends them himself, so these ended while nobody was.
    fn end_bans(&mut self, now: Wall) -> Result<u64, StoreError>;

    /// About how many bans [`Store::bans`] will give: what is to hold them is sized by it.
    fn ban_count(&mut self) -> Result<u64, StoreError>;

    /// Makes the writes durable, in order, as one transaction: after an error none of them has happened.
    fn write(&mut self, writes: &[Write]) -> Result<(), StoreError>;

    /// Forgets every ban, allowance and score, then does as [`Store::write`], all as one transaction.
    fn replace(&mut self, writes: &[Write]) -> Result<(), StoreError>;

    /// The last events, newest first, of one target or all.
    fn events(&mut self, target: Option<Target>, limit: usize) -> Result<Vec<StoredEvent>, StoreError>;

    /// Forgets what is past its retention.
    fn prune(&mut self, retention: Retention) -> Result<(), StoreError>;

    /// Whether writes can work: not as long as nothing but reading was possible.
    fn is_writable(&self) -> bool {
        true
    }

    /// What was found and put right since the last call, in words for people.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }
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
