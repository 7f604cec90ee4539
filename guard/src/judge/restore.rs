//! At start: bans of the store, and those that only the kernel knows, come back while detection is already live.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use tracing::warn;

use super::{Judge, stored};
use crate::ban::{Ban, BanId, BanRef, Origin, ends_later};
use crate::enforce::{Change, LiveEntry};
use crate::protect::Protection;
use crate::sighting::Points;
use crate::store::{StoredBan, Write};
use crate::target::Target;
use crate::time::{Clock, Moment};

/// The origin of a ban that only the kernel knew.
const RECOVERED: &str = "recovered";
/// Stored bans whose places in the tables are brought near at once.
const AHEAD: usize = 64;

/// What was lifted while the store was still giving its bans back, so that it does not bring them back.
#[derive(Debug, Default)]
pub(super) struct Lifted {
    all: bool,
    targets: HashSet<Target>,
    /// What a person has allowed meanwhile: no ban that was forced earlier overlaps it any more.
    allowed: Vec<Target>,
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

    /// Targets were allowed.
    pub(super) fn allow(&mut self, targets: &[Target]) {
        self.allowed.extend_from_slice(targets);
    }

    fn allows(&self, target: Target) -> bool {
        self.allowed.iter().any(|allowed| allowed.overlaps(target))
    }

    fn holds(&self, target: Target) -> bool {
        self.all || self.targets.contains(&target)
    }
}

impl Judge {
    /// Takes a chunk of stored bans in; about `to_come` more follow. Of a stored ban and one decided since the start,
    /// the later end holds. Answers the changes that bring them into the kernel, which are not part of the outcome:
    /// there they would wait behind what is decided meanwhile.
    pub fn restore(&mut self, bans: &[StoredBan], to_come: u64, clock: Clock) -> Vec<Change> {
        if self.bans.is_empty() {
            let all = bans.len() as u64 + to_come;
            let room = usize::try_from(all).unwrap_or(0).min(self.decide.max_bans);
            self.bans.reserve(room);
            self.engine.reserve_offenders(room);
        }
        let mut new = Vec::with_capacity(bans.len());
        let mut lifted = Vec::new();
        let mut origins = stored::Origins::default();
        for (number, stored) in bans.iter().enumerate() {
            if number % AHEAD == 0 {
                let next = || bans[number..].iter().take(AHEAD).map(|ban| ban.target);
                self.bans.expect(next());
                self.engine.expect_offenders(next());
            }
            let ban = stored::restored(stored, origins.read(&stored.origin), clock);
            if self.was_lifted(ban.target) {
                // A ban of later has taken its place in the store.
                if self.own_ban(ban.target).is_none() {
                    self.outcome.changes.push(Change::Unban(ban.target));
                    self.write(Write::Unban(ban.target));
                    lifted.push(ban.target);
                }
                continue;
            }
            if let Some(because) = self.refusal_of_restored(ban.target, ban.origin.is_forced(), clock.moment)
            {
                warn!(target = %ban.target, because, "stored ban not restored: protected");
                self.write(Write::Unban(ban.target));
                continue;
            }
            match self.own_ban(ban.target).map(|newer| newer.until) {
                None => {
                    new.push(Change::Ban { target: ban.target, id: ban.id, until: ban.until });
                    self.tell_engine(ban);
                    if ban.origin.is_forced() {
                        self.protection.force(ban.target);
                    }
                    self.bans.put(ban);
                    // Otherwise each start would give it its whole length anew.
                    if ban.until < stored.until.map(|until| clock.moment_of(until))
                        && let Some(ban) = self.bans.get(stored.target)
                    {
                        self.outcome.writes.push(Write::Ban(stored::ban(ban, clock)));
                    }
                }
                // It has overwritten the stored one already: the one that lasts longer is written again.
                Some(newer) if ends_later(ban.until, newer) => self.insert(ban.to_ban(), clock),
                Some(_) => {}
            }
        }
        // Who is unbanned by name is forgiven at once; of all others this is where they become known.
        if self.lifted.as_ref().is_some_and(|lifted| lifted.all) {
            self.engine.forgive_all(&lifted);
        }
        new
    }

    /// The ban of a target that a filter or a person decided, if there is one.
    fn own_ban(&self, target: Target) -> Option<BanRef<'_>> {
        self.bans.get(target).filter(|ban| !ban.origin.is_feed())
    }

    /// Takes entries that only the kernel knows into the table, unless something speaks against it; how many. A ban that
    /// the kernel holds for longer than the table lasts that long.
    ///
    /// A crash between kernel and store leaves such a ban. It was decided, so it stays; what a person forced, past what
    /// protects it. The end of a stored ban is wall time, so whoever sets the clock while guard is down moves it; the
    /// kernel's does not move.
    pub fn adopt(&mut self, entries: Vec<LiveEntry>, clock: Clock) -> usize {
        let mut kept = 0;
        for entry in entries {
            let is_forced = BanId(entry.id).is_forced();
            if entry.seconds_left == Some(0)
                || self.was_lifted(entry.target)
                || entry.id == BanId::FEED.0
                    && entry.seconds_left.is_none()
                    && self.is_left_over(entry.target)
                || self.refusal_of_restored(entry.target, is_forced, clock.moment).is_some()
            {
                continue;
            }
            let until = entry.seconds_left.map(|left| clock.moment + Duration::from_secs(left));
            if let Some(ban) = self.bans.get(entry.target).map(BanRef::to_ban) {
                if entry.outlasts(ban.until, clock.moment) {
                    let ban = Ban { until, ..ban };
                    self.tell_engine(ban.view());
                    self.insert(ban, clock);
                }
                continue;
            }
            // Its own may have been given out again: the store did not know of it.
            let id = self.bans.next_id();
            let ban = Ban {
                id: if is_forced { id.forced() } else { id },
                target: entry.target,
                since: clock.moment,
                until,
                // Who forced it the kernel does not know; only root may.
                origin: if is_forced { Origin::Forced(0) } else { Origin::Filter(RECOVERED.into()) },
                score: Points(0),
                strike: 1,
                reason: "was in force in the kernel when guard started".into(),
            };
            self.event("adopt", Some(ban.target), &json!({ "because": ban.reason }), clock);
            self.tell_engine(ban.view());
            self.insert(ban, clock);
            kept += 1;
        }
        kept
    }

    /// Every ban that stands is known: the engine presumes nothing any more.
    pub fn release_presumed(&mut self) {
        let bans = &self.bans;
        let is_known = |origin: &Origin| !is_recovered(origin) && !origin.is_feed();
        self.engine.release(|target| bans.get(target).is_some_and(|ban| is_known(ban.origin)));
    }

    /// Store and kernel have given all they had.
    pub fn restored(&mut self) {
        self.lifted = None;
        self.forget_left_over();
    }

    /// What forbids a ban that was decided before the start. One that a person forced was forced past it, unless a person
    /// has allowed its target since.
    fn refusal_of_restored(&self, target: Target, is_forced: bool, now: Moment) -> Option<String> {
        if !is_forced {
            return self.protection.refusal(target, now);
        }
        let is_allowed = self.lifted.as_ref().is_some_and(|lifted| lifted.allows(target));
        Protection::never(target).or_else(|| is_allowed.then(|| "a person has allowed it since".into()))
    }

    fn was_lifted(&self, target: Target) -> bool {
        self.lifted.as_ref().is_some_and(|lifted| lifted.holds(target))
    }

    /// The engine orders no second ban where one stands, except where only the kernel knew of it: the lines that led to
    /// it may be read again, and say by what filter and which strike it is.
    fn tell_engine(&mut self, ban: BanRef<'_>) {
        if !is_recovered(ban.origin) {
            self.engine.banned(ban.target, ban.until);
        }
    }
}

/// Whether a ban was found in the kernel at a start, and nothing more is known of it.
pub fn is_recovered(origin: &Origin) -> bool {
    matches!(origin, Origin::Filter(name) if **name == *RECOVERED)
}
