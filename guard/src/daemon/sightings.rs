//! Sightings by filter and kind. They are counted by the number a filter has in the set in use, which another set may give
//! to another filter: so they are moved to the filter's name before the set is exchanged.

use std::collections::HashMap;

use crate::scan::FilterSet;
use crate::sighting::Kind;

/// How many sightings there were.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    /// By the number of the filter in the set in use.
    by_number: HashMap<(u16, Kind), u64>,
    /// Those of sets that are in use no more.
    by_name: HashMap<(String, Kind), u64>,
}

impl Sightings {
    /// One more by the filter of a number.
    pub(super) fn add(&mut self, filter: u16, kind: Kind) {
        *self.by_number.entry((filter, kind)).or_default() += 1;
    }

    /// The numbers were those of this set, and are those of another one from now on.
    pub(super) fn leave(&mut self, filters: &FilterSet) {
        self.by_name = self.all(filters);
        self.by_number.clear();
    }

    /// All of them, by the name of the filter; the numbers are those of this set.
    pub(super) fn all(&self, filters: &FilterSet) -> HashMap<(String, Kind), u64> {
        let mut all = self.by_name.clone();
        for ((filter, kind), count) in &self.by_number {
            *all.entry((filters.filter_name(*filter).to_owned(), *kind)).or_default() += count;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{FilterFile, Mode};

    #[test]
    fn they_stay_with_their_filter_whatever_its_number() {
        let set = |names: &[&str]| {
            let file = |name: &&str| FilterFile {
                name: (*name).to_owned(),
                path: format!("{name}.toml").into(),
                text: format!(
                    "identifiers = [\"{name}\"]\n[[pattern]]\nkind = \"failed-auth\"\ntext = 'refused <address>'\n"
                ),
                shipped: false,
            };
            FilterSet::compile(&names.iter().map(file).collect::<Vec<_>>(), Mode::Normal).unwrap()
        };
        let (before, after) = (set(&["one", "two"]), set(&["new", "two"]));
        let mut sightings = Sightings::default();
        let number = |set: &FilterSet, name| set.names().position(|known| known == name).unwrap() as u16;
        let kind = Kind::KeyLogin;
        sightings.add(number(&before, "one"), kind);
        sightings.add(number(&before, "two"), kind);
        sightings.leave(&before);
        sightings.add(number(&after, "two"), kind);
        sightings.add(number(&after, "new"), kind);
        let count = |name: &str| sightings.all(&after).get(&(name.to_owned(), kind)).copied();
        assert_eq!([count("one"), count("two"), count("new")], [Some(1), Some(2), Some(1)]);
    }
}
