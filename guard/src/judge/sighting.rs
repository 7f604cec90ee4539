//! From sightings to bans: the engine is asked, the protections have the last word, the table is changed.

use std::net::IpAddr;

use serde_json::json;
use tracing::info;

use super::{Judge, is_recovered, stored};
use crate::ban::{Ban, BanRef, Origin};
use crate::config::units::show_duration;
use crate::encode::{EVIDENCE, printable};
use crate::enforce::Change;
use crate::engine::{BanOrder, Cause, Decision};
use crate::sighting::{Sighting, SourceId};
use crate::store::Write;
use crate::target::Target;
use crate::time::Clock;

impl Judge {
    /// Judges one sighting that came through the source `via`. `is_there` is asked whether a key login from an address
    /// and port may be believed. Answers whether somebody was banned.
    pub fn sighting(
        &mut self,
        sighting: &Sighting<'_>,
        via: SourceId,
        is_there: impl FnOnce(IpAddr, u16) -> bool,
        clock: Clock,
    ) -> bool {
        let at = sighting.at.map_or(clock.moment, |wall| clock.moment_of(wall).min(clock.moment));
        let mut banned = match self.engine.observe(sighting, via, at, clock.moment) {
            Some(Decision::KeyLogin { address, port, at }) => {
                self.key_login(address, port, at, is_there(address, port), clock);
                false
            }
            Some(Decision::SessionEnd { address, port }) => {
                self.protection.session_end(address, port);
                false
            }
            Some(Decision::Ban(order)) => self.order(&order, sighting.line, clock),
            Some(_) | None => false,
        };
        banned |= self.decide_further(sighting.line, clock);
        banned
    }

    /// Carries out what the engine has decided besides; `line` is the one that tipped it. Answers whether somebody was
    /// banned.
    pub(super) fn decide_further(&mut self, line: &[u8], clock: Clock) -> bool {
        let mut banned = false;
        while let Some(decision) = self.engine.further() {
            match decision {
                Decision::Ban(order) => banned |= self.order(&order, line, clock),
                Decision::Incident(incident) => self.incident(&incident, line, clock),
                Decision::Held(order) => self.held(&order, clock),
                Decision::StormBegins(until) => self.storm_begins(until, clock),
                Decision::StormEnds(held) => self.storm_ends(held, clock),
                // What a line says of a login is answered at once.
                Decision::KeyLogin { .. } | Decision::SessionEnd { .. } => {}
            }
        }
        banned
    }

    /// Turns an order into a ban, unless something speaks against it. Answers whether it did.
    fn order(&mut self, order: &BanOrder, line: &[u8], clock: Clock) -> bool {
        let filter = self.filters.filter_name(order.pattern.filter).to_owned();
        let score = order.score.as_f64();
        if let Some(wider) = self.covered_by(order.target, clock) {
            info!(target = %order.target, %wider, "not banned: a ban covers it");
            self.engine.refused(order.target);
            return false;
        }
        if let Some(because) = self.refusal(order, clock) {
            self.engine.refused(order.target);
            self.count.refused += 1;
            info!(target = %order.target, filter, score, because, "not banned");
            let detail = json!({ "filter": filter, "score": score, "because": because });
            self.event("refuse", Some(order.target), &detail, clock);
            return false;
        }
        let ban = Ban {
            id: self.bans.next_id(),
            target: order.target,
            since: order.since,
            until: order.until,
            origin: if order.target.is_host() {
                Origin::Filter(filter.as_str().into())
            } else {
                Origin::Prefix
            },
            score: order.score,
            strike: order.strike,
            reason: self.reason(order, &filter).into(),
        };
        let until = ban.until.map(|until| clock.wall_of(until).to_string());
        info!(
            target = %ban.target,
            filter,
            score,
            strike = ban.strike,
            until = until.as_deref().unwrap_or("for good"),
            "banned"
        );
        let rule = if order.target.is_host() { filter.clone() } else { "prefix".to_owned() };
        *self.count.bans_by_rule.entry(rule).or_default() += 1;
        let detail = json!({
            "filter": filter,
            "pattern": self.filters.pattern_text(order.pattern),
            "score": score,
            "strike": ban.strike,
            "until": until,
            "reason": ban.reason,
            "lines": self.lines_against(order.target, line),
        });
        self.event("ban", Some(ban.target), &detail, clock);
        self.insert(ban, clock);
        self.engine.stands(order, clock.moment);
        true
    }

    /// A ban that covers all of a target and is known to be more than a remainder in the kernel.
    fn covered_by(&self, target: Target, clock: Clock) -> Option<Target> {
        let covers = |ban: &BanRef<'_>| {
            ban.target.length() <= target.length() && !ban.is_over(clock.moment) && !is_recovered(ban.origin)
        };
        self.bans.covering(target.address()).find(covers).map(|ban| ban.target)
    }

    /// What speaks against an order.
    fn refusal(&self, order: &BanOrder, clock: Clock) -> Option<String> {
        if let Some(because) = self.protection.refusal(order.target, clock.moment) {
            return Some(because);
        }
        let most = self.decide.prefix_most;
        (!order.target.is_host() && self.prefixes() >= most as u64)
            .then(|| format!("{most} prefixes are banned already (decide.prefix_most)"))
    }

    /// Prefixes that the engine has banned.
    fn prefixes(&self) -> u64 {
        let counts = self.bans.counts().filter(|(origin, _)| **origin == Origin::Prefix);
        counts.map(|(_, count)| count.ipv4 + count.ipv6).sum()
    }

    /// Why, in words.
    fn reason(&self, order: &BanOrder, filter: &str) -> String {
        let decide = &self.decide;
        match order.cause {
            Cause::Score(threshold) => {
                let within = show_duration(decide.window);
                let lowered = if threshold < decide.threshold {
                    format!(" (a known offender: {} lead to a ban)", threshold.as_f64())
                } else {
                    String::new()
                };
                format!("{filter}: {} points within {within}{lowered}", order.score.as_f64())
            }
            Cause::Decoy => format!("{filter}: an account was tried that nobody has here"),
            Cause::Accounts(accounts) => {
                let within = show_duration(decide.accounts_within);
                format!("{filter}: {accounts} different accounts were tried within {within}")
            }
            Cause::Slow => format!("{filter}: slow guesses at several accounts"),
            Cause::Banned(members) => {
                let (what, within) = if order.target.length() == 24 || order.target.length() == 64 {
                    ("hosts", decide.prefix_within)
                } else {
                    ("prefixes", decide.prefix_length)
                };
                format!("{members} of its {what} were banned within {}", show_duration(within))
            }
            Cause::Failing(members) => {
                let within = show_duration(decide.prefix_within);
                format!("{members} of its addresses failed within {within}")
            }
        }
    }

    /// The lines that led to a ban, printable.
    pub(super) fn lines_against(&self, target: Target, last: &[u8]) -> Vec<String> {
        if !target.is_host() {
            return Some(last)
                .filter(|line| !line.is_empty())
                .map(|line| printable(line, EVIDENCE))
                .into_iter()
                .collect();
        }
        let evidence = self.engine.evidence(target.address());
        evidence.iter().map(|evidence| printable(&evidence.line, EVIDENCE)).collect()
    }

    /// Puts a ban into the table and lines its change and its write up.
    pub(super) fn insert(&mut self, ban: Ban, clock: Clock) {
        let target = ban.target;
        if self.bans.get(target).is_none() {
            self.make_room(clock.moment);
        }
        self.bans.insert(ban);
        // The table keeps the later end of the two, so what holds is asked of it.
        if let Some(ban) = self.bans.get(target) {
            self.outcome.changes.push(Change::Ban { target, id: ban.id, until: ban.until });
            self.outcome.writes.push(Write::Ban(stored::ban(ban, clock)));
        }
    }
}
