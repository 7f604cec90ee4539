//! The judge decides what is banned: engine, ban table and protections as one value.
//!
//! It does no I/O and reads no clock. Sightings, facts about the machine and people's wishes come in with their time;
//! what is to become of them lines up in an [`Outcome`]: changes for the kernel, and writes for the store, which are
//! due when the kernel has the changes. Whoever owns a judge brings both about: the daemon with an enforcer and a store,
//! a simulation with models of them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::ban::{BanId, BanTable};
use crate::config::{Config, Decide};
use crate::enforce::{Change, Desired};
use crate::engine::{Engine, EngineOptions, Recalled, Suspects};
use crate::protect::Protection;
use crate::rules::{Order, RuleSet};
use crate::scan::FilterSet;
use crate::store::{Snapshot, StoredEvent, Write};
use crate::target::Target;
use crate::time::{Clock, Moment};

mod by_hand;
mod ends;
mod feeds;
mod ignored;
mod kept;
mod lines;
mod names;
mod overtaken;
mod protected;
mod reason;
mod renumber;
mod repeats;
mod restore;
mod room;
mod rules;
mod sighting;
pub(crate) mod standing;
pub mod stored;
mod told;
mod within;

#[cfg(test)]
mod tests;

pub use by_hand::{Asker, Said};
pub use feeds::{FeedCount, Followed};
pub use ignored::IgnoredLines;
pub use lines::{Line, Listed};
pub use protected::kept_logins;
pub use restore::is_recovered;
pub use room::Crowding;
pub use sighting::Voucher;
pub use told::AccountAttack;
pub use within::{Inside, Within};

use restore::Lifted;

/// Identities that are skipped at a start: what a crash kept from the store must not be given out again. There are 2^46.
const LOST_IDS: u64 = 1 << 20;
/// A moment that has passed: the timeline begins with it.
const OVERDUE: Moment = Moment(0);
/// Lines kept as evidence for each source that has a score.
const EVIDENCE_LINES: usize = 8;

/// Decides, and remembers what it has decided.
#[derive(Debug)]
pub struct Judge {
    decide: Decide,
    key_login_for: Duration,
    /// Until when the store has addresses allowed because of their logins by key.
    kept_logins: BTreeMap<IpAddr, Moment>,
    /// For the names of filters and patterns.
    filters: Arc<FilterSet>,
    /// What people want done whatever the engine says.
    rules: RuleSet,
    /// What rules call the sighting at hand.
    tags: Vec<String>,
    engine: Engine,
    bans: BanTable,
    protection: Protection,
    /// Targets the kernel was told to let pass.
    allowed: Vec<Target>,
    names_written: names::Written,
    /// What was lifted while the store was still giving its bans; nothing once it has given all.
    lifted: Option<Lifted>,
    crowding: Crowding,
    feeds: feeds::Feeds,
    repeats: repeats::Repeats,
    ignored: ignored::Ignored,
    overtaken: overtaken::Overtaken,
    count: Count,
    outcome: Outcome,
}

/// What is to be brought about.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Changes for the kernel, in order.
    pub changes: Vec<Change>,
    /// Writes for the store, in order, due when the kernel has the changes.
    pub writes: Vec<Write>,
    /// Commands and webhooks that rules want.
    pub orders: Vec<Order>,
}

/// What the judge counts.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// Bans by the filter that led to them, `rule:` and its name, or `manual`.
    pub bans_by_rule: HashMap<String, u64>,
    /// Bans refused because something protects the target.
    pub refused: u64,
    /// Bans that reached their end.
    pub expired: u64,
    /// Bans that made room for others.
    pub evicted: u64,
    /// Incidents by their name.
    pub incidents: BTreeMap<&'static str, u64>,
    /// Storms that began.
    pub storms: u64,
    /// Orders that had to wait for the end of one.
    pub held: u64,
}

impl Judge {
    /// A judge that remembers what the store has, except for the bans, which come in chunks ([`Self::restore`]).
    /// Nothing that was stored is believed to have ended before `clock`.
    pub fn new(
        config: &Config,
        filters: Arc<FilterSet>,
        protection: Protection,
        snapshot: &Snapshot,
        seed: u64,
        clock: Clock,
    ) -> Self {
        let mut bans = BanTable::new();
        if snapshot.last_id > 0 {
            bans.reserve_ids(BanId(snapshot.last_id + LOST_IDS));
        }
        let recalled = snapshot.engine.as_deref().and_then(Recalled::read);
        let is_seed_kept = recalled.is_some();
        let seed = recalled.as_ref().map_or(seed, Recalled::seed);
        let mut engine =
            Engine::new(EngineOptions { decide: config.decide.clone(), seed, evidence: EVIDENCE_LINES });
        if let Some(recalled) = recalled {
            engine.recall(recalled, clock, |filter, text| renumber::numbered(filter, text, &filters));
        }
        engine.set_login_filters(filters.reads_logins());
        let mut judge = Self {
            decide: config.decide.clone(),
            key_login_for: config.allow.key_login_for,
            kept_logins: BTreeMap::new(),
            filters,
            rules: RuleSet::default(),
            tags: Vec::new(),
            engine,
            bans,
            protection,
            allowed: Vec::new(),
            names_written: names::Written::new(),
            lifted: Some(Lifted::default()),
            crowding: Crowding::default(),
            feeds: feeds::Feeds::default(),
            repeats: repeats::Repeats::default(),
            ignored: ignored::Ignored::default(),
            overtaken: overtaken::Overtaken::default(),
            count: Count::default(),
            outcome: Outcome::default(),
        };
        judge.remember(snapshot, is_seed_kept, clock);
        judge
    }

    /// Decides by another configuration from now on. Scores, strikes and bans stay.
    pub fn configure(&mut self, config: &Config, clock: Clock) {
        self.engine.configure(config.decide.clone(), clock.moment);
        self.protection.configure(&config.allow, clock);
        self.forget_unnamed();
        self.decide = config.decide.clone();
        self.resize_table();
        self.key_login_for = config.allow.key_login_for;
    }

    /// The engine.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Gives these points to whoever is on a list, when its score starts.
    pub fn set_suspects(&mut self, lists: Vec<Suspects>) {
        self.engine.set_listed(lists);
    }

    /// The desired set of bans.
    pub const fn bans(&self) -> &BanTable {
        &self.bans
    }

    /// What must not be banned.
    pub const fn protection(&self) -> &Protection {
        &self.protection
    }

    /// The same, to be told facts. [`Self::sync_allowed`] is due afterwards.
    pub const fn protection_mut(&mut self) -> &mut Protection {
        &mut self.protection
    }

    /// What was counted since the start.
    pub const fn count(&self) -> &Count {
        &self.count
    }

    /// What has lined up. Whoever brings it about takes it out.
    pub const fn outcome(&mut self) -> &mut Outcome {
        &mut self.outcome
    }

    /// What the kernel is to hold.
    pub fn desired(&self, now: Moment) -> Desired<'_> {
        Desired { bans: &self.bans, allowed: &self.allowed, now }
    }

    /// When something is due that nobody asks for: the end of a ban or of a storm, an event of what was repeated, the next
    /// part of what is too much for a table that shrinks or of the bans that may be of what is allowed.
    pub fn next_due(&mut self) -> Option<Moment> {
        if self.crowding.is_shrinking || self.is_lifting() {
            return Some(OVERDUE);
        }
        [self.bans.next_expiry(), self.engine.next_tick(), self.repeats.next_due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Lines a write up that belongs to what was decided last, such as the position behind the lines.
    pub fn write(&mut self, write: Write) {
        self.outcome.writes.push(write);
    }

    /// Notes that something happened.
    pub fn event(&mut self, kind: &str, target: Option<Target>, detail: &Value, clock: Clock) {
        self.write(Write::Event(StoredEvent {
            at: clock.wall,
            kind: kind.to_owned(),
            target,
            detail: detail.to_string(),
        }));
    }
}
