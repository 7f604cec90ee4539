//! At start: bans of the store go back into the table and the kernel while detection is already live.

use serde_json::json;
use tracing::{info, warn};

use crate::ban::{Ban, Origin};
use crate::enforce::Change;
use crate::sighting::Points;
use crate::store::{StoreError, StoredBan, Write};
use crate::time::{Clock, Moment};

use super::control::{Control, chain};
use super::views;

impl Control {
    /// Takes a chunk of stored bans in. A ban that was decided since the start is newer and stays.
    pub(super) fn restore(&mut self, chunk: Vec<StoredBan>) {
        let clock = Clock::now();
        for stored in chunk {
            let ban = views::restored(stored, clock);
            if self.bans.get(ban.target).is_some() {
                continue;
            }
            if let Some(because) = self.protection.refusal(ban.target, clock.moment) {
                warn!(target = %ban.target, because, "stored ban not restored: protected");
                self.writes.push(Write::Unban(ban.target));
                continue;
            }
            self.engine.banned(ban.target, ban.until);
            self.pending.push(Change::Ban { target: ban.target, id: ban.id, until: ban.until });
            self.bans.insert(ban);
        }
        self.flush();
    }

    /// The store has given all it had: what the kernel holds besides is taken over, then both are made equal.
    pub(super) fn restore_done(&mut self, result: Result<(), StoreError>) {
        if let Err(cause) = result {
            warn!(error = %chain(&cause), "stored bans could not all be read");
            self.problems.set(
                "restore",
                format!(
                    "stored bans could not all be read: {}; bans in the kernel stay in force",
                    chain(&cause)
                ),
            );
        }
        let adopted = self.adopt();
        self.restored = true;
        info!(bans = self.bans.len(), adopted, took = ?Moment::now().since(self.started), "bans restored");
        self.reconcile();
    }

    /// A crash between kernel and store leaves a ban that only the kernel knows. It was decided, so it stays.
    fn adopt(&mut self) -> usize {
        let clock = Clock::now();
        let live = match self.enforcer.live() {
            Ok(live) => live,
            Err(cause) => {
                warn!(error = %chain(&cause), "bans that the kernel holds could not be read");
                return 0;
            }
        };
        let mut adopted = 0;
        for entry in live {
            if entry.seconds_left == Some(0) || self.bans.get(entry.target).is_some() {
                continue;
            }
            if self.protection.refusal(entry.target, clock.moment).is_some() {
                continue;
            }
            let ban = Ban {
                id: self.bans.next_id(),
                target: entry.target,
                since: clock.moment,
                until: entry.seconds_left.map(|left| clock.moment + std::time::Duration::from_secs(left)),
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
        adopted
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
