//! Sources against their own past: what is wrong with one becomes a problem and an event.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use tracing::{info, warn};

use crate::sighting::SourceId;
use crate::source::health::{Fault, Health, MOST_BYTES, MOST_ENTRIES};
use crate::source::{Batch, journald};
use crate::time::Moment;

use super::control::Control;

/// How often all sources are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// What is known of the sources, by name: it outlives a reload.
pub(super) struct SourceHealth {
    next: Instant,
    known: BTreeMap<String, Known>,
}

struct Known {
    health: Health,
    faults: Vec<Fault>,
}

/// What metrics tell of a source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) silent_seconds: u64,
    pub(super) unmatched: f64,
    /// Whether each of [`Fault::NAMES`] is there.
    pub(super) faults: [bool; Fault::NAMES.len()],
}

impl SourceHealth {
    pub(super) fn new() -> Self {
        Self { next: Instant::now(), known: BTreeMap::new() }
    }

    fn of(&mut self, name: &str, now: Moment) -> &mut Health {
        let most = if name == journald::NAME { MOST_ENTRIES } else { MOST_BYTES };
        let new = || Known { health: Health::new(now, most), faults: Vec::new() };
        &mut self.known.entry(name.to_owned()).or_insert_with(new).health
    }

    /// What metrics tell of a source.
    pub(super) fn told(&self, name: &str, now: Moment) -> Told {
        let Some(Known { health, faults }) = self.known.get(name) else { return Told::default() };
        Told {
            silent_seconds: health.silence(now).as_secs(),
            unmatched: health.unmatched(),
            faults: Fault::NAMES.map(|name| faults.iter().any(|fault| fault.name() == name)),
        }
    }
}

impl Control {
    /// A source has been read.
    pub(super) fn learn_health(&mut self, batch: &Batch, now: Moment) {
        if let Some(status) = self.sources.get(&batch.source) {
            self.health.of(&status.name, now).read(&batch.read, now);
        }
    }

    /// A source says how far behind it is.
    pub(super) fn learn_lag(&mut self, id: SourceId) {
        if let Some(status) = self.sources.get(&id) {
            let now = Moment::now();
            self.health.of(&status.name, now).lags(status.behind, now);
        }
    }

    /// Looks from time to time whether all sources do as they usually do.
    pub(super) fn keep_health(&mut self, now: Instant) {
        if now < self.health.next {
            return;
        }
        self.health.next = now + LOOK;
        self.look_at_sources(Moment::now());
    }

    fn look_at_sources(&mut self, now: Moment) {
        let mut events = Vec::new();
        let (sources, problems) = (&self.sources, &mut self.problems);
        self.health.known.retain(|name, known| {
            let Some(status) = sources.values().find(|status| status.name == *name) else {
                problems.clear(&topic(name));
                return false;
            };
            let mut faults = known.health.faults(now);
            // Why no line comes from a source that cannot be read is told already.
            faults.retain(|fault| status.healthy || !matches!(fault, Fault::Silent { .. }));
            let of_kind = |among: &[Fault], one: &Fault| among.iter().any(|fault| fault.name() == one.name());
            for fault in faults.iter().filter(|fault| !of_kind(&known.faults, fault)) {
                warn!(source = name, fault = fault.name(), "{fault}");
                events.push(json!({ "source": name, "fault": fault.name(), "because": fault.to_string() }));
            }
            for fault in known.faults.iter().filter(|fault| !of_kind(&faults, fault)) {
                info!(source = name, fault = fault.name(), "the source is well again");
                events.push(json!({ "source": name, "fault": fault.name(), "over": true }));
            }
            problems.replace(&topic(name), faults.iter().map(|fault| format!("{name}: {fault}")).collect());
            known.faults = faults;
            true
        });
        for detail in events {
            self.event("source", None, &detail);
        }
    }
}

fn topic(source: &str) -> String {
    format!("source {source}")
}
