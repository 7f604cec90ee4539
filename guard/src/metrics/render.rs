//! From a snapshot to the text exposition format, version 0.0.4.

use super::histogram::{BOUNDS, Distribution};
use super::names::{self, Metric};
use super::{Process, Snapshot, SourceCount};
use crate::api::FeedView;
use crate::rules::RuleCount;
use crate::source::ReadCount;
use crate::source::health::Fault;

/// The content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The exposition of a snapshot.
pub fn render(snapshot: &Snapshot) -> String {
    let mut out = Text(String::with_capacity(16 * 1024));
    out.one(&names::BUILD_INFO, &[&snapshot.version], 1);
    out.plain(&names::PROBLEMS, snapshot.problems);
    out.plain(&names::RESTORED, u64::from(snapshot.restored));
    sources(&mut out, &snapshot.sources);
    engine(&mut out, snapshot);
    kernel(&mut out, snapshot);
    surroundings(&mut out, snapshot);
    process(&mut out, &Process::read());
    out.0
}

fn sources(out: &mut Text, sources: &[SourceCount]) {
    let mut each = |metric: &Metric, value: fn(&ReadCount) -> u64| {
        out.many(metric, sources.iter().map(|source| ([source.name.as_str()], value(&source.read))));
    };
    each(&names::SOURCE_LINES, |read| read.lines);
    each(&names::SOURCE_BYTES, |read| read.bytes);
    each(&names::SOURCE_MATCHES, |read| read.matched);
    each(&names::SOURCE_CUT, |read| read.cut);
    each(&names::SOURCE_UNTRUSTED, |read| read.untrusted);
    each(&names::SOURCE_GAPS, |read| read.gaps);
    out.many(
        &names::SOURCE_HEALTHY,
        sources.iter().map(|source| ([source.name.as_str()], u64::from(source.healthy))),
    );
    out.many(
        &names::SOURCE_LAG,
        sources.iter().map(|source| ([source.name.as_str(), source.unit()], source.behind)),
    );
    out.many(&names::SOURCE_SILENT, sources.iter().map(|s| ([s.name.as_str()], s.silent_seconds)));
    out.many(&names::SOURCE_UNMATCHED, sources.iter().map(|s| ([s.name.as_str()], s.unmatched)));
    let faults = |source: &'_ SourceCount| Fault::NAMES.into_iter().zip(source.faults);
    out.many(
        &names::SOURCE_FAULT,
        sources.iter().flat_map(|source| {
            faults(source).map(|(fault, there)| ([source.name.as_str(), fault], u64::from(there)))
        }),
    );
}

fn engine(out: &mut Text, snapshot: &Snapshot) {
    let sightings = snapshot.sightings.iter();
    out.many(&names::SIGHTINGS, sightings.map(|(filter, kind, n)| ([filter.as_str(), kind.name()], *n)));
    out.plain(&names::SIGHTINGS_JOINED, snapshot.engine.joined);
    out.plain(&names::SIGHTINGS_TOO_OLD, snapshot.engine.too_old);
    out.plain(&names::TRACKED, snapshot.tracked);
    out.plain(&names::EVICTED, snapshot.engine.evicted);
    out.plain(&names::GROUPS_EVICTED, snapshot.engine.groups_evicted);
    out.many(&names::BANS, snapshot.bans.iter().map(|(rule, n)| ([rule.as_str()], *n)));
    out.plain(&names::BANS_REFUSED, snapshot.bans_refused);
    out.plain(&names::BANS_EVICTED, snapshot.bans_evicted);
    out.many(&names::INCIDENTS, snapshot.incidents.iter().map(|(name, count)| ([*name], count)));
    out.plain(&names::PREFIXES_SPARED, snapshot.engine.spared);
    out.plain(&names::LOGINS_EVICTED, snapshot.engine.logins_evicted);
    out.plain(&names::STORMS, snapshot.storms);
    out.plain(&names::STORM, snapshot.is_storm.into());
    out.plain(&names::HELD, snapshot.held);
    out.plain(&names::UNHELD, snapshot.engine.unheld);
    let mut each = |metric: &Metric, value: fn(&RuleCount) -> u64| {
        out.many(metric, snapshot.rules.iter().map(|(rule, count)| ([rule.as_str()], value(count))));
    };
    each(&names::RULE_MATCHES, |rule| rule.matched);
    each(&names::RULE_ACTS, |rule| rule.acted);
    each(&names::RULE_SIMULATED, |rule| rule.simulated);
    each(&names::RULE_LIMITED, |rule| rule.limited);
    for (metric, count) in [(&names::COMMANDS, snapshot.commands), (&names::WEBHOOKS, snapshot.webhooks)] {
        let outcomes = [
            (["done"], count.done),
            (["failed"], count.failed),
            (["timeout"], count.timeout),
            (["dropped"], count.dropped),
        ];
        out.many(metric, outcomes.into_iter());
    }
    let backend = snapshot.enforcer.backend.as_str();
    let active = [("ipv4", snapshot.active_ipv4), ("ipv6", snapshot.active_ipv6)];
    out.many(&names::BANS_ACTIVE, active.iter().map(|(family, n)| ([*family, backend], *n)));
}

fn kernel(out: &mut Text, snapshot: &Snapshot) {
    let reasons = || snapshot.counters.reasons.iter();
    out.many(&names::PACKETS, reasons().map(|(reason, packets, _)| ([reason.as_str()], *packets)));
    out.many(&names::PACKET_BYTES, reasons().map(|(reason, _, bytes)| ([reason.as_str()], *bytes)));
    let drops = || snapshot.counters.drops.iter();
    out.many(&names::DROPPED, drops().map(|(on, why, packets, _)| ([on.as_str(), why.as_str()], *packets)));
    out.many(&names::DROPPED_BYTES, drops().map(|(on, why, _, bytes)| ([on.as_str(), why.as_str()], *bytes)));
    let interfaces = snapshot.enforcer.interfaces.iter();
    out.many(&names::INTERFACE, interfaces.map(|on| ([on.name.as_str(), on.mode.as_str()], 1)));
    let maps = || snapshot.enforcer.maps.iter();
    out.many(&names::MAP_ENTRIES, maps().map(|map| ([map.name.as_str()], map.entries)));
    out.many(&names::MAP_CAPACITY, maps().map(|map| ([map.name.as_str()], map.capacity)));
    out.plain(&names::ENFORCER_ERRORS, snapshot.enforcer_errors);
    let drift = &snapshot.drift;
    let kinds = [
        (["missing"], drift.missing),
        (["foreign"], drift.foreign),
        (["changed"], drift.changed),
        (["attachments"], drift.attachments),
    ];
    out.many(&names::DRIFT, kinds.into_iter());
    out.histogram(&names::LINE_TO_KERNEL, &snapshot.line_to_kernel);
}

fn feeds(out: &mut Text, feeds: &[FeedView]) {
    let mut each = |metric: &Metric, value: fn(&FeedView) -> u64| {
        out.many(metric, feeds.iter().map(|feed| ([feed.name.as_str()], value(feed))));
    };
    each(&names::FEED_TARGETS, |feed| feed.targets.unwrap_or(0));
    each(&names::FEED_BANS, |feed| feed.bans);
    each(&names::FEED_AGE, |feed| feed.age_seconds.unwrap_or(0));
    let refused = |feed: &FeedView| {
        [
            ("rubbish", feed.rubbish.count),
            ("too_wide", feed.too_wide.count),
            ("protected", feed.protected),
            ("no_room", feed.no_room),
        ]
    };
    let refused = feeds
        .iter()
        .flat_map(|feed| refused(feed).map(|(because, count)| ([feed.name.as_str(), because], count)));
    out.many(&names::FEED_REFUSED, refused);
    let mut each = |metric: &Metric, value: fn(&FeedView) -> u64| {
        out.many(metric, feeds.iter().map(|feed| ([feed.name.as_str()], value(feed))));
    };
    each(&names::FEED_HELD, |feed| u64::from(feed.held.is_some()));
    each(&names::FEED_FAILURES, |feed| feed.failures);
}

fn surroundings(out: &mut Text, snapshot: &Snapshot) {
    feeds(out, &snapshot.feeds);
    let super::NameCount { current, kept, unknown, failures } = snapshot.names;
    let states = [(["current"], current), (["kept"], kept), (["unknown"], unknown)];
    out.many(&names::ALLOWED_NAMES, states.into_iter());
    out.plain(&names::NAME_FAILURES, failures);
    out.plain(&names::STORE_QUEUED, snapshot.store.queued);
    out.plain(&names::STORE_FAILURES, snapshot.store.failures);
    out.plain(&names::STORE_LOST, snapshot.store.lost);
    out.plain(&names::API_REQUESTS, snapshot.api.requests);
    let refused = [
        (["denied"], snapshot.api.refused),
        (["malformed"], snapshot.api.malformed),
        (["too_many"], snapshot.api.turned_away),
    ];
    out.many(&names::API_REFUSED, refused.into_iter());
}

fn process(out: &mut Text, process: &Process) {
    out.real(&names::CPU, process.cpu_seconds);
    out.plain(&names::RESIDENT, process.resident_bytes);
    out.plain(&names::OPEN_FDS, process.open_fds);
    out.real(&names::STARTED, process.started);
}

/// The text while it is written.
struct Text(String);

impl Text {
    fn head(&mut self, metric: &Metric) {
        let Metric { name, kind, help, .. } = metric;
        self.0.extend(["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind.name(), "\n"]);
    }

    fn plain(&mut self, metric: &Metric, value: u64) {
        self.one(metric, &[], value);
    }

    fn one(&mut self, metric: &Metric, labels: &[&str], value: u64) {
        self.head(metric);
        self.sample(metric.name, metric.labels, labels, &value.to_string());
    }

    fn real(&mut self, metric: &Metric, value: f64) {
        self.head(metric);
        self.sample(metric.name, &[], &[], &value.to_string());
    }

    fn many<'a, const N: usize>(
        &mut self,
        metric: &Metric,
        samples: impl Iterator<Item = ([&'a str; N], impl ToString)>,
    ) {
        self.head(metric);
        for (labels, value) in samples {
            self.sample(metric.name, metric.labels, &labels, &value.to_string());
        }
    }

    fn histogram(&mut self, metric: &Metric, seen: &Distribution) {
        self.head(metric);
        let bucket = format!("{}_bucket", metric.name);
        let mut below = 0;
        for (index, count) in seen.buckets.iter().enumerate() {
            below += count;
            let bound = BOUNDS.get(index).map_or("+Inf".into(), |us| (*us as f64 / 1e6).to_string());
            self.sample(&bucket, &["le"], &[&bound], &below.to_string());
        }
        self.sample(&format!("{}_sum", metric.name), &[], &[], &seen.sum.as_secs_f64().to_string());
        self.sample(&format!("{}_count", metric.name), &[], &[], &seen.count().to_string());
    }

    fn sample(&mut self, name: &str, keys: &[&str], values: &[&str], value: &str) {
        debug_assert_eq!(keys.len(), values.len(), "{name}");
        self.0.push_str(name);
        for (index, (key, label)) in keys.iter().zip(values).enumerate() {
            let before = if index == 0 { "{" } else { "," };
            self.0.extend([before, key, "=\"", &escaped(label), "\""]);
        }
        if !keys.is_empty() {
            self.0.push('}');
        }
        self.0.extend([" ", value, "\n"]);
    }
}

/// A label's value: the three characters the format reserves are escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
