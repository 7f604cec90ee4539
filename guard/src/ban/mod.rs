//! The desired set of bans: who is to be dropped, why, and until when.

use serde::{Deserialize, Serialize};

use crate::sighting::Points;
use crate::target::Target;
use crate::time::Moment;

mod table;

pub use table::BanTable;

/// Identity of a ban, unique for the life of a state folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BanId(pub u64);

/// Who decided a ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The engine, by a filter of this name.
    Filter(Box<str>),
    /// A person with this user id, through guardctl.
    Manual(u32),
}

/// A ban as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Its identity.
    pub id: BanId,
    /// What is dropped.
    pub target: Target,
    /// Since when.
    pub since: Moment,
    /// Until when; `None` for good.
    pub until: Option<Moment>,
    /// Who decided it.
    pub origin: Origin,
    /// The score that was reached; 0 for manual bans.
    pub score: Points,
    /// How many bans this target has had, this one included, after forgiveness.
    pub strike: u32,
    /// Why, as shown to people: printable, at most 200 characters.
    pub reason: Box<str>,
}
