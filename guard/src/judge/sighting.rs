//! From sightings to bans: the engine is asked, the protections have the last word, the table is changed.

use std::net::IpAddr;

use serde_json::json;
use tracing::info;

use super::{Judge, Line, is_recovered, stored};
use crate::ban::{Ban, BanRef, Origin};
use crate::config::units::show_duration;
use crate::encode::{EVIDENCE, printable};
use crate::enforce::Change;
use crate::engine::{BanOrder, Decision};
use crate::sighting::{Kind, Sighting, SourceId};
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
        match self.engine.observe(sighting, via, at, clock.moment) {
            Some(Decision::Ban(order)) => return self.order(&order, sighting, clock),
            Some(Decision::KeyLogin { address, port, at }) => {
                self.key_login(address, port, at, is_there(address, port), clock);
            }
            Some(Decision::SessionEnd { address, port }) => self.protection.session_end(address, port),
            // Not part of a key login: the engine would say so.
            None if sighting.kind == Kind::PasswordLogin => {
                self.protection.password_login(sighting.address, sighting.port);
            }
            None => {}
        }
        false
    }

    /// Turns an order into a ban, unless something protects the target. Answers whether it did.
    fn order(&mut self, order: &BanOrder, sighting: &Sighting<'_>, clock: Clock) -> bool {
        let filter = self.filters.filter_name(order.pattern.filter).to_owned();
        let score = order.score.as_f64();
        let covers = |ban: &BanRef<'_>| !ban.is_over(clock.moment) && !is_recovered(ban.origin);
        if let Some(wider) = self.bans.covering(order.target.address()).find(covers) {
            info!(target = %order.target, wider = %wider.target, "not banned: a ban covers it");
            self.engine.refused(order.target);
            return false;
        }
        if let Some(protection) = self.protection.refusal(order.target, clock.moment) {
            self.engine.refused(order.target);
            self.count.refused += 1;
            info!(target = %order.target, filter, score, protection, "not banned: protected");
            let detail = json!({ "filter": filter, "score": score, "because": protection });
            self.event("refuse", Some(order.target), &detail, clock);
            return false;
        }
        let window = show_duration(self.decide.window);
        let ban = Ban {
            id: self.bans.next_id(),
            target: order.target,
            since: order.since,
            until: order.until,
            origin: Origin::Filter(filter.as_str().into()),
            score: order.score,
            strike: order.strike,
            reason: format!("{filter}: {score} points within {window}").into(),
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
        *self.count.bans_by_rule.entry(filter.clone()).or_default() += 1;
        let detail = json!({
            "filter": filter,
            "pattern": self.filters.pattern_text(order.pattern),
            "score": score,
            "strike": ban.strike,
            "until": until,
            "lines": self.lines_against(order.target, sighting, clock),
        });
        self.event("ban", Some(ban.target), &detail, clock);
        self.insert(ban, clock);
        true
    }

    /// The lines that led to a ban, as [`Self::lines`] has them.
    fn lines_against(&self, target: Target, last: &Sighting<'_>, clock: Clock) -> Vec<Line> {
        if target.is_host() {
            return self.lines(target.address(), clock);
        }
        vec![Line {
            at: clock.wall,
            filter: self.filters.filter_name(last.pattern.filter).to_owned(),
            pattern: self.filters.pattern_text(last.pattern).to_owned(),
            kind: last.kind.name().to_owned(),
            points: last.points.as_f64(),
            joined: false,
            score: last.points.as_f64(),
            leaked: 0.0,
            line: printable(last.line, EVIDENCE),
        }]
    }

    /// Puts a ban into the table and lines its change and its write up.
    pub(super) fn insert(&mut self, ban: Ban, clock: Clock) {
        let target = ban.target;
        if self.bans.get(target).is_none() {
            self.make_room(clock.moment);
        }
        let is_forced = ban.origin.is_forced();
        self.bans.insert(ban);
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
