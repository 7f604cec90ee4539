//! What outlives the daemon: bans, strikes, positions, events. Never on the path to the kernel.

use crate::config::Config;
use crate::target::Target;
use crate::time::Wall;

#[cfg(test)]
mod contract;
mod error;
mod memory;
mod query;
#[cfg(feature = "sqlite")]
mod sqlite;
mod value;
mod writer;

pub use error::{StoreError, StoreErrorClass};
pub use memory::Memory;
pub use query::{EventPage, EventQuery, KeptEvent, Retention};
#[cfg(feature = "sqlite")]
pub use sqlite::Sqlite;
pub use value::{
    ENGINE_STATE, Snapshot, StoredAddress, StoredAllow, StoredBan, StoredEvent, StoredLogin, StoredName,
    StoredScore, StoredStrikes, Write,
};
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

/// Durable state. Used from the store's own thread only, except for the reads at start.
///
/// What is said here of each call holds for every backend: `contract.rs` tests them all alike.
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

    /// Forgets every ban, strike, allowance (of names too, and what these were resolved to), score and login, then does as
    /// [`Store::write`], all as one transaction.
    fn replace(&mut self, writes: &[Write]) -> Result<(), StoreError>;

    /// The events that are wanted, the newest first, as far as a bounded look leads: [`EventPage::next`] asks for more.
    fn events(&mut self, query: &EventQuery) -> Result<EventPage, StoreError>;

    /// Forgets some of what is past its retention, so little that writes do not wait for it. Whether there is more.
    fn prune(&mut self, retention: Retention) -> Result<bool, StoreError>;

    /// Whether writes can work: not as long as nothing but reading was possible.
    fn is_writable(&self) -> bool {
        true
    }

    /// Whether something that was durable was lost since the last call: a damage was found, and only what could be read
    /// goes on. Whoever knows all of it gives it again with [`Store::replace`].
    fn take_losses(&mut self) -> bool {
        false
    }

    /// What was found and put right since the last call, in words for people.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// An event as people see it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredEventView {
    /// Its number: later events have greater ones.
    #[serde(default)]
    pub number: u64,
    /// When, RFC 3339.
    pub at: String,
    /// What.
    pub kind: String,
    /// The target it is about, if any.
    pub target: Option<Target>,
    /// What is known.
    pub detail: serde_json::Value,
}
