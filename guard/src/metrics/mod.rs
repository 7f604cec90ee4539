//! What Prometheus scrapes: the daemon fills a [`Snapshot`] when asked, [`render()`] writes it in the text
//! exposition format, [`http`] serves it.

use std::sync::atomic::Ordering;

use crate::api::FeedView;
use crate::api::server::ApiCount;
use crate::enforce::{Counters, Drift, EnforcerStatus};
use crate::engine::EngineCount;
use crate::rules::RuleCount;
use crate::sighting::Kind;
use crate::source::ReadCount;
use crate::source::health::Fault;

mod histogram;
pub mod http;
pub mod names;
mod process;
mod render;
#[cfg(test)]
mod tests;

pub use histogram::{BOUNDS, Distribution, Histogram};
pub use process::Process;
pub use render::{CONTENT_TYPE, render};

/// Everything that is exported, at one time. What belongs to the process itself is read while rendering.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Version of the daemon.
    pub version: String,
    /// Number of problems that status would show.
    pub problems: u64,
    /// Whether all bans of the store have been restored.
    pub restored: bool,
    /// The sources.
    pub sources: Vec<SourceCount>,
    /// Sightings by filter and kind; kinds that were never seen may be left out.
    pub sightings: Vec<(String, Kind, u64)>,
    /// The engine's counters.
    pub engine: EngineCount,
    /// Addresses that are remembered.
    pub tracked: u64,
    /// Bans since the start by rule: a filter's name, `rule:` and a rule's, or `manual`.
    pub bans: Vec<(String, u64)>,
    /// Bans refused by allowlist and protections.
    pub bans_refused: u64,
    /// Bans that made room for others.
    pub bans_evicted: u64,
    /// Incidents by their name.
    pub incidents: Vec<(&'static str, u64)>,
    /// Storms that began.
    pub storms: u64,
    /// Whether there is one.
    pub is_storm: bool,
    /// Bans of prefixes that had to wait for the end of one.
    pub held: u64,
    /// What rules have done, by name.
    pub rules: Vec<(String, RuleCount)>,
    /// Commands of rules.
    pub commands: OrderCount,
    /// Documents that rules sent to web servers.
    pub webhooks: OrderCount,
    /// IPv4 bans in force.
    pub active_ipv4: u64,
    /// IPv6 bans in force.
    pub active_ipv6: u64,
    /// Backend, interfaces and maps.
    pub enforcer: EnforcerStatus,
    /// Failed changes to the kernel.
    pub enforcer_errors: u64,
    /// The kernel's counters.
    pub counters: Counters,
    /// Drift put right since the start.
    pub drift: Drift,
    /// From the line read to the ban confirmed.
    pub line_to_kernel: Distribution,
    /// The feeds.
    pub feeds: Vec<FeedView>,
    /// Names that are allowed.
    pub names: NameCount,
    /// The store.
    pub store: StoreCount,
    /// The control socket.
    pub api: ApiTotals,
}

/// One source's counters and state.
#[derive(Clone, Debug, Default)]
pub struct SourceCount {
    /// Its name: the file's path, or `journald`.
    pub name: String,
    /// What was read since the start.
    pub read: ReadCount,
    /// Whether lines can arrive.
    pub healthy: bool,
    /// Bytes or entries not read yet.
    pub behind: u64,
    /// Seconds since the last line; 0 before the first.
    pub silent_seconds: u64,
    /// Share of unmatched lines among the latest of programs that filters read.
    pub unmatched: f64,
    /// Whether each of [`Fault::NAMES`](crate::source::health::Fault::NAMES) is there.
    pub faults: [bool; Fault::NAMES.len()],
}

impl SourceCount {
    /// What [`SourceCount::behind`] counts.
    pub fn unit(&self) -> &'static str {
        if self.name == "journald" { "entries" } else { "bytes" }
    }
}

/// What became of the commands, or webhooks, of rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderCount {
    /// Ended well.
    pub done: u64,
    /// Could not be started, or did not end well.
    pub failed: u64,
    /// Took too long and were ended.
    pub timeout: u64,
    /// Never started, because too many waited.
    pub dropped: u64,
}

/// Names that are allowed, by how they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameCount {
    /// Resolved.
    pub current: u64,
    /// Not resolved the last time, or not since the start, with addresses that were known before.
    pub kept: u64,
    /// Without any address.
    pub unknown: u64,
    /// Times that one could not be resolved.
    pub failures: u64,
}

/// The store's writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCount {
    /// Waiting.
    pub queued: u64,
    /// Transactions that failed.
    pub failures: u64,
    /// Writes given up.
    pub lost: u64,
}

/// [`ApiCount`] at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiTotals {
    /// Requests handed on.
    pub requests: u64,
    /// Refused because of who asked.
    pub refused: u64,
    /// Malformed, too long or too slow.
    pub malformed: u64,
    /// Connections over the limit.
    pub turned_away: u64,
}

impl From<&ApiCount> for ApiTotals {
    fn from(count: &ApiCount) -> Self {
        Self {
            requests: count.requests.load(Ordering::Relaxed),
            refused: count.refused.load(Ordering::Relaxed),
            malformed: count.malformed.load(Ordering::Relaxed),
            turned_away: count.turned_away.load(Ordering::Relaxed),
        }
    }
}
