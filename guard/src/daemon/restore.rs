//! At start: bans of the store go back into the table and the kernel while detection is already live.

use std::collections::HashSet;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use serde_json::json;
use tracing::{info, warn};

use crate::ban::{Ban, BanId, Origin};
use crate::enforce::{Change, Desired, LiveEntry, Unknown};
use crate::sighting::Points;
use crate::store::{StoreError, StoredBan, Write};
use crate::target::Target;
use crate::time::{Clock, Moment};

use super::control::{Control, chain};
use super::views;

/// The origin of a ban that only the kernel knew.
const RECOVERED: &str = "recovered";

/// What was lifted while the store was still giving its bans back, so that it does not bring them back.
#[derive(Debug, Default)]
pub(super) struct Lifted {
    all: bool,
    targets: HashSet<Target>,
}

impl Lifted {
    /// A target was lifted.
    pub(super) fn add(&mut self, target: Target) {
        self.targets.insert(target);
    }

    /// Everything was lifted.
    pub(super) fn add_all(&mut self) {
        self.all = true;
    }

    fn holds(&self, target: Target) -> bool {
        self.all || self.targets.contains(&target)
    }
}

/// A chunk of bans from the store.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) bans: Vec<StoredBan>,
    /// About how many the store has besides.
    pub(super) to_come: u64,
    /// Once it is dropped the store sends the next chunk, so what else arrives waits behind two chunks at most: the one
    /// being taken in and the next.
    pub(super) turn: Sender<()>,
}

/// How far the restore has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restore {
    /// The store is still giving its bans.
    Reading,
    /// What the kernel holds besides is being taken over. Until then nothing in it may count as foreign.
    Adopting {
        /// How many bans only the kernel knew.
        adopted: usize,
    },
    /// The ban table is complete; the kernel is being made equal to it.
    Settling {
        /// How many bans only the kernel knew.
        adopted: usize,
    },
    /// Both are complete.
    Done,
}

impl Control {
    /// Takes a chunk of stored bans in. Of a stored ban and one decided since the start, the later end holds.
    pub(super) fn restore(&mut self, chunk: Restored) {
        let Restored { bans, to_come, turn } = chunk;
        // The store reads on while this one is taken in.
        drop(turn);
        if self.bans.is_empty() {
            let all = bans.len() as u64 + to_come;
            self.bans.reserve(usize::try_from(all).unwrap_or(0).min(self.config.decide.max_bans));
        }
        let clock = Clock::now();
        let mut new = Vec::with_capacity(bans.len());
        for stored in &bans {
            let ban = views::restored(stored, clock);
            if self.lifted.holds(ban.target) {
                self.writes.push(Write::Unban(ban.target));
                continue;
            }
            if let Some(because) = self.protection.refusal(ban.target, clock.moment) {
                warn!(target = %ban.target, because, "stored ban not restored: protected");
                self.writes.push(Write::Unban(ban.target));
                continue;
            }
            match self.bans.get(ban.target).map(|newer| newer.until) {
                None => {
                    new.push(Change::Ban { target: ban.target, id: ban.id, until: ban.until });
                    self.tell_engine(&ban);
                    self.bans.set(ban);
                }
                // It has overwritten the stored one already: the one that lasts longer is written again.
                Some(newer) if ends_later(ban.until, newer) => self.insert(ban, clock),
                Some(_) => {}
            }
        }
        let outcome = self.enforcer.restore(&new, to_come);
        self.was_applied(outcome, new.len());
        self.flush();
    }

    /// The store has given all it had.
    pub(super) fn restore_done(&mut self, result: Result<(), StoreError>) {
        if let Err(cause) = result {
            let text = format!("stored bans could not all be read: {}", chain(&cause));
            warn!("{text}");
            self.problems.set("restore", format!("{text}; bans in the kernel stay in force"));
        }
        self.adopt(0);
    }

    /// Takes over a part of what only the kernel knows, after that makes both equal. While the kernel cannot be read
    /// this is tried again, and nothing is taken out of it.
    ///
    /// A crash between kernel and store leaves a ban that only the kernel knows. It was decided, so it stays.
    pub(super) fn adopt(&mut self, so_far: usize) {
        self.restore = Restore::Adopting { adopted: so_far };
        self.flush();
        let desired = Desired { bans: &self.bans, allowed: &self.allowed, now: Moment::now() };
        let Unknown { entries, more } = match self.enforcer.unknown(desired) {
            Ok(unknown) => unknown,
            Err(cause) => {
                let text = format!("bans that the kernel holds cannot be read: {}", chain(&cause));
                warn!("{text}");
                self.problems.set("adopt", format!("{text}; they stay in force, and guard tries again"));
                self.next_reconcile = Instant::now() + self.config.enforce.reconcile;
                return;
            }
        };
        let adopted = so_far + self.keep(entries);
        self.next_reconcile = Instant::now();
        if more {
            self.restore = Restore::Adopting { adopted };
            return;
        }
        self.problems.clear("adopt");
        self.restore = Restore::Settling { adopted };
        let bans = &self.bans;
        self.engine.release(|target| bans.get(target).is_some_and(|ban| !is_recovered(ban.origin)));
    }

    /// Takes entries of the kernel into the table, unless something speaks against it; how many.
    fn keep(&mut self, entries: Vec<LiveEntry>) -> usize {
        let clock = Clock::now();
        let mut kept = 0;
        for entry in entries {
            if entry.seconds_left == Some(0)
                || self.bans.get(entry.target).is_some()
                || self.lifted.holds(entry.target)
                || self.protection.refusal(entry.target, clock.moment).is_some()
            {
                continue;
            }
            let ban = Ban {
                id: if entry.id == 0 { self.bans.next_id() } else { BanId(entry.id) },
                target: entry.target,
                since: clock.moment,
                until: entry.seconds_left.map(|left| clock.moment + Duration::from_secs(left)),
                origin: Origin::Filter(RECOVERED.into()),
                score: Points(0),
                strike: 1,
                reason: "was in force in the kernel when guard started".into(),
            };
            self.event("adopt", Some(ban.target), &json!({ "because": ban.reason }));
            self.insert(ban, clock);
            kept += 1;
        }
        self.flush();
        kept
    }

    /// The engine orders no second ban where one stands, except where only the kernel knew of it: the lines that led to
    /// it may be read again, and say by what filter and which strike it is.
    fn tell_engine(&mut self, ban: &Ban) {
        if !is_recovered(&ban.origin) {
            self.engine.banned(ban.target, ban.until);
        }
    }

    /// The kernel is equal to the table: a restore that waited for that is done.
    pub(super) fn settled(&mut self) {
        if let Restore::Settling { adopted } = self.restore {
            self.restore = Restore::Done;
            self.lifted = Lifted::default();
            info!(bans = self.bans.len(), adopted, took = ?Moment::now().since(self.started), "bans restored");
            crate::memory::give_back();
        }
    }

    /// The store lost writes while it could not work: it gets the whole table again.
    pub(super) fn resync_store(&mut self) {
        let clock = Clock::now();
        let mut writes: Vec<Write> =
            self.bans.iter().map(|ban| Write::Ban(views::stored(ban, clock))).collect();
        for (target, until, comment) in self.protection.runtime_allowances() {
            writes.push(Write::Allow { target, until: until.map(|until| clock.wall_of(until)), comment });
        }
        writes.push(self.all_scores());
        self.writer.resync(writes);
    }
}

/// Whether a ban was found in the kernel at a start, and nothing more is known of it.
pub(super) fn is_recovered(origin: &Origin) -> bool {
    matches!(origin, Origin::Filter(name) if **name == *RECOVERED)
}

/// Whether one end is later than another; no end is the latest.
fn ends_later(one: Option<Moment>, other: Option<Moment>) -> bool {
    match (one, other) {
        (None, Some(_)) => true,
        (Some(one), Some(other)) => one > other,
        (_, None) => false,
    }
}
