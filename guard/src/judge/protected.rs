//! What is protected, as facts change: the kernel learns of it, and bans that it forbids are lifted.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;

use super::Judge;
use crate::enforce::Change;
use crate::protect::Connection;
use crate::sighting::{Kind, Sighting};
use crate::store::{StoredAllow, Write};
use crate::target::Target;
use crate::time::{Clock, Moment, Wall};

/// Comment of the stored allowance that a key login leaves.
const KEY_LOGIN: &str = "key login";

/// For how long beyond the present the store keeps the login of a session that lives on, and how much of that is left when it
/// is written anew. After a restart the login protects, and tells which connections were sessions.
const SESSION_KEPT: Duration = Duration::from_secs(3600);
const SESSION_LEFT: Duration = Duration::from_secs(1800);

/// Logins that are kept at most. Only who holds a key can fill this.
const MAX_LOGINS: usize = 65_536;

/// Addresses whose key logins the store has kept until after `now`.
pub fn kept_logins(allowed: &[StoredAllow], now: Wall) -> BTreeSet<IpAddr> {
    let lasts = |allow: &&StoredAllow| is_login(allow) && allow.until.is_none_or(|until| until > now);
    allowed.iter().filter(lasts).map(|allow| allow.target.address()).collect()
}

fn is_login(allow: &StoredAllow) -> bool {
    allow.comment == KEY_LOGIN && allow.target.is_host()
}

/// How the store keeps a login by key: as an allowance with its end.
fn stored_login(address: IpAddr, until: Moment, clock: Clock) -> Write {
    let (target, until) = (Target::host(address), Some(clock.wall_of(until)));
    Write::Allow { target, until, comment: KEY_LOGIN.to_owned() }
}

impl Judge {
    /// Notes that a login is not believed.
    pub(super) fn doubt(&mut self, login: &Sighting<'_>, clock: Clock) {
        let how = if login.kind == Kind::KeyLogin { "key" } else { "password" };
        let because = format!("a log file tells of a {how} login, but there is no such connection");
        let detail = json!({ "because": because, "port": login.port });
        self.event_that_repeats("doubt", (Target::host(login.address), how), detail, clock);
    }

    /// Protects the address of a key login.
    pub(super) fn key_login(&mut self, address: IpAddr, port: u16, at: Moment, clock: Clock) {
        self.protection.key_login(address, port, at);
        self.keep_login(address, at + self.key_login_for, clock);
        self.sync_allowed(clock);
    }

    /// Takes what the store has allowed at run time over: the allowances that people made, and logins by key.
    pub(super) fn remember_allowed(&mut self, allowed: &[StoredAllow], clock: Clock) {
        for allow in allowed {
            let until = allow.until.map(|until| clock.moment_of(until));
            match until.filter(|_| is_login(allow)) {
                Some(until) => {
                    // No login is kept for longer, wherever the wall clock was.
                    let most = clock.moment + self.key_login_for.max(SESSION_KEPT);
                    if until > most {
                        self.write(stored_login(allow.target.address(), most, clock));
                    }
                    let until = until.min(most);
                    self.protection.restore_login(allow.target.address(), until);
                    self.kept_logins.insert(allow.target.address(), until);
                }
                None => self.protection.allow_runtime(allow.target, until, &allow.comment),
            }
        }
    }

    /// Lets the protection of a key login outlive the daemon: as an allowance with its end, unless a person has made
    /// one of his own for this address.
    fn keep_login(&mut self, address: IpAddr, until: Moment, clock: Clock) {
        let known = self.kept_logins.get(&address).copied();
        let is_news = known.map_or(self.kept_logins.len() < MAX_LOGINS, |kept| kept < until);
        if until <= clock.moment || !is_news {
            return;
        }
        self.kept_logins.insert(address, until);
        if !self.protection.is_allowed_by_hand(Target::host(address)) {
            self.write(stored_login(address, until, clock));
        }
    }

    /// No person allows this target at run time any more: what is left for the store is a login by key, if there was one.
    pub(super) fn store_no_allowance(&mut self, target: Target, clock: Clock) {
        let login = self.kept_logins.get(&target.address()).filter(|_| target.is_host());
        let left = login.map(|until| stored_login(target.address(), *until, clock));
        self.write(left.unwrap_or(Write::Disallow(target)));
    }

    /// The logins by key that the store is to have.
    pub(super) fn logins_to_keep(&self, clock: Clock) -> impl Iterator<Item = Write> {
        let own = |address: &IpAddr| !self.protection.is_allowed_by_hand(Target::host(*address));
        let logins = self.kept_logins.iter().filter(move |(address, _)| own(address));
        logins.map(move |(address, until)| stored_login(*address, *until, clock))
    }

    /// These connections were established at `clock`: sessions without one are over, and the others go on being kept.
    pub fn live_connections(&mut self, connections: &[Connection], clock: Clock) {
        self.protection.set_live_sessions(connections, clock.moment);
        let soon = clock.moment + SESSION_LEFT;
        // One that was found at the start is the one that was kept.
        let is_due = |(address, by_key): (IpAddr, bool)| {
            self.kept_logins.get(&address).map_or(by_key, |until| *until < soon).then_some(address)
        };
        for address in self.protection.sessions().filter_map(is_due).collect::<Vec<_>>() {
            self.keep_login(address, clock.moment + SESSION_KEPT, clock);
        }
        for address in self.protection.logged_in(connections) {
            self.engine.stays_logged_in(address, clock.moment);
        }
    }

    /// The machine's login records have users from these addresses, and these connections are established.
    pub fn recorded_logins(&mut self, records: &BTreeSet<IpAddr>, connections: &[Connection]) {
        self.protection.set_recorded_logins(records, connections);
    }

    /// Forgets protections whose time is over.
    pub fn expire_protections(&mut self, clock: Clock) {
        self.protection.follow_clock(clock);
        let is_over = |(_, until): &(&IpAddr, &Moment)| **until <= clock.moment;
        let over: Vec<IpAddr> =
            self.kept_logins.iter().filter(is_over).map(|(address, _)| *address).collect();
        for address in over {
            self.kept_logins.remove(&address);
            if !self.protection.is_allowed_by_hand(Target::host(address)) {
                self.write(Write::Disallow(Target::host(address)));
            }
        }
        for target in self.protection.expire(clock.moment) {
            self.store_no_allowance(target, clock);
            self.event("disallow", Some(target), &json!({ "because": "its time is over" }), clock);
        }
        self.expire_names(clock);
        self.sync_allowed(clock);
    }

    /// Lines up for the kernel what has become protected or is no longer, and begins to lift bans that a protection now
    /// forbids ([`Self::is_lifting`]). Answers the targets whose bans were lifted already.
    pub fn sync_allowed(&mut self, clock: Clock) -> Vec<Target> {
        let now = clock.moment;
        let changes = self.protection.take_changes(now);
        if changes.is_empty() {
            return Vec::new();
        }
        let told = &mut self.outcome.changes;
        told.extend(changes.allow.iter().copied().map(Change::Allow));
        told.extend(changes.disallow.iter().copied().map(Change::Disallow));
        let before = std::mem::replace(&mut self.allowed, self.protection.targets(now));
        self.recut(&before, changes.allow.iter().chain(&changes.disallow).copied(), clock);
        self.overtake(&changes.allow, clock)
    }
}
