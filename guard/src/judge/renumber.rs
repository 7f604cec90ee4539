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
        self.engine.renumber(|id| *known.entry(id).or_insert_with(|| renumbered(id, &old, &self.filters)));
    }
}

/// The number of a pattern in another set: of the same filter, the pattern of the same text.
fn renumbered(id: PatternId, old: &FilterSet, new: &FilterSet) -> PatternId {
    let is_it =
        |name: &str| usize::from(id.filter) < old.names().count() && name == old.filter_name(id.filter);
    let Some(filter) = new.names().position(is_it) else {
        return PatternId { filter: NONE, pattern: NONE };
    };
    let filter = filter as u16;
    let text = old.pattern_text(id);
    let all = (0..NONE).map(|pattern| PatternId { filter, pattern });
    let mut all = all.take_while(|id| !new.pattern_text(*id).is_empty());
    all.find(|id| new.pattern_text(*id) == text).unwrap_or(PatternId { filter, pattern: NONE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{FilterFile, Mode};

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
        let told = |name: &str, pattern| {
            let id = renumbered(PatternId { filter: number(&old, name), pattern }, &old, &new);
            (new.filter_name(id.filter).to_owned(), new.pattern_text(id).to_owned())
        };
        let are = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(told("a", 0), are("unknown", ""));
        assert_eq!(told("b", 0), are("b", "denied <address>"));
        assert_eq!(told("b", 1), are("b", ""));
        assert_eq!(told("b", 2), are("b", "rejected <address>"));
        let gone = PatternId { filter: NONE, pattern: NONE };
        assert_eq!(renumbered(gone, &old, &new), gone, "what is unknown stays so");
    }
}
