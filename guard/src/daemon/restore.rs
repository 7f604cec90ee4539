//! At start: bans of the store go back into the table and the kernel while detection is already live.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::json;
use tracing::{info, warn};

use crate::ban::{Ban, BanId, BanRef, Origin};
use crate::enforce::{Change, EnforceError};
use crate::sighting::Points;
use crate::store::{StoreError, StoredBan, Write};
use crate::target::Target;
use crate::time::{Clock, Moment};

use super::control::{Control, chain};
use super::views;

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

/// How far the restore has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restore {
    /// The store is still giving its bans.
    Reading,
    /// What the kernel holds besides is still to be taken over. Until then nothing in it may count as foreign.
    Adopting,
    /// The ban table is complete.
    Done,
}

impl Control {
    /// Takes a chunk of stored bans in. Of a stored ban and one decided since the start, the later end holds.
    pub(super) fn restore(&mut self, chunk: Vec<StoredBan>) {
        let clock = Clock::now();
        for stored in chunk {
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
            match self.bans.get(ban.target).map(BanRef::to_ban) {
                None => {
                    self.pending.push(Change::Ban { target: ban.target, id: ban.id, until: ban.until });
                    self.engine.banned(ban.target, ban.until);
                    self.bans.insert(ban);
                }
                // It has overwritten the stored one already: the one that lasts longer is written again.
                Some(newer) if ends_later(ban.until, newer.until) => self.insert(ban, clock),
                Some(_) => {}
            }
        }
        self.flush();
    }

    /// The store has given all it had.
    pub(super) fn restore_done(&mut self, result: Result<(), StoreError>) {
        if let Err(cause) = result {
            let text = format!("stored bans could not all be read: {}", chain(&cause));
            warn!("{text}");
            self.problems.set("restore", format!("{text}; bans in the kernel stay in force"));
        }
        self.restore = Restore::Adopting;
        self.finish_restore();
    }

    /// Takes over what only the kernel knows, then makes both equal. While the kernel cannot be read this is tried
    /// again, and nothing is taken out of it.
    pub(super) fn finish_restore(&mut self) {
        let adopted = match self.adopt() {
            Ok(adopted) => adopted,
            Err(cause) => {
                let text = format!("bans that the kernel holds cannot be read: {}", chain(&cause));
                warn!("{text}");
                self.problems.set("adopt", format!("{text}; they stay in force, and guard tries again"));
                self.next_reconcile = Instant::now() + self.config.enforce.reconcile;
                return;
            }
        };
        self.problems.clear("adopt");
        self.restore = Restore::Done;
        self.lifted = Lifted::default();
        info!(bans = self.bans.len(), adopted, took = ?Moment::now().since(self.started), "bans restored");
        self.reconcile();
    }

    /// A crash between kernel and store leaves a ban that only the kernel knows. It was decided, so it stays.
    fn adopt(&mut self) -> Result<usize, EnforceError> {
        let clock = Clock::now();
        let mut adopted = 0;
        for entry in self.enforcer.live()? {
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
                origin: Origin::Filter("recovered".into()),
                score: Points(0),
                strike: 1,
                reason: "was in force in the kernel when guard started".into(),
            };
            self.engine.banned(ban.target, ban.until);
            self.event("ban", Some(ban.target), &json!({ "filter": "recovered" }));
            self.insert(ban, clock);
            adopted += 1;
        }
        self.flush();
        Ok(adopted)
    }

    /// The store lost writes while it could not work: it gets the whole table again.
    pub(super) fn resync_store(&mut self) {
        let clock = Clock::now();
        let mut writes: Vec<Write> =
            self.bans.iter().map(|ban| Write::Ban(views::stored(ban, clock))).collect();
        for (target, until, comment) in self.protection.runtime_allowances() {
            writes.push(Write::Allow { target, until: until.map(|until| clock.wall_of(until)), comment });
        }
        self.writer.resync(writes);
    }
}

/// Whether one end is later than another; no end is the latest.
fn ends_later(one: Option<Moment>, other: Option<Moment>) -> bool {
    match (one, other) {
        (None, Some(_)) => true,
        (Some(one), Some(other)) => one > other,
        (_, None) => false,
    }
}
