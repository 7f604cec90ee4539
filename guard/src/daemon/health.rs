//! Sources against their own past: what is wrong with one becomes a problem and an event.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracing::{info, warn};

use crate::sighting::SourceId;
use crate::source::health::{Fault, Health, MOST_BYTES, MOST_ENTRIES};
use crate::source::{Batch, SourceStatus, journald};
use crate::time::Moment;

use super::control::Control;
use super::problems::Problems;

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

    /// Sets what is wrong with sources as problems, and forgets those that are not read any more. Answers the events
    /// of what has begun or ended.
    fn look(
        &mut self,
        sources: &HashMap<SourceId, SourceStatus>,
        problems: &mut Problems,
        now: Moment,
    ) -> Vec<Value> {
        let mut events = Vec::new();
        self.known.retain(|name, known| {
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
        events
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
        for detail in self.health.look(&self.sources, &mut self.problems, Moment::now()) {
            self.event("source", None, &detail);
        }
    }
}

fn topic(source: &str) -> String {
    format!("source {source}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ReadCount;

    const LOG: &str = "/var/log/auth.log";
    const MINUTE: i64 = 60_000;

    /// One source that has a line every minute.
    struct Scene {
        health: SourceHealth,
        sources: HashMap<SourceId, SourceStatus>,
        problems: Problems,
        now: i64,
    }

    impl Scene {
        /// After two hours.
        fn new() -> Self {
            let mut scene = Self {
                health: SourceHealth::new(),
                sources: HashMap::new(),
                problems: Problems::default(),
                now: 0,
            };
            scene.read_by(SourceId(1));
            for _ in 0..120 {
                assert_eq!(scene.line(), [] as [Value; 0]);
            }
            scene
        }

        fn read_by(&mut self, id: SourceId) {
            let status = SourceStatus { name: LOG.into(), state: "reading".into(), healthy: true, behind: 0 };
            self.sources = HashMap::from([(id, status)]);
        }

        fn line(&mut self) -> Vec<Value> {
            let events = self.pass(1);
            let read = ReadCount { lines: 1, known: 1, matched: 1, ..ReadCount::default() };
            self.health.of(LOG, Moment(self.now)).read(&read, Moment(self.now));
            [events, self.look()].concat()
        }

        fn look(&mut self) -> Vec<Value> {
            self.health.look(&self.sources, &mut self.problems, Moment(self.now))
        }

        fn pass(&mut self, minutes: i64) -> Vec<Value> {
            let each = (0..minutes).flat_map(|_| {
                self.now += MINUTE;
                self.look()
            });
            each.collect()
        }

        fn is_silent(&self) -> bool {
            let told = self.health.told(LOG, Moment(self.now)).faults[0];
            let problems = self.problems.list();
            assert_eq!(
                told,
                problems.iter().any(|text| text.starts_with(&format!("{LOG}: silent"))),
                "{problems:?}"
            );
            told
        }
    }

    #[test]
    fn a_silent_source_is_told_of_once_until_it_speaks() {
        let mut scene = Scene::new();
        assert!(!scene.is_silent());
        let events = scene.pass(60);
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!((&events[0]["source"], &events[0]["fault"]), (&LOG.into(), &"silent".into()));
        assert!(scene.is_silent());
        assert!(scene.health.told(LOG, Moment(scene.now)).silent_seconds >= 3600);

        assert_eq!(scene.line(), [json!({ "source": LOG, "fault": "silent", "over": true })]);
        assert!(!scene.is_silent());
        assert_eq!(scene.problems.list(), [] as [String; 0]);
    }

    #[test]
    fn a_source_that_cannot_be_read_is_not_told_of_twice() {
        let mut scene = Scene::new();
        for status in scene.sources.values_mut() {
            status.healthy = false;
        }
        assert_eq!(scene.pass(60), [] as [Value; 0]);
        assert!(!scene.is_silent());
    }

    #[test]
    fn what_is_known_outlives_a_reload_and_not_the_source() {
        let mut scene = Scene::new();
        scene.read_by(SourceId(2));
        assert_eq!(scene.pass(60).len(), 1, "its past is that of the same file");
        scene.read_by(SourceId(3));
        assert_eq!(scene.look(), [] as [Value; 0], "and what was told is not told again");
        assert!(scene.is_silent());

        scene.sources.clear();
        assert_eq!(scene.look(), [] as [Value; 0]);
        assert!(!scene.is_silent());
        scene.read_by(SourceId(4));
        assert_eq!(scene.pass(60), [] as [Value; 0], "it begins anew");
    }
}
