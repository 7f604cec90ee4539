//! What is protected, as facts change: the kernel learns of it, and bans that it forbids are lifted.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::json;
use tracing::{info, warn};

use super::Judge;
use crate::enforce::Change;
use crate::protect::Connection;
use crate::store::Write;
use crate::target::Target;
use crate::time::{Clock, Moment};

/// Comment of the stored allowance that a key login leaves.
const KEY_LOGIN: &str = "key login";

impl Judge {
    /// Protects the address of a key login, if it is believed.
    pub(super) fn key_login(&mut self, address: IpAddr, port: u16, at: Moment, believed: bool, clock: Clock) {
        if !believed {
            let target = Target::host(address);
            info!(%address, port, "a key login is not believed: there is no such connection");
            let because = "a log file tells of a key login, but there is no such connection";
            self.event("doubt", Some(target), &json!({ "because": because, "port": port }), clock);
            return;
        }
        self.protection.key_login(address, port, at);
        self.keep_login(address, at, clock);
        self.sync_allowed(clock);
    }

    /// Lets the protection of a key login outlive the daemon: as an allowance with its end, unless a person has made
    /// one of his own for this address.
    fn keep_login(&mut self, address: IpAddr, at: Moment, clock: Clock) {
        let target = Target::host(address);
        let until = at + self.key_login_for;
        let by_hand = |(known, _, comment): (Target, _, String)| known == target && comment != KEY_LOGIN;
        if until > clock.moment && !self.protection.runtime_allowances().any(by_hand) {
            let until = Some(clock.wall_of(until));
            self.write(Write::Allow { target, until, comment: KEY_LOGIN.to_owned() });
        }
    }

    /// These connections were established at `clock`: sessions without one are over.
    pub fn live_connections(&mut self, connections: &[Connection], clock: Clock) {
        self.protection.set_live_sessions(connections, clock.moment);
    }

    /// The machine's login records have users from these addresses, and these connections are established.
    pub fn recorded_logins(&mut self, records: &BTreeSet<IpAddr>, connections: &[Connection]) {
        self.protection.set_recorded_logins(records, connections);
    }

    /// Forgets protections whose time is over.
    pub fn expire_protections(&mut self, clock: Clock) {
        for target in self.protection.expire(clock.moment) {
            self.write(Write::Disallow(target));
            self.event("disallow", Some(target), &json!({ "because": "its time is over" }), clock);
        }
        self.expire_names(clock);
        self.sync_allowed(clock);
    }

    /// Lines up for the kernel what has become protected or is no longer, and lifts bans that a protection now forbids.
    /// Answers the targets whose bans were lifted.
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
        let bans = self.bans_touched_by(&changes.allow);
        let mut lifted = Vec::new();
        for (target, because) in self.protection.conflicts(bans, now) {
            let ban = self.lift(target, clock);
            lifted.push(target);
            // Of a feed's ban what is not protected is still banned, and a list may hold many.
            if ban.is_some_and(|ban| !ban.origin.is_feed()) {
                warn!(%target, because, "ban lifted: the target is protected now");
                self.event("unban", Some(target), &json!({ "because": because }), clock);
            }
        }
        lifted
    }

    /// Bans that may overlap targets that have become allowed. A single address, the common case of somebody who has
    /// just logged in, needs no walk over every ban.
    fn bans_touched_by(&self, allowed: &[Target]) -> Vec<Target> {
        if allowed.iter().all(|target| target.is_host()) {
            let covering = allowed.iter().flat_map(|target| self.bans.covering(target.address()));
            return covering.map(|ban| ban.target).collect();
        }
        self.bans.iter().map(|ban| ban.target).collect()
    }
}
