//! What Prometheus is told.

use crate::metrics::{Snapshot, SourceCount, StoreCount};
use crate::source::SourceStatus;
use crate::time::Moment;

use super::control::Control;
use super::restore::Restore;

impl Control {
    /// Everything that is exported, now.
    pub(super) fn snapshot(&mut self) -> Snapshot {
        let store = self.writer.status();
        let (mut active_ipv4, mut active_ipv6) = (0, 0);
        for (_, active) in self.judge.bans().counts() {
            active_ipv4 += active.ipv4;
            active_ipv6 += active.ipv6;
        }
        let enforcer = self.enforcer.status();
        let judged = self.judge.count();
        Snapshot {
            version: env!("CARGO_PKG_VERSION").into(),
            problems: self.all_problems(&enforcer).len() as u64,
            restored: self.restore == Restore::Done,
            sources: self.shown_sources().map(|source| self.source_count(source)).collect(),
            sightings: self
                .sightings
                .all(&self.filters)
                .into_iter()
                .map(|((filter, kind), count)| (filter, kind, count))
                .collect(),
            engine: self.judge.engine().count(),
            tracked: self.judge.engine().tracked(),
            bans: judged.bans_by_rule.iter().map(|(rule, count)| (rule.clone(), *count)).collect(),
            rules: self.judge.rules().counts(),
            commands: self.commands.count(),
            webhooks: self.webhooks.count(),
            bans_refused: judged.refused,
            bans_evicted: judged.evicted,
            incidents: judged.incidents.iter().map(|(name, count)| (*name, *count)).collect(),
            storms: judged.storms,
            is_storm: self.judge.engine().next_tick().is_some(),
            held: judged.held,
            active_ipv4,
            active_ipv6,
            enforcer,
            enforcer_errors: self.count.update_errors,
            counters: self.enforcer.counters().unwrap_or_default(),
            drift: self.count.drift,
            line_to_kernel: self.count.line_to_kernel.distribution(),
            feeds: self.feed_views(),
            names: self.name_count(),
            store: StoreCount { queued: store.queued, failures: store.failures, lost: store.lost_events },
            api: (&*self.api).into(),
        }
    }

    fn source_count(&self, source: &SourceStatus) -> SourceCount {
        let told = self.health.told(&source.name, Moment::now());
        SourceCount {
            name: source.name.clone(),
            read: self.count.read.get(&source.name).copied().unwrap_or_default(),
            healthy: source.healthy,
            behind: source.behind,
            silent_seconds: told.silent_seconds,
            unmatched: told.unmatched,
            faults: told.faults,
        }
    }
}
