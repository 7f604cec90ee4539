//! From sightings to bans: the engine is asked, the protections have the last word, the table is changed.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;
use tracing::{info, warn};

use crate::ban::{Ban, BanRef, Origin};
use crate::encode::{EVIDENCE, printable};
use crate::enforce::Change;
use crate::engine::{BanOrder, Decision};
use crate::protect::SystemAddresses;
use crate::protect::system::connections;
use crate::sighting::{Sighting, SourceId};
use crate::source::{Batch, journald};
use crate::store::Write;
use crate::target::Target;
use crate::time::{Clock, Moment, boot_nanoseconds};

use super::control::Control;
use super::{restore, views};

/// Comment of the stored allowance that a key login leaves.
const KEY_LOGIN: &str = "key login";

impl Control {
    /// Decides a batch and changes the kernel before anything else is done with it.
    pub(super) fn decide(&mut self, batch: &Batch) {
        let clock = Clock::now();
        let mut banned = false;
        for sighting in batch.sightings() {
            *self.sightings.entry((sighting.pattern.filter, sighting.kind)).or_default() += 1;
            let at = sighting.at.map_or(clock.moment, |wall| clock.moment_of(wall).min(clock.moment));
            match self.engine.observe(&sighting, batch.source, at, clock.moment) {
                Some(Decision::Ban(order)) => banned |= self.order(&order, &sighting, clock),
                Some(Decision::KeyLogin { address, port, at }) => {
                    self.key_login(address, port, at, self.is_vouched_for(batch.source), clock);
                }
                Some(Decision::SessionEnd { address, port }) => self.protection.session_end(address, port),
                None => {}
            }
        }
        if banned && self.apply() {
            self.count
                .line_to_kernel
                .observe(Duration::from_nanos(boot_nanoseconds().saturating_sub(batch.read_at)));
        }
        if let Some(status) = self.sources.get(&batch.source) {
            self.count.read.entry(status.name.clone()).or_default().add(&batch.read);
        }
        self.learn_health(batch, clock.moment);
        if let Some(position) = &batch.position {
            self.readers.remember(position);
            self.writes.push(Write::Position(position.clone()));
        }
    }

    /// Turns an order into a ban, unless something protects the target. Answers whether it did.
    fn order(&mut self, order: &BanOrder, sighting: &Sighting<'_>, clock: Clock) -> bool {
        let filter = self.filters.filter_name(order.pattern.filter).to_owned();
        let score = order.score.as_f64();
        let reason = format!("{filter}: {} points within {}", score, humantime(self.config.decide.window));
        let covers = |ban: &BanRef<'_>| !ban.is_over(clock.moment) && !restore::is_recovered(ban.origin);
        if let Some(wider) = self.bans.covering(order.target.address()).find(covers) {
            info!(target = %order.target, wider = %wider.target, "not banned: a ban covers it");
            self.engine.refused(order.target);
            return false;
        }
        if let Some(protection) = self.protection.refusal(order.target, clock.moment) {
            self.engine.refused(order.target);
            self.count.refused += 1;
            info!(target = %order.target, filter, score, protection, "not banned: protected");
            self.event(
                "refuse",
                Some(order.target),
                &json!({ "filter": filter, "score": score, "because": protection }),
            );
            return false;
        }
        let ban = Ban {
            id: self.bans.next_id(),
            target: order.target,
            since: order.since,
            until: order.until,
            origin: Origin::Filter(filter.as_str().into()),
            score: order.score,
            strike: order.strike,
            reason: reason.into(),
        };
        info!(
            target = %ban.target,
            filter,
            score,
            strike = ban.strike,
            until = %views::until(ban.until, clock),
            "banned"
        );
        *self.count.bans_by_rule.entry(filter.clone()).or_default() += 1;
        let lines: Vec<String> = if order.target.is_host() {
            self.engine
                .evidence(order.target.address())
                .iter()
                .map(|e| printable(&e.line, EVIDENCE))
                .collect()
        } else {
            vec![printable(sighting.line, EVIDENCE)]
        };
        self.event(
            "ban",
            Some(ban.target),
            &json!({
                "filter": filter,
                "pattern": self.filters.pattern_text(order.pattern),
                "score": score,
                "strike": ban.strike,
                "until": ban.until.map(|until| clock.wall_of(until).to_string()),
                "lines": lines,
            }),
        );
        self.insert(ban, clock);
        true
    }

    /// Puts a ban into the table and lines its change and its write up.
    pub(super) fn insert(&mut self, ban: Ban, clock: Clock) {
        let target = ban.target;
        if self.bans.get(target).is_none() {
            self.make_room();
        }
        self.bans.insert(ban);
        // The table keeps the later end of the two, so what holds is asked of it.
        if let Some(ban) = self.bans.get(target) {
            self.pending.push(Change::Ban { target, id: ban.id, until: ban.until });
            self.writes.push(Write::Ban(views::stored(ban, clock)));
        }
    }

    /// Takes a ban out of the table and lines its change and its write up. Answers the ban, if there was one.
    pub(super) fn lift(&mut self, target: Target) -> Option<Ban> {
        let ban = self.bans.remove(target)?;
        self.lifted(target);
        Some(ban)
    }

    /// A ban is out of the table: kernel, store and engine have to follow.
    pub(super) fn lifted(&mut self, target: Target) {
        self.pending.push(Change::Unban(target));
        self.writes.push(Write::Unban(target));
        self.engine.lifted(target);
    }

    /// Lines up for the store what the engine has learnt about offenders.
    pub(super) fn keep_strikes(&mut self) {
        let clock = Clock::now();
        for past in self.engine.changed_strikes() {
            self.writes.push(Write::Strikes(views::stored_strikes(&past, clock)));
        }
    }

    /// Sweeps bans that are over. The kernel stopped enforcing them at their deadline by itself.
    pub(super) fn expire(&mut self) {
        const SWEEP: usize = 512;
        for ban in self.bans.expired(Moment::now(), SWEEP) {
            info!(target = %ban.target, "ban ended");
            self.count.expired += 1;
            self.lifted(ban.target);
            self.event("expire", Some(ban.target), &json!({ "strike": ban.strike }));
        }
    }

    /// Whether the kernel vouches for who wrote a source's lines: journald's trusted fields. Into a log file every
    /// local user can write a line in the name of sshd.
    fn is_vouched_for(&self, source: SourceId) -> bool {
        self.sources.get(&source).is_some_and(|status| status.name == journald::NAME)
    }

    /// Protects the address of a key login. What only a log file says is believed if the connection exists.
    fn key_login(&mut self, address: IpAddr, port: u16, at: Moment, vouched_for: bool, clock: Clock) {
        let exists = || {
            connections().is_ok_and(|all| all.iter().any(|one| one.peer == address && one.peer_port == port))
        };
        if !vouched_for && !exists() {
            let target = Target::host(address);
            info!(%address, port, "a key login is not believed: there is no such connection");
            self.event("doubt", Some(target), &json!({ "because": "a log file tells of a key login, but there is no such connection", "port": port }));
            return;
        }
        self.protection.key_login(address, port, at);
        self.keep_login(address, at, clock);
        self.sync_allowed();
    }

    /// Lets the protection of a key login outlive the daemon: as an allowance with its end, unless a person has made
    /// one of his own for this address.
    fn keep_login(&mut self, address: IpAddr, at: Moment, clock: Clock) {
        let target = Target::host(address);
        let until = at + self.config.allow.key_login_for;
        let by_hand = |(known, _, comment): (Target, _, String)| known == target && comment != KEY_LOGIN;
        if until > clock.moment && !self.protection.runtime_allowances().any(by_hand) {
            let until = Some(clock.wall_of(until));
            self.writes.push(Write::Allow { target, until, comment: KEY_LOGIN.to_owned() });
        }
    }

    /// Compares the sessions that protect an address with the sockets the kernel has.
    pub(super) fn follow_sessions(&mut self) {
        let now = Moment::now();
        if self.protection.has_sessions() {
            match connections() {
                Ok(connections) => {
                    self.protection.set_live_sessions(&connections, now);
                    self.problems.clear("sessions");
                }
                Err(cause) => self.problems.set(
                    "sessions",
                    format!("open sessions cannot be read ({cause}); those that are known stay protected"),
                ),
            }
        }
        for target in self.protection.expire(now) {
            self.writes.push(Write::Disallow(target));
            self.event("disallow", Some(target), &json!({ "because": "its time is over" }));
        }
        self.sync_allowed();
    }

    /// Reads own addresses, gateways and resolvers anew.
    pub(super) fn read_system(&mut self) {
        let (system, faults) = SystemAddresses::read();
        let problems = faults.iter().map(|fault| format!("{fault}; guard tries again")).collect();
        self.problems.replace("system", problems);
        if faults.is_empty() {
            self.protection.set_system(system);
        }
        self.sync_allowed();
    }

    /// Tells the kernel what has become protected or is no longer, and lifts bans that a protection now forbids.
    /// Answers the targets whose bans were lifted.
    pub(super) fn sync_allowed(&mut self) -> Vec<Target> {
        let now = Moment::now();
        let changes = self.protection.take_changes(now);
        if changes.is_empty() {
            return Vec::new();
        }
        self.pending.extend(changes.allow.iter().copied().map(Change::Allow));
        self.pending.extend(changes.disallow.iter().copied().map(Change::Disallow));
        self.allowed = self.protection.targets(now);
        let bans = self.bans_touched_by(&changes.allow);
        let mut lifted = Vec::new();
        for (target, because) in self.protection.conflicts(bans, now) {
            warn!(%target, because, "ban lifted: the target is protected now");
            self.lift(target);
            self.event("unban", Some(target), &json!({ "because": because }));
            lifted.push(target);
        }
        self.apply();
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

/// A duration in words.
fn humantime(duration: Duration) -> String {
    crate::config::units::show_duration(duration)
}
