//! The one way to read and change a running daemon: a typed API over a unix socket, one JSON object a line.
//!
//! guardctl and scripts use it; there is no second way to change state.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ban::{BanQuery, Origin, Place};
use crate::enforce::{Counters, Drift, EnforcerStatus, Verdict};
use crate::feed::parse::Named;
use crate::source::SourceStatus;
use crate::store::{EventQuery, StoredEventView};
use crate::target::{Allowable, HostName, Target};

pub mod client;
mod listen;
mod peer;
pub mod server;
#[cfg(test)]
mod tests;
mod why;

pub use why::{PastBan, Undo, Why, WhyHost};

/// What can be asked of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How everything is.
    Status {},
    /// Ban targets.
    Ban {
        /// What.
        targets: Vec<Target>,
        /// How long in seconds; absent: the first step of the ladder; 0: for good.
        seconds: Option<u64>,
        /// Why.
        reason: Option<String>,
        /// Where the asker's own session comes from, or may come from, as he sees it himself: the daemon may not be allowed
        /// to look. What covers one of these is refused.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        from: BTreeSet<IpAddr>,
        /// Whether it is to hold past what allows or protects the targets.
        #[serde(default)]
        force: bool,
    },
    /// Lift bans of exactly these targets.
    Unban {
        /// Which.
        targets: Vec<Target>,
    },
    /// Lift every ban.
    UnbanAll {},
    /// The bans.
    List {
        /// Which, and in which order.
        #[serde(default)]
        query: BanQuery,
        /// Only what comes after this place: how the next page is asked for.
        after: Option<Place>,
        /// At most this many; 10,000 at most.
        limit: usize,
    },
    /// What the kernel does with packets from an address, and why.
    Check {
        /// The address.
        address: IpAddr,
    },
    /// Forget strikes and score of targets; bans that stand go on.
    Forget {
        /// Which.
        targets: Vec<Target>,
    },
    /// What is known about a target: score, lines, bans, strikes.
    Why {
        /// The target.
        target: Target,
    },
    /// The last events, newest first.
    Events {
        /// Which; 10,000 at most.
        query: EventQuery,
    },
    /// Allow targets, or the addresses of names, at run time; kept over restarts.
    AllowAdd {
        /// Which.
        targets: Vec<Allowable>,
        /// How long in seconds; absent: for good.
        seconds: Option<u64>,
        /// Why.
        comment: Option<String>,
    },
    /// Take run-time allowances back.
    AllowRemove {
        /// Which.
        targets: Vec<Allowable>,
    },
    /// Everything that is allowed or protected, with the reason.
    AllowList {},
    /// How the feeds are.
    Feeds {},
    /// Fetch a feed now, or all, and answer when that is done.
    FeedRefresh {
        /// Its name; absent: all.
        name: Option<String>,
    },
    /// Take the list of a feed that is held back because it lost too many of its targets.
    FeedAccept {
        /// Its name.
        name: String,
    },
    /// Read the configuration again.
    Reload {},
    /// Take everything guard put in place out of the kernel and stop enforcing until the next start or reload.
    Unlock {},
}

impl Request {
    /// Whether it changes anything. Such requests are for root only.
    pub fn is_change(&self) -> bool {
        matches!(
            self,
            Self::Ban { .. }
                | Self::Unban { .. }
                | Self::UnbanAll {}
                | Self::Forget { .. }
                | Self::AllowAdd { .. }
                | Self::AllowRemove { .. }
                | Self::FeedRefresh { .. }
                | Self::FeedAccept { .. }
                | Self::Reload {}
                | Self::Unlock {}
        )
    }

    /// The request for the log: a long list is told by its length and its first target.
    pub fn brief(&self) -> String {
        let long = |what: &str, targets: &[Target]| {
            targets.first().map(|first| format!("{what} {} targets, the first {first}", targets.len()))
        };
        let brief = match self {
            Self::Ban { targets, .. } if targets.len() > SHOWN => long("ban", targets),
            Self::Unban { targets } if targets.len() > SHOWN => long("unban", targets),
            _ => None,
        };
        brief.unwrap_or_else(|| format!("{self:?}"))
    }
}

/// Targets of a request that the log shows one by one.
const SHOWN: usize = 4;

/// Who asks: the peer's credentials as the kernel has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Process id, 0 if unknown.
    pub pid: i32,
}

/// The daemon's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To requests that name targets: what became of each.
    Targets(Vec<TargetResult>),
    /// To [`Request::UnbanAll`] and [`Request::Unlock`]: how many bans were lifted.
    Lifted(u64),
    /// To [`Request::List`].
    Bans {
        /// The bans of this page.
        bans: Vec<BanView>,
        /// Where the next page begins; absent: this is the last.
        next: Option<Place>,
    },
    /// To [`Request::Check`].
    Check(Box<Check>),
    /// To [`Request::Why`].
    Why(Box<Why>),
    /// To [`Request::Events`].
    Events(Vec<StoredEventView>),
    /// To [`Request::AllowList`].
    Allowed(AllowList),
    /// To [`Request::Feeds`], [`Request::FeedRefresh`] and [`Request::FeedAccept`]: how each feed is.
    Feeds(Vec<FeedView>),
    /// To [`Request::Reload`]: what changed.
    Reloaded {
        /// Each option that changed, as `key: old → new`.
        changes: Vec<String>,
        /// Options that changed but take effect at the next start only.
        at_restart: Vec<String>,
    },
    /// It was refused or failed.
    Error {
        /// Which of the two, and so the exit code of guardctl.
        class: ErrorClass,
        /// In words, with the way out.
        message: String,
    },
}

/// What kind of error an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// The request makes no sense (exit 2).
    Usage,
    /// The caller may not do this (exit 1).
    Denied,
    /// It did not work (exit 1).
    Failed,
}

/// What became of one target, or name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetResult {
    /// The target or name.
    pub target: Allowable,
    /// Whether it was done.
    pub done: bool,
    /// What was done, or why not and what protects it.
    pub message: String,
}

/// A ban as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanView {
    /// What is dropped.
    pub target: Target,
    /// Its identity.
    pub id: u64,
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, RFC 3339; absent: for good.
    pub until: Option<String>,
    /// Seconds left; absent: for good.
    pub seconds_left: Option<u64>,
    /// Who decided it.
    pub origin: Origin,
    /// Score in points, as a decimal number.
    pub score: String,
    /// Which ban of this target it is.
    pub strike: u32,
    /// Why.
    pub reason: String,
}

/// The answer to "is it dropped?".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The address.
    pub address: IpAddr,
    /// What the kernel does.
    pub verdict: Verdict,
    /// The bans of our own record that cover it.
    pub bans: Vec<BanView>,
    /// What protects or allows it, in words.
    pub protected_by: Option<String>,
    /// The backend that was asked.
    pub backend: String,
    /// The interfaces on which this holds.
    pub interfaces: Vec<String>,
}

/// Everything that is allowed or protected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowList {
    /// Addresses and prefixes, those of names among them.
    pub targets: Vec<Allowed>,
    /// Names.
    pub names: Vec<AllowedName>,
}

/// A name whose addresses are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedName {
    /// The name.
    pub name: HostName,
    /// Who allows it, and why.
    pub because: String,
    /// Seconds left; absent: for good.
    pub seconds_left: Option<u64>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Seconds since all of them were last heard of; absent: not since the start.
    pub answered_seconds: Option<u64>,
    /// Why it could not be resolved the last time.
    pub failure: Option<String>,
    /// How often that happened since the start.
    pub failures: u64,
    /// Addresses that it claims and nobody may allow, such as loopback.
    pub refused: Vec<IpAddr>,
    /// Seconds until the first of its addresses is believed no more, as long as it cannot be resolved.
    pub believed_seconds: Option<u64>,
}

/// Something allowed or protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// The target.
    pub target: Target,
    /// Why: `configuration`, `private range`, `own address of eth0`, `gateway`, `resolver`, `live key login` ….
    pub because: String,
    /// Seconds left; absent: as long as the reason holds.
    pub seconds_left: Option<u64>,
}

/// A feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedView {
    /// Its name.
    pub name: String,
    /// Where it is, without what may be a secret.
    pub source: String,
    /// `ban` or `points`.
    pub action: String,
    /// Points that who is listed starts with, for `points`.
    pub points: Option<String>,
    /// Targets listed; absent before the first list.
    pub targets: Option<u64>,
    /// Bans that stand because of it.
    pub bans: u64,
    /// Seconds since its list was fetched.
    pub age_seconds: Option<u64>,
    /// Seconds since it was last found to be as it is; absent: not since the start.
    pub checked_seconds: Option<u64>,
    /// What of it is no target.
    pub rubbish: Named,
    /// What of it is too wide to be taken.
    pub too_wide: Named,
    /// Listed targets that touch something protected, and are banned in part or not at all.
    pub protected: u64,
    /// Bans that found no room in the ban table.
    pub no_room: u64,
    /// Why it could not be used the last time.
    pub failure: Option<String>,
    /// How often that happened since the start.
    pub failures: u64,
    /// Targets of a list that waits to be accepted.
    pub held: Option<u64>,
}

/// How everything is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Whether it only observes.
    pub observe: bool,
    /// What needs attention, each with what guard does about it; empty if all is well.
    pub problems: Vec<String>,
    /// The sources.
    pub sources: Vec<SourceStatus>,
    /// Lines read.
    pub lines: u64,
    /// Lines that a pattern matched.
    pub matched: u64,
    /// Sources with a score.
    pub tracked: u64,
    /// Bans in the ban table.
    pub bans: u64,
    /// The enforcer.
    pub enforcer: EnforcerStatus,
    /// The kernel's counters.
    pub counters: Counters,
    /// Drift put right since the start.
    pub drift: Drift,
    /// Whether all bans of the store have been restored.
    pub restored: bool,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}
