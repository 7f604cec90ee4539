//! The answer to why: everything that is known about a target, and what would undo it.

use serde::{Deserialize, Serialize};

use super::BanView;
use crate::judge::{AccountAttack, IgnoredLines, Line};
use crate::store::StoredEventView;
use crate::target::Target;
use crate::time::Wall;

/// What is known about a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// The target.
    pub target: Target,
    /// The score now, in points; of a prefix: of its first address.
    pub score: String,
    /// The points that lead to a ban.
    pub threshold: String,
    /// The last lines that counted, newest last. After a restart: those that led to the last ban.
    pub lines: Vec<Line>,
    /// The lines that rules ignored since guard was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored: Option<IgnoredLines>,
    /// The attacks on accounts that it took part in within a day, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attacks: Vec<AccountAttack>,
    /// The bans that cover it.
    pub bans: Vec<BanView>,
    /// How many bans count against it, after forgiveness.
    pub strikes: u32,
    /// Its bans of the past, as far as events are kept, newest first.
    pub past: Vec<PastBan>,
    /// Which strike its next ban would be.
    pub next_strike: u32,
    /// How long that would last in seconds, without its random part; absent: for good.
    pub next_seconds: Option<u64>,
    /// What protects it.
    pub protected_by: Option<String>,
    /// Of a prefix: banned targets and scored addresses in it, the worst first; 100 at most.
    pub hosts: Vec<WhyHost>,
    /// How many such there are.
    pub hosts_count: u64,
    /// What happened to it and to what shares an address with it, newest first.
    pub events: Vec<StoredEventView>,
    /// Commands that undo it, and what each does.
    pub undo: Vec<Undo>,
}

/// A ban that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastBan {
    /// When it began.
    pub at: Wall,
    /// Which strike it was, if that is known.
    pub strike: Option<u64>,
    /// How long it was meant to last, in seconds; absent: for good.
    pub seconds: Option<u64>,
    /// The filter, `rule:` and its name, `prefix`, or `manual`.
    pub by: String,
}

/// What is in a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyHost {
    /// The target.
    pub target: Target,
    /// Its score.
    pub score: String,
    /// Whether it has a ban of its own.
    pub banned: bool,
    /// Seconds left of that; absent: it has none, or one for good.
    pub seconds_left: Option<u64>,
}

/// A way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// The command.
    pub command: String,
    /// What it does.
    pub effect: String,
}
