//! Another set of filters: what was decided and seen under the old one keeps its names.

use std::collections::HashMap;
use std::sync::Arc;

use super::Judge;
use crate::scan::FilterSet;
use crate::sighting::PatternId;

/// The number that no filter and no pattern has.
const NONE: u16 = u16::MAX;

impl Judge {
    /// Names filters and patterns by another set from now on. The lines that are kept as evidence, and orders that wait,
    /// get the numbers their patterns have in it; what it does not have is unknown.
    pub fn set_filters(&mut self, filters: Arc<FilterSet>) {
        self.engine.set_login_filters(filters.reads_logins());
        let old = std::mem::replace(&mut self.filters, filters);
        let mut known = HashMap::new();
        let renumbered = |id| {
            let (filter, text) = name_of(id, &old);
            numbered(filter, text, &self.filters)
        };
        self.engine.renumber(|id| *known.entry(id).or_insert_with(|| renumbered(id)));
    }

    /// The filter and the text of a pattern, by which another set of filters knows it.
    pub(super) fn name_of(&self, id: PatternId) -> (&str, &str) {
        name_of(id, &self.filters)
    }
}

/// The filter and the text of a pattern; empty if there is no such filter.
fn name_of(id: PatternId, filters: &FilterSet) -> (&str, &str) {
    let filter = filters.names().nth(id.filter.into()).unwrap_or_default();
    (filter, filters.pattern_text(id))
}

/// The number that a set of filters has for the pattern of this text in the filter of this name. What it does not have is
/// unknown.
pub(super) fn numbered(filter: &str, text: &str, filters: &FilterSet) -> PatternId {
    let Some(filter) = filters.names().position(|known| known == filter) else {
        return PatternId { filter: NONE, pattern: NONE };
    };
    let filter = filter as u16;
    let all = (0..NONE).map(|pattern| PatternId { filter, pattern });
    let mut all = all.take_while(|id| !filters.pattern_text(*id).is_empty());
    all.find(|id| filters.pattern_text(*id) == text).unwrap_or(PatternId { filter, pattern: NONE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::judge::Voucher;
    use crate::protect::Protection;
    use crate::scan::{FilterFile, Mode};
    use crate::sighting::{Kind, Points, Sighting, SourceId};
    use crate::store::{Snapshot, Write};
    use crate::time::{Clock, Moment, Wall};

    fn set(filters: &[(&str, &[&str])]) -> FilterSet {
        let file = |(name, patterns): &(&str, &[&str])| {
            let pattern = |text| format!("[[pattern]]\nkind = \"failed-auth\"\ntext = '{text} <address>'\n");
            let patterns: Vec<String> = patterns.iter().map(pattern).collect();
            let text = format!("identifiers = [\"{name}\"]\n{}", patterns.concat());
            let path = format!("{name}.toml").into();
            FilterFile { name: (*name).to_owned(), path, text, shipped: false }
        };
        FilterSet::compile(&filters.iter().map(file).collect::<Vec<_>>(), Mode::Normal).unwrap()
    }

    #[test]
    fn patterns_keep_their_names() {
        let old = set(&[("a", &["refused"]), ("b", &["denied", "blocked", "rejected"])]);
        let new = set(&[("b", &["new", "rejected", "denied"]), ("c", &["x"])]);
        let number =
            |set: &FilterSet, name: &str| set.names().position(|known| known == name).unwrap() as u16;
        let renumbered = |id| {
            let (filter, text) = name_of(id, &old);
            numbered(filter, text, &new)
        };
        let told = |name: &str, pattern| {
            let id = renumbered(PatternId { filter: number(&old, name), pattern });
            (new.filter_name(id.filter).to_owned(), new.pattern_text(id).to_owned())
        };
        let are = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(told("a", 0), are("unknown", ""));
        assert_eq!(told("b", 0), are("b", "denied <address>"));
        assert_eq!(told("b", 1), are("b", ""));
        assert_eq!(told("b", 2), are("b", "rejected <address>"));
        let gone = PatternId { filter: NONE, pattern: NONE };
        assert_eq!(renumbered(gone), gone, "what is unknown stays so");
    }

    #[test]
    fn an_order_that_waits_keeps_its_pattern_over_a_start_with_other_filters() {
        let mut config = Config::default();
        let decide = &mut config.decide;
        (decide.jitter_permille, decide.prefix_hosts, decide.storm_bans) = (0, 2, 4);
        let mut clock = Clock { wall: Wall(1_800_000_000_000), moment: Moment(1_000_000) };
        let start = |filters: FilterSet, snapshot: &Snapshot, clock| {
            let protection = Protection::new(&config.allow, clock);
            Judge::new(&config, Arc::new(filters), protection, snapshot, 7, clock)
        };
        let mut judge = start(set(&[("b", &["denied", "blocked"])]), &Snapshot::default(), clock);
        let pattern = PatternId { filter: 0, pattern: 1 };
        // Four bans are a storm; two hosts of a /24 wait for its end.
        for third in [1, 2, 3, 4, 5, 5] {
            for pid in 0..10 {
                clock.moment.0 += 1000;
                clock.wall.0 += 1000;
                let address = std::net::Ipv4Addr::new(9, 9, third, (clock.moment.0 / 10_000 % 250) as u8);
                let sighting = Sighting {
                    at: None,
                    address: address.into(),
                    kind: Kind::FailedPassword,
                    points: Points(1000),
                    pattern,
                    pid,
                    port: 0,
                    account: None,
                    service: b"b",
                    request: None,
                    line: b"a line",
                };
                judge.sighting(&sighting, SourceId(0), Voucher::Kernel, clock);
            }
        }
        assert_eq!(judge.count().held, 1);
        judge.keep_recalled(clock);
        let mut writes = judge.outcome().writes.drain(..);
        let engine = writes.find_map(|write| if let Write::Engine(kept) = write { Some(kept) } else { None });
        let snapshot = Snapshot { engine: engine.map(Into::into), ..Snapshot::default() };

        let mut judge = start(set(&[("a", &["x"]), ("b", &["new", "denied", "blocked"])]), &snapshot, clock);
        clock.moment.0 += 86_400_000;
        judge.expire(clock);
        let writes = &judge.outcome().writes;
        let bans = writes
            .iter()
            .filter_map(|write| if let Write::Event(event) = write { Some(event) } else { None });
        let details: Vec<&str> =
            bans.filter(|event| event.kind == "ban").map(|event| &*event.detail).collect();
        assert_eq!(details.len(), 1, "{details:?}");
        assert!(
            details[0].contains("\"filter\":\"b\"") && details[0].contains("blocked <address>"),
            "{details:?}"
        );
    }
}
