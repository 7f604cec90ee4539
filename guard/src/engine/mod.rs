//! The engine decides. It is pure: no I/O, no clock, no async; time and chance are arguments, so the same input
//! gives the same decisions.
//!
//! A sighting is first joined with the other lines of its attempt ([`attempt`]) and with what other programs say about
//! it ([`witness`]), its points go to the score of its source ([`score`], [`sources`]), and a score that reaches the
//! threshold becomes an order whose length follows from the target's past ([`escalate`]). The engine remembers which
//! targets are banned and orders none twice.
//!
//! What no score tells is told by what is remembered besides: guesses far apart and many accounts ([`trail`]), an
//! account that many addresses try ([`accounts`]), a prefix whose hosts are banned one after the other ([`prefixes`]),
//! how much is going on at all ([`pace`]).
//!
//! Lines are kept as evidence in a ring ([`evidence`]). A replay uses the same engine with `evidence` 0 and with
//! the line's time as `now`.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Decide;
use crate::sighting::{Points, SourceId};
use crate::target::Target;
use crate::time::Moment;

mod accounts;
mod attacked;
mod attempt;
mod detect;
mod escalate;
mod evidence;
mod groups;
mod incident;
mod kept;
mod listed;
mod logins;
mod members;
mod pace;
mod partial;
mod prefixes;
mod recall;
mod score;
mod second;
mod sources;
mod state;
mod storm;
mod trail;
mod witness;

pub use attacked::Attack;
pub(crate) use escalate::RECIDIVE_MOST;
pub use escalate::{Sentence, Strikes};
pub use incident::{Incident, Severity, Trouble};
pub use kept::{KeptLogin, KeptScore};
pub use listed::Suspects;
pub use logins::LoginAccounts;
pub use recall::Recalled;
pub use state::Engine;

/// What a sighting led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A target is to be banned.
    Ban(BanOrder),
    /// Something people should know of.
    Incident(Incident),
    /// What would have been ordered has to wait until the storm is over.
    Held(BanOrder),
    /// A prefix would have been ordered, but somebody has logged in from it lately.
    Spared {
        /// The prefix.
        target: Target,
        /// Where from.
        login: IpAddr,
    },
    /// There are so many bans at once that what reaches further than one address waits, until then.
    StormBegins(Moment),
    /// The storm is over.
    StormEnds {
        /// Orders that have waited, and are given now.
        held: u32,
        /// Orders for which there was no room to wait: they are given when one more member of their prefix is banned.
        unheld: u32,
    },
    /// The address logged in with a key, alone or as one of several methods: it is to be protected.
    KeyLogin {
        /// The address.
        address: IpAddr,
        /// The peer's port, by which the live session is found; 0 if unknown.
        port: u16,
        /// When.
        at: Moment,
    },
    /// An authenticated session from this address ended.
    SessionEnd {
        /// The address.
        address: IpAddr,
        /// The peer's port, 0 if unknown.
        port: u16,
    },
}

/// A ban the engine asks for. The ban table gives it its identity; the allowlist may refuse it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanOrder {
    /// What to drop.
    pub target: Target,
    /// Since when.
    pub since: Moment,
    /// Until when; `None` for good.
    pub until: Option<Moment>,
    /// The score that was reached.
    pub score: Points,
    /// Which ban of this target it is.
    pub strike: u32,
    /// What led to it.
    pub cause: Cause,
    /// The pattern of the line that tipped it.
    pub pattern: crate::sighting::PatternId,
}

/// What led to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The score has reached the threshold, which was so high then.
    Score(Points),
    /// An account was tried that nobody has here.
    Decoy,
    /// So many different accounts were tried from one address within a short time.
    Accounts(u32),
    /// Guesses far apart, at several accounts.
    Slow,
    /// So many hosts, or prefixes, of a prefix were banned within a short time.
    Banned(u32),
    /// So many addresses of an IPv6 prefix have failed within a short time.
    Failing(u32),
    /// The score has reached the threshold, which earlier bans had lowered so far.
    Known(Points),
}

/// A line that counted, as the engine remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// When it happened.
    pub at: Moment,
    /// The pattern.
    pub pattern: crate::sighting::PatternId,
    /// What it says.
    pub kind: crate::sighting::Kind,
    /// Points it gave after joining.
    pub points: Points,
    /// Whether it was joined with earlier lines of its attempt.
    pub joined: bool,
    /// The score after it.
    pub score: Points,
    /// The rules that changed its points.
    pub ruled_by: Option<Box<str>>,
    /// The feed that lists its source, and the points that the source began with for that.
    pub listed: Option<(Box<str>, Points)>,
    /// The line as it was, at most [`crate::encode::EVIDENCE`] bytes.
    pub line: Box<[u8]>,
}

/// What the next ban of a target would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prospect {
    /// Which strike it would be.
    pub strike: u32,
    /// Its length without its random part; `None` for good.
    pub length: Option<Duration>,
}

/// Counters of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineCount {
    /// Sightings judged.
    pub sightings: u64,
    /// Sightings joined to an attempt that had counted already, or about one of which another program had told.
    pub joined: u64,
    /// Sightings older than the window.
    pub too_old: u64,
    /// Sources that were forgotten to make room although they had a score, or had guessed within a day.
    pub evicted: u64,
    /// Bans ordered.
    pub orders: u64,
    /// Incidents told of.
    pub incidents: u64,
    /// Prefixes that were not ordered because somebody logged in from them lately.
    pub spared: u64,
    /// Times the threshold was reached by a source that is banned already (lines in flight).
    pub suppressed: u64,
    /// Targets whose past is remembered (not a counter: the number now).
    pub offenders: u64,
    /// Targets whose past was forgotten to make room.
    pub offenders_evicted: u64,
    /// Addresses that somebody had logged in from lately and that were forgotten to make room.
    pub logins_evicted: u64,
    /// Accounts and prefixes that were forgotten to make room although there was something to remember of them.
    pub groups_evicted: u64,
    /// Orders that could not wait for the end of a storm, because too many did.
    pub unheld: u64,
}

/// Settings and identities an engine is made with.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// What leads to a ban.
    pub decide: Decide,
    /// Where chance comes from.
    pub seed: u64,
    /// Lines kept as evidence for each source; 0 for none (replay).
    pub evidence: usize,
}

/// Which reader a sighting came through: the same line through two sources counts once.
pub type Via = SourceId;

#[cfg(test)]
mod tests;
