//! What is kept, as values: in wall-clock time, because moments end with the boot.

use std::net::IpAddr;
use std::sync::Arc;

use crate::ban::BanId;
use crate::source::Position;
use crate::target::{HostName, Target};
use crate::time::Wall;

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
    /// `filter:NAME`, `prefix`, `manual:UID` or `forced:UID`.
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

/// An address that somebody has logged in from lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredLogin {
    /// The address.
    pub address: IpAddr,
    /// When that was last; `None`: there is nothing to keep.
    pub last: Option<Wall>,
    /// The accounts, as the engine tells them apart.
    pub accounts: u32,
}

/// Something that happened, for `guardctl why` and `events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// When.
    pub at: Wall,
    /// `ban`, `unban`, `expire`, `refuse`, `adopt` (a ban that only the kernel knew), `denied`, `reload`, `start`, `stop`,
    /// `enforce` (there is a backend where there was none) ….
    pub kind: String,
    /// The target it is about, if any.
    pub target: Option<Target>,
    /// A JSON object with what is known: rule, score, evidence lines (already printable).
    pub detail: String,
}

/// Longest [`Write::Engine`] in bytes: a restart reads it before anything else.
pub const ENGINE_STATE: usize = 16 << 20;

/// A change to be made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A ban began or was changed.
    Ban(StoredBan),
    /// A ban ended.
    Unban(Target),
    /// A target was struck; one without strikes is forgotten.
    Strikes(StoredStrikes),
    /// A source was read up to here.
    Position(Position),
    /// The place in this source is forgotten: it has gone for good.
    ForgetPosition(String),
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
    /// A name was allowed at run time, with an end and a comment.
    AllowName(StoredName),
    /// A run-time allowance of a name was taken back.
    DisallowName(HostName),
    /// A name has these addresses, and no others; each with when it was last told of.
    Resolved {
        /// The name.
        name: HostName,
        /// Its addresses.
        addresses: Vec<(IpAddr, Wall)>,
    },
    /// These scores changed; one without points is forgotten.
    Scores(Vec<StoredScore>),
    /// Somebody logged in from these addresses, or it is so long ago that they are forgotten.
    Logins(Vec<StoredLogin>),
    /// The engine's short-lived state, in place of what was kept of it before. Its layout and the version of that are
    /// the engine's own. What is longer than [`ENGINE_STATE`] is not kept, and neither is what it was to replace.
    Engine(Box<[u8]>),
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

/// An allowance of a name made at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredName {
    /// The name.
    pub name: HostName,
    /// Until when.
    pub until: Option<Wall>,
    /// Why.
    pub comment: String,
}

/// An address that a name had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAddress {
    /// The name.
    pub name: HostName,
    /// The address.
    pub address: IpAddr,
    /// When it was last told of.
    pub seen: Wall,
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
    /// The same, of names.
    pub allowed_names: Vec<StoredName>,
    /// The addresses that names had, allowed at run time or by the configuration.
    pub resolved: Vec<StoredAddress>,
    /// Scores.
    pub scores: Vec<StoredScore>,
    /// Addresses that somebody has logged in from.
    pub logins: Vec<StoredLogin>,
    /// The highest [number of a ban](BanId::number) ever given out.
    pub last_id: u64,
    /// The engine's short-lived state, as it was given.
    pub engine: Option<Vec<u8>>,
}
