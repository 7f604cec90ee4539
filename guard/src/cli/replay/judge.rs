//! The deciding half of a replay, apart from the scanner so that both can be borrowed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::config::Config;
use crate::engine::{BanOrder, Decision, Engine, EngineOptions};
use crate::protect::Protection;
use crate::scan::FilterSet;
use crate::sighting::{Kind, Sighting, SourceId, Take};
use crate::target::Target;
use crate::time::{Clock, Moment, Wall};

/// Sources remembered, so that none is forgotten over a long log.
const SOURCES: usize = 4_000_000;

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
}

/// A ban that there would have been.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Ban {
    pub(super) target: Target,
    /// When, RFC 3339; on the log's own time.
    pub(super) at: String,
    /// For how long; absent: for good.
    pub(super) seconds: Option<u64>,
    /// Name of the filter.
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
    now: Moment,
    refused: u64,
    incidents: u64,
    bans: Vec<Ban>,
    /// Addresses that logged in, and how many bans there were when they last did.
    logins: BTreeMap<IpAddr, usize>,
}

impl Judge {
    pub(super) fn new(config: &Config, filters: Arc<FilterSet>) -> Self {
        let mut decide = config.decide.clone();
        decide.max_sources = decide.max_sources.max(SOURCES);
        Self {
            engine: Engine::new(EngineOptions { decide, seed: 0, evidence: 0 }),
            protection: Protection::new(&config.allow, ON_THE_LOG),
            filters,
            now: Moment(i64::MIN),
            refused: 0,
            incidents: 0,
            bans: Vec::new(),
            logins: BTreeMap::new(),
        }
    }

    #[cold]
    fn order(&mut self, order: &BanOrder) {
        if self.protection.refusal(order.target, order.since).is_some() {
            self.engine.refused(order.target);
            self.refused += 1;
            return;
        }
        self.engine.stands(order, order.since);
        self.bans.push(Ban {
            target: order.target,
            at: Wall(order.since.0).to_string(),
            seconds: order.until.map(|until| until.since(order.since).as_secs()),
            rule: if order.target.is_host() {
                self.filters.filter_name(order.pattern.filter).to_owned()
            } else {
                "prefix".to_owned()
            },
            score: order.score.as_f64(),
            logged_in_later: false,
            since: order.since,
            until: order.until,
        });
    }

    #[cold]
    fn login(&mut self, address: IpAddr) {
        if self.logins.len() < SOURCES || self.logins.contains_key(&address) {
            self.logins.insert(address, self.bans.len());
        }
    }

    /// What the judge knows of the outcome.
    pub(super) fn outcome(self) -> Outcome {
        let Self { engine, refused, incidents, mut bans, logins, .. } = self;
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
        if let Some(Decision::Ban(order)) = self.engine.observe(sighting, SourceId(0), at, self.now) {
            self.order(&order);
        }
        while let Some(decision) = self.engine.further() {
            match decision {
                Decision::Ban(order) => self.order(&order),
                Decision::Incident(_) => self.incidents += 1,
                _ => {}
            }
        }
        if matches!(sighting.kind, Kind::KeyLogin | Kind::PasswordLogin) {
            self.login(sighting.address);
        }
    }
}
