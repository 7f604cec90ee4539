//! The deciding half of a replay, apart from the scanner so that both can be borrowed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::ban::{self, BanTable, Origin};
use crate::config::Config;
use crate::engine::{BanOrder, Decision, Engine, EngineOptions};
use crate::judge::standing::{Against, Standing};
use crate::protect::Protection;
use crate::rules::action::Term;
use crate::rules::{Facts, RuleSet};
use crate::scan::FilterSet;
use crate::sighting::{Kind, Points, Sighting, SourceId, Take};
use crate::target::Target;
use crate::time::{Clock, Moment, Wall};

/// Sources remembered, so that none is forgotten over a long log.
const SOURCES: usize = 4_000_000;
/// Bans that are over are taken out so many at a time.
const SWEEP: usize = 512;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    /// Lines read.
    pub(super) lines: u64,
    /// Bytes read.
    pub(super) bytes: u64,
    /// Lines that a pattern matched.
    pub(super) matched: u64,
    /// Lines cut because they are longer than guard reads.
    pub(super) cut: u64,
    /// Addresses that had points.
    pub(super) sources: u64,
    /// Bans that something protected forbade.
    pub(super) refused: u64,
    /// Incidents: what people should know of besides bans.
    pub(super) incidents: u64,
    /// Bans, in the order they were decided.
    pub(super) bans: Vec<Ban>,
    /// Rules that held for a line, and what they did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) rules: Vec<Ruled>,
}

/// What a rule did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Ruled {
    pub(super) rule: String,
    /// Lines it held for and was asked about.
    pub(super) matched: u64,
    /// Lines it acted on.
    pub(super) acted: u64,
    /// Lines it would have acted on, in simulation.
    pub(super) simulated: u64,
}

/// A ban that there would have been.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Ban {
    pub(super) target: Target,
    /// When, RFC 3339; on the log's own time.
    pub(super) at: String,
    /// For how long; absent: for good.
    pub(super) seconds: Option<u64>,
    /// Name of the filter, or `rule:` and that of the rule.
    pub(super) rule: String,
    /// Points that were reached.
    pub(super) score: f64,
    /// Whether an address of the target logged in further on in the logs: the ban would have hit somebody who may.
    pub(super) logged_in_later: bool,
    #[serde(skip)]
    pub(super) since: Moment,
    #[serde(skip)]
    pub(super) until: Option<Moment>,
}

/// A replay's timeline is the logs' own time.
const ON_THE_LOG: Clock = Clock { wall: Wall(0), moment: Moment(0) };

/// Decides what sightings lead to.
pub(super) struct Judge {
    engine: Engine,
    protection: Protection,
    filters: Arc<FilterSet>,
    rules: RuleSet,
    now: Moment,
    refused: u64,
    incidents: u64,
    /// What the engine may ban of prefixes at once.
    prefix_most: usize,
    /// Bans that stand.
    standing: BanTable,
    /// All there were.
    bans: Vec<Ban>,
    /// Addresses that logged in, and how many bans there were when they last did.
    logins: BTreeMap<IpAddr, usize>,
}

impl Judge {
    pub(super) fn new(config: &Config, filters: Arc<FilterSet>, rules: RuleSet) -> Self {
        let mut decide = config.decide.clone();
        decide.max_sources = decide.max_sources.max(SOURCES);
        let mut engine = Engine::new(EngineOptions { decide, seed: 0, evidence: 0 });
        engine.set_login_filters(filters.reads_logins());
        Self {
            engine,
            protection: Protection::new(&config.allow, ON_THE_LOG),
            filters,
            rules,
            now: Moment(i64::MIN),
            refused: 0,
            incidents: 0,
            prefix_most: config.decide.prefix_most,
            standing: BanTable::new(),
            bans: Vec::new(),
            logins: BTreeMap::new(),
        }
    }

    /// Asks the rules first, as the daemon does.
    fn ask(&mut self, sighting: &Sighting<'_>, at: Moment) {
        let facts = Facts::of(sighting, self.filters.filter_name(sighting.pattern.filter));
        let verdict = self.rules.judge(&facts, self.now);
        let scored = Sighting { points: verdict.points(sighting.points), ..*sighting };
        let ignored = verdict.ignores().is_some();
        let ban = verdict.ban().map(|(rule, term)| (Origin::Rule(rule.name().into()), term));
        if sighting.kind.is_benign() {
            self.observe(&scored, at);
        }
        if let Some((rule, term)) = ban {
            self.ban_by_rule(sighting, rule, term);
        }
        if !sighting.kind.is_benign() && !ignored {
            self.observe(&scored, at);
        }
    }

    #[cold]
    fn ban_by_rule(&mut self, sighting: &Sighting<'_>, rule: Origin, term: Term) {
        let (address, now) = (sighting.address, self.now);
        let target = Target::host(address);
        let wanted = term.length().map(|length| length.map(|length| now + length));
        if self.standing().serves(target, &rule, term) {
            return;
        }
        if self.protection.refusal(target, self.now).is_some() {
            self.refused += 1;
            return;
        }
        let score = self.engine.score(address, now);
        let until = match (self.engine.ruled(target, term.length(), sighting.pattern, now), wanted) {
            (Some(sentence), _) => sentence.until,
            (None, Some(until)) => {
                self.engine.banned(target, until);
                until
            }
            (None, None) => return,
        };
        self.ban(target, until, rule, score);
        self.further();
    }

    #[inline]
    fn observe(&mut self, sighting: &Sighting<'_>, at: Moment) {
        if let Some(Decision::Ban(order)) = self.engine.observe(sighting, SourceId(0), at, self.now) {
            self.order(&order);
        }
        self.further();
        if matches!(sighting.kind, Kind::KeyLogin | Kind::PasswordLogin) {
            self.login(sighting.address);
        }
    }

    /// Carries out what the engine has decided besides.
    fn further(&mut self) {
        while let Some(decision) = self.engine.further() {
            match decision {
                Decision::Ban(order) => self.order(&order),
                Decision::Incident(_) => self.incidents += 1,
                _ => {}
            }
        }
    }

    #[cold]
    fn order(&mut self, order: &BanOrder) {
        match self.standing().against(order.target) {
            Some(Against::Covered(_)) => return self.engine.refused(order.target),
            Some(Against::Forbidden(_)) => {
                self.engine.refused(order.target);
                self.refused += 1;
                return;
            }
            None => {}
        }
        self.engine.stands(order, order.since);
        let origin = if order.target.is_host() {
            Origin::Filter(self.filters.filter_name(order.pattern.filter).into())
        } else {
            Origin::Prefix
        };
        self.ban(order.target, order.until, origin, order.score);
    }

    /// Bans and protections as they stand.
    fn standing(&mut self) -> Standing<'_> {
        while !self.standing.expired(self.now, SWEEP).is_empty() {}
        let Self { standing: bans, protection, prefix_most, now, .. } = self;
        Standing { bans, protection, prefix_most: *prefix_most, now: *now }
    }

    fn ban(&mut self, target: Target, until: Option<Moment>, origin: Origin, score: Points) {
        let since = self.now;
        self.bans.push(Ban {
            target,
            at: Wall(since.0).to_string(),
            seconds: until.map(|until| until.since(since).as_secs()),
            rule: match &origin {
                Origin::Rule(name) => format!("rule:{name}"),
                origin => origin.name().to_owned(),
            },
            score: score.as_f64(),
            logged_in_later: false,
            since,
            until,
        });
        let (id, reason) = (self.standing.next_id(), Box::default());
        self.standing.insert(ban::Ban { id, target, since, until, origin, score, strike: 1, reason });
    }

    #[cold]
    fn login(&mut self, address: IpAddr) {
        if self.logins.len() < SOURCES || self.logins.contains_key(&address) {
            self.logins.insert(address, self.bans.len());
        }
    }

    /// What the judge knows of the outcome.
    pub(super) fn outcome(self) -> Outcome {
        let Self { engine, rules, refused, incidents, mut bans, logins, .. } = self;
        let rules = rules.rules().filter(|(_, count)| count.matched > 0).map(|(rule, count)| Ruled {
            rule: rule.name().to_owned(),
            matched: count.matched,
            acted: count.acted,
            simulated: count.simulated,
        });
        let rules = rules.collect();
        for (index, ban) in bans.iter_mut().enumerate() {
            let net = ban.target.net();
            let mut logins = logins.range(net.network()..=net.broadcast());
            ban.logged_in_later = logins.any(|(_, bans_then)| *bans_then > index);
        }
        Outcome {
            sources: engine.tracked() + engine.count().evicted,
            refused,
            incidents,
            bans,
            rules,
            ..Outcome::default()
        }
    }
}

impl Take for Judge {
    #[inline(always)]
    fn expect(&self, sighting: &Sighting<'_>) {
        self.engine.expect(sighting);
    }

    #[inline]
    fn take(&mut self, sighting: &Sighting<'_>) {
        // A line without a readable stamp happened when the one before it did.
        let at = sighting.at.map_or(self.now, |wall| Moment(wall.0));
        self.now = self.now.max(at);
        if self.engine.next_tick().is_some_and(|due| due <= self.now) {
            self.engine.tick(self.now);
        }
        if self.rules.is_empty() {
            self.observe(sighting, at);
        } else {
            self.ask(sighting, at);
        }
    }
}
