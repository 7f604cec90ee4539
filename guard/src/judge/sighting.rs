//! From sightings to bans: rules and engine are asked, the protections have the last word, the table is changed.

use std::net::IpAddr;

use serde_json::json;
use tracing::info;

use super::standing::{Against, Standing};
use super::{Judge, Line, stored};
use crate::ban::{Ban, Origin};
use crate::encode::{EVIDENCE, printable};
use crate::enforce::Change;
use crate::engine::{BanOrder, Decision};
use crate::sighting::{Kind, Sighting, SourceId};
use crate::store::Write;
use crate::target::Target;
use crate::time::Clock;

/// Who stands for what a line tells of logins and sessions.
#[derive(Clone, Copy)]
pub enum Voucher<'a> {
    /// The kernel, which told journald who wrote the line.
    Kernel,
    /// Nobody: into a log file every local user can write a line in the name of sshd. So a login is believed if there is a
    /// connection from this address and port; `None` where connections cannot be read, and then it is believed, too: rather
    /// somebody is protected without cause than the owner is not.
    Sockets(&'a dyn Fn(IpAddr, u16) -> Option<bool>),
}

impl Voucher<'_> {
    const fn is_kernel(&self) -> bool {
        matches!(self, Self::Kernel)
    }

    /// Whether a login from there is to be believed.
    fn shows(&self, address: IpAddr, port: u16) -> bool {
        match self {
            Self::Kernel => true,
            Self::Sockets(is_connected) => is_connected(address, port).unwrap_or(true),
        }
    }
}

impl std::fmt::Debug for Voucher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_kernel() { "Kernel" } else { "Sockets" })
    }
}

impl Judge {
    /// Judges one sighting that came through the source `via`; `voucher` stands for what it tells of logins and sessions.
    /// Answers whether somebody was banned.
    pub fn sighting(
        &mut self,
        sighting: &Sighting<'_>,
        via: SourceId,
        voucher: Voucher<'_>,
        clock: Clock,
    ) -> bool {
        let Some(mut ruling) = self.ruling(sighting, clock) else {
            return self.observe(sighting, via, voucher, clock);
        };
        self.tags = std::mem::take(&mut ruling.tags);
        let scored = Sighting { points: ruling.points, ..*sighting };
        self.engine.ruled_by(&ruling.scored_by);
        // Whom a login protects must be known before a rule bans; whom a rule bans, before the engine does.
        let banned = if sighting.kind.is_benign() {
            let banned = self.observe(&scored, via, voucher, clock);
            self.ban_by_rule(&ruling, sighting, clock) || banned
        } else {
            let banned = self.ban_by_rule(&ruling, sighting, clock);
            if let Some(rule) = &ruling.ignored_by {
                self.note_ignored(rule, sighting, clock);
                banned
            } else {
                self.observe(&scored, via, voucher, clock) || banned
            }
        };
        self.engine.ruled_by("");
        self.tell_of_rules(ruling, sighting, clock);
        self.tags.clear();
        banned
    }

    /// Has the engine score a sighting.
    fn observe(
        &mut self,
        sighting: &Sighting<'_>,
        via: SourceId,
        voucher: Voucher<'_>,
        clock: Clock,
    ) -> bool {
        let at = sighting.at.map_or(clock.moment, |wall| clock.moment_of(wall).min(clock.moment));
        if self.is_doubted(sighting, voucher) {
            self.doubt(sighting, clock);
            self.engine.observe_doubted(sighting, at, clock.moment);
            return self.decide_further(Some(sighting), clock);
        }
        let mut banned = match self.engine.observe(sighting, via, at, clock.moment) {
            Some(Decision::KeyLogin { address, port, at }) => {
                self.key_login(address, port, at, clock);
                false
            }
            Some(Decision::SessionEnd { address, port }) => {
                // Otherwise its connection tells, when it is gone.
                if voucher.is_kernel() {
                    self.protection.session_end(address, port);
                }
                false
            }
            Some(Decision::Ban(order)) => self.order(&order, Some(sighting), clock),
            // Not part of a key login: the engine would say so.
            None if sighting.kind == Kind::PasswordLogin && self.opens_session(sighting) => {
                // A session that is known began otherwise, and takes its port from all others.
                if voucher.is_kernel() || !self.protection.has_session(sighting.address, sighting.port) {
                    self.protection.password_login(sighting.address, sighting.port);
                }
                false
            }
            Some(_) | None => false,
        };
        banned |= self.decide_further(Some(sighting), clock);
        banned
    }

    /// Whether a line tells of a login that nobody vouches for. Only where a login opens a session: other services' are over
    /// before anybody could look for their connections.
    fn is_doubted(&self, sighting: &Sighting<'_>, voucher: Voucher<'_>) -> bool {
        let is_login = match sighting.kind {
            Kind::KeyLogin => true,
            Kind::PasswordLogin => self.opens_session(sighting),
            _ => false,
        };
        is_login && !voucher.shows(sighting.address, sighting.port)
    }

    /// Whether the service of a line is one whose connections are sessions: one that people log in to with keys.
    fn opens_session(&self, sighting: &Sighting<'_>) -> bool {
        self.filters.has_key_logins(sighting.pattern.filter)
    }

    /// Carries out what the engine has decided besides; `last` is the line that tipped it, if one did. Answers whether
    /// somebody was banned.
    pub(super) fn decide_further(&mut self, last: Option<&Sighting<'_>>, clock: Clock) -> bool {
        let mut banned = false;
        while let Some(decision) = self.engine.further() {
            match decision {
                Decision::Ban(order) => banned |= self.order(&order, last, clock),
                Decision::Incident(incident) => self.incident(&incident, last, clock),
                Decision::Held(order) => self.held(&order, clock),
                Decision::Spared { target, login } => self.spared(target, login, clock),
                Decision::StormBegins(until) => self.storm_begins(until, clock),
                Decision::StormEnds { held, unheld } => self.storm_ends(held, unheld, clock),
                // What a line says of a login is answered at once.
                Decision::KeyLogin { .. } | Decision::SessionEnd { .. } => {}
            }
        }
        banned
    }

    /// Turns an order into a ban, unless something speaks against it. Answers whether it did.
    fn order(&mut self, order: &BanOrder, last: Option<&Sighting<'_>>, clock: Clock) -> bool {
        let filter = self.filters.filter_name(order.pattern.filter).to_owned();
        let score = order.score.as_f64();
        match self.standing(clock).against(order.target) {
            Some(Against::Covered(wider)) => {
                info!(target = %order.target, %wider, "not banned: a ban covers it");
                self.engine.refused(order.target);
                return false;
            }
            Some(Against::Forbidden(because)) => {
                self.engine.refused(order.target);
                self.count.refused += 1;
                let detail = json!({ "filter": filter, "score": score, "because": because });
                self.event_that_repeats("refuse", (order.target, ""), detail, clock);
                return false;
            }
            None => {}
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
            "lines": self.lines_against(order.target, last, clock),
        });
        self.event_of_line("ban", ban.target, detail, clock);
        self.insert(ban, clock);
        self.engine.stands(order, clock.moment);
        true
    }

    /// Bans and protections as they stand.
    pub(super) const fn standing(&self, clock: Clock) -> Standing<'_> {
        let Self { bans, protection, decide, .. } = self;
        Standing { bans, protection, prefix_most: decide.prefix_most, now: clock.moment }
    }

    /// The lines that led to a ban, as [`Self::lines`] has them; of a prefix, the last one.
    pub(super) fn lines_against(
        &self,
        target: Target,
        last: Option<&Sighting<'_>>,
        clock: Clock,
    ) -> Vec<Line> {
        if target.is_host() {
            // What each fits can be long, and the ban's own pattern is told once.
            let told = |line| Line { pattern: String::new(), ..line };
            return self.lines(target.address(), clock).into_iter().map(told).collect();
        }
        last.map(|last| self.line_of(last, clock)).into_iter().collect()
    }

    /// A line by itself.
    pub(super) fn line_of(&self, sighting: &Sighting<'_>, clock: Clock) -> Line {
        Line {
            at: clock.wall,
            filter: self.filters.filter_name(sighting.pattern.filter).to_owned(),
            pattern: self.filters.pattern_text(sighting.pattern).to_owned(),
            kind: sighting.kind.name().to_owned(),
            points: sighting.points.as_f64(),
            ruled_by: None,
            listed: None,
            earlier: 0.0,
            joined: false,
            score: sighting.points.as_f64(),
            leaked: 0.0,
            forgotten: 0.0,
            line: printable(sighting.line, EVIDENCE),
        }
    }

    /// Puts a ban into the table and lines its change and its write up.
    pub(super) fn insert(&mut self, ban: Ban, clock: Clock) {
        let target = ban.target;
        if self.bans.get(target).is_none() {
            self.make_room(clock);
        }
        let is_forced = ban.origin.is_forced();
        if self.bans.get(target).is_some_and(|ban| ban.origin.is_feed()) {
            // It comes back when this one ends.
            self.bans.set(ban);
        } else {
            self.bans.insert(ban);
        }
        // The table keeps the later end of the two, so what holds is asked of it.
        if let Some(ban) = self.bans.get(target) {
            self.outcome.changes.push(Change::Ban { target, id: ban.id, until: ban.until });
            self.outcome.writes.push(Write::Ban(stored::ban(ban, clock)));
        }
        if is_forced {
            self.protection.force(target);
            self.sync_allowed(clock);
        }
    }
}
