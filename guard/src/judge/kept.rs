//! What the store keeps of the engine one by one, so that no restart is a fresh start for attackers, nor a crash the end of
//! what spares others: scores, strikes and logins.
//!
//! What changed goes to the store with the positions of the lines it comes from, and is written with them. A line of an
//! attempt that began before a crash counts as one of its own afterwards: attempts are not kept.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Judge, stored};
use crate::store::{Snapshot, StoredLogin, StoredScore, Write};
use crate::time::Clock;

impl Judge {
    /// Takes the store's small things over. Scores that have leaked away meanwhile, and logins that are too long ago, are
    /// taken out of it. The engine may have another seed than when it told accounts apart.
    pub(super) fn remember(&mut self, snapshot: &Snapshot, is_seed_kept: bool, clock: Clock) {
        for strikes in &snapshot.strikes {
            let past = stored::restored_strikes(strikes, clock);
            self.engine.restore_strikes(&past);
            if strikes.last > clock.wall {
                self.write(Write::Strikes(stored::strikes(&past, clock)));
            }
        }
        self.engine.presume_banned(clock.moment);
        for score in &snapshot.scores {
            self.engine.restore_score(&stored::restored_score(score, clock), clock.moment);
        }
        for login in &snapshot.logins {
            let mut login = stored::restored_login(login, clock);
            if !is_seed_kept {
                login.accounts = login.accounts.of_another_seed();
            }
            self.engine.restore_login(&login, clock.moment);
        }
        self.engine.follow();
        let gone = |score: &&StoredScore| self.engine.score(score.address, clock.moment).0 == 0;
        let gone: Vec<_> =
            snapshot.scores.iter().filter(gone).map(|score| StoredScore { points: 0, ..*score }).collect();
        if !gone.is_empty() {
            self.write(Write::Scores(gone));
        }
        let known: BTreeSet<IpAddr> = self.engine.logins().map(|login| login.address).collect();
        let gone = snapshot.logins.iter().filter(|login| !known.contains(&login.address));
        let gone: Vec<_> = gone.map(|login| StoredLogin { last: None, ..*login }).collect();
        if !gone.is_empty() {
            self.write(Write::Logins(gone));
        }
        self.remember_allowed(&snapshot.allowed, clock);
        self.remember_names(snapshot, clock);
    }

    /// Lines up for the store what the engine is to recall after a restart besides. It is one piece of up to a few MiB,
    /// so this is asked now and then, and at the end.
    pub fn keep_recalled(&mut self, clock: Clock) {
        let recalled = self.engine.recall_later(clock, |id| self.name_of(id));
        self.write(Write::Engine(recalled.into()));
    }

    /// Lines up for the store what the engine has learnt since the last call.
    pub fn keep(&mut self, clock: Clock) {
        for past in self.engine.changed_strikes() {
            self.write(Write::Strikes(stored::strikes(&past, clock)));
        }
        let changed = self.engine.changed_scores();
        if !changed.is_empty() {
            self.write(stored::scores(changed, clock));
        }
        let changed = self.engine.changed_logins();
        if !changed.is_empty() {
            self.write(stored::logins(changed, clock));
        }
    }

    /// Everything the store has to hold, for one that has lost writes. Bans of feeds are kept as their lists.
    pub fn everything(&self, clock: Clock) -> Vec<Write> {
        let mut texts = stored::Texts::default();
        let mut writes: Vec<Write> = self
            .bans
            .iter()
            .filter(|ban| !ban.origin.is_feed())
            .map(|ban| Write::Ban(texts.ban(ban, clock)))
            .collect();
        for (target, until, comment) in self.protection.runtime_allowances() {
            writes.push(Write::Allow { target, until: until.map(|until| clock.wall_of(until)), comment });
        }
        writes.extend(self.logins_to_keep(clock));
        writes.extend(self.names_to_keep(clock));
        writes.extend(self.engine.pasts().map(|past| Write::Strikes(stored::strikes(&past, clock))));
        writes.push(stored::scores(self.engine.scores(), clock));
        writes.push(stored::logins(self.engine.logins(), clock));
        writes.push(Write::Engine(self.engine.recall_later(clock, |id| self.name_of(id)).into()));
        writes
    }
}
