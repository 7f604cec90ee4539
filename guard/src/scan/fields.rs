//! Patterns over the fields of a record, compiled to a dispatch on what the fields hold.
//!
//! A pattern names several fields; one of them, its key, is what the fewest records have: the field whose forms hold
//! the longest literals. The keys of all patterns are looked at once for a record, each by one walk through the tree of
//! the literals its forms begin with and one search for the literals they hold, so a record costs the number of
//! different keys, not of patterns. Only then are the other fields of the few patterns that are left compared.

use std::sync::{Arc, OnceLock};

use aho_corasick::AhoCorasick;

use super::dispatch::Start;
use super::filter::{FilterError, Format, Pattern};
use super::messages::refuse_two_readings;
use super::pattern::{Ending, Form, Found, Fronts};
use super::record::Fields;
use super::set::{Hit, Use};
use super::shape::{FieldForms, Shape};
use crate::sighting::PatternId;

/// Forms of one field that begin with free text.
const MAX_HOLDING: usize = 1024;

/// The patterns over fields of one format.
#[derive(Debug)]
pub(super) struct RecordPatterns {
    pub(super) format: Format,
    /// The fields that patterns name.
    pub(super) fields: Fields,
    hits: Vec<Hit>,
    /// Made for the first record.
    compiled: OnceLock<Compiled>,
}

/// What finds the patterns that a record can be.
#[derive(Debug, Default)]
struct Compiled {
    candidates: Vec<Candidate>,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Candidate {
    hit: Hit,
    /// Fields other than the key, the address last: most records fail before it is read.
    rest: Box<[(usize, Arc<Fronts<()>>)]>,
}

/// The forms that one field can have as the key of a pattern, each with the number of its candidate.
#[derive(Debug)]
struct Key {
    field: usize,
    fronts: Fronts<usize>,
    /// Forms that begin with free text, and the literals they hold; none if there are no such forms.
    holding: Option<(AhoCorasick, Vec<(Ending, usize)>)>,
}

/// The forms that fields other than keys can have. Most patterns have the same for the address.
#[derive(Debug, Default)]
struct Known(Vec<(Vec<Form>, Arc<Fronts<()>>)>);

/// The best pattern so far.
struct Best<'a> {
    found: Option<(Hit, Found<'a>)>,
}

/// Patterns over fields, by what they say. Many programs write records that the same filters read.
#[derive(Debug, Default)]
pub(super) struct KnownPatterns(Vec<Arc<RecordPatterns>>);

impl RecordPatterns {
    /// The patterns over fields that are in use, for each format.
    pub(super) fn of_each_format(
        usage: &Use<'_>,
        known: &mut KnownPatterns,
    ) -> Result<Vec<Arc<Self>>, FilterError> {
        let mut all = Vec::new();
        for format in Format::ALL {
            let of_format = |(_, hit): &(&Pattern, Hit)| usage.format(hit.pattern) == Some(format);
            let fields = |(pattern, hit)| Some((named(pattern)?, pattern, hit));
            let patterns: Vec<_> = usage.patterns().filter(of_format).filter_map(fields).collect();
            if patterns.is_empty() {
                continue;
            }
            let hits: Vec<Hit> = patterns.iter().map(|(_, _, hit)| *hit).collect();
            let one = if let Some(one) = known.0.iter().find(|known| known.hits == hits) {
                Arc::clone(one)
            } else {
                let mut names: Vec<&str> = patterns.iter().flat_map(|(names, _, _)| names.clone()).collect();
                names.sort_unstable();
                names.dedup();
                let one = Arc::new(Self::new(usage, format, &names, hits)?);
                known.0.push(Arc::clone(&one));
                one
            };
            if !usage.is_known() {
                let forms =
                    patterns.iter().map(|(_, pattern, hit)| Ok((usage.field_forms(pattern, *hit)?, *hit)));
                one.prove(usage, &forms.collect::<Result<Vec<_>, _>>()?)?;
            }
            all.push(one);
        }
        Ok(all)
    }

    /// Patterns that say this and name these fields, in order.
    fn new(usage: &Use<'_>, format: Format, names: &[&str], hits: Vec<Hit>) -> Result<Self, FilterError> {
        let mut fields = Fields::default();
        for name in names {
            let known = format.names().is_none_or(|mut known| known.any(|known| known == *name));
            if !known || fields.id(name).is_none() {
                return Err(usage.no_field(format, name));
            }
        }
        Ok(Self { format, fields, hits, compiled: OnceLock::new() })
    }

    /// Refuses patterns that are not good together, and compiles those that are.
    fn prove(&self, usage: &Use<'_>, patterns: &[(Vec<FieldForms>, Hit)]) -> Result<(), FilterError> {
        refuse_clashes(usage, patterns)?;
        if self.compiled.get().is_none() {
            let compiled = Compiled::new(patterns).ok_or_else(|| usage.too_large())?;
            // Nobody else has these patterns yet.
            let _ = self.compiled.set(compiled);
        }
        Ok(())
    }

    /// Reads a record, whose fields `value` answers by number; `pattern` answers patterns by theirs. Of several that fit,
    /// the one that gives the most points is taken; among equals the first.
    pub(super) fn read<'a, 'p>(
        &self,
        pattern: impl Fn(PatternId) -> &'p Pattern,
        value: impl Fn(usize) -> Option<&'a [u8]>,
        found: &mut Found<'a>,
    ) -> Option<Hit> {
        let compiled = self.compiled.get_or_init(|| {
            // They were good when guard was tested, or when the filters were loaded.
            let forms = |hit: &Hit| (pattern(hit.pattern).field_forms().unwrap_or_default(), *hit);
            Compiled::new(&self.hits.iter().map(forms).collect::<Vec<_>>()).unwrap_or_default()
        });
        compiled.read(value, found)
    }
}

impl Compiled {
    /// `None` if there are more forms than can be told apart.
    fn new(patterns: &[(Vec<FieldForms>, Hit)]) -> Option<Self> {
        let names = names(patterns);
        let number =
            |field: &FieldForms| names.iter().position(|name| *name == field.name).unwrap_or_default();
        let mut candidates = Vec::with_capacity(patterns.len());
        let mut keyed: Vec<Vec<(&Form, usize)>> = names.iter().map(|_| Vec::new()).collect();
        let mut known = Known::default();
        for (fields, hit) in patterns {
            let Some(key) = fields.iter().max_by_key(|field| rarity(field)) else { continue };
            let candidate = candidates.len();
            keyed[number(key)].extend(key.forms.iter().map(|form| (form, candidate)));
            let mut rest: Vec<&FieldForms> = fields.iter().filter(|field| field.name != key.name).collect();
            rest.sort_by_key(|field| field.forms[0].has_address());
            let rest = rest.into_iter().map(|field| Some((number(field), known.fronts(&field.forms)?)));
            candidates.push(Candidate { hit: *hit, rest: rest.collect::<Option<_>>()? });
        }
        let mut keys = Vec::new();
        for (field, forms) in keyed.into_iter().enumerate() {
            if !forms.is_empty() {
                keys.push(Key::new(field, &forms)?);
            }
        }
        Some(Self { candidates, keys })
    }

    fn read<'a>(&self, value: impl Fn(usize) -> Option<&'a [u8]>, found: &mut Found<'a>) -> Option<Hit> {
        let mut best = Best { found: None };
        for key in &self.keys {
            let Some(text) = value(key.field) else { continue };
            key.each(text, |candidate, found| self.consider(candidate, *found, &value, &mut best));
        }
        let (hit, its) = best.found?;
        *found = its;
        Some(hit)
    }

    /// Takes up a pattern of whose key this was found, if its other fields fit and none better is known.
    fn consider<'a>(
        &self,
        candidate: usize,
        mut found: Found<'a>,
        value: &impl Fn(usize) -> Option<&'a [u8]>,
        best: &mut Best<'a>,
    ) {
        let candidate = &self.candidates[candidate];
        let hit = candidate.hit;
        let worse = |known: Hit| {
            (known.points, std::cmp::Reverse(known.pattern)) >= (hit.points, std::cmp::Reverse(hit.pattern))
        };
        if best.found.is_some_and(|(known, _)| worse(known)) {
            return;
        }
        for (field, forms) in &candidate.rest {
            let Some(text) = value(*field) else { return };
            if forms.read(Start::default(), text, &mut found, |(), _| Some(())).is_none() {
                return;
            }
        }
        best.found = Some((hit, found));
    }
}

/// The fields that a pattern names, if it looks at fields.
fn named(pattern: &Pattern) -> Option<Vec<&str>> {
    match &pattern.shape {
        Shape::Message => None,
        Shape::Record(fields) => Some(fields.keys().map(String::as_str).collect()),
    }
}

/// The fields that patterns name, in order.
fn names(patterns: &[(Vec<FieldForms>, Hit)]) -> Vec<&str> {
    let fields = patterns.iter().flat_map(|(fields, _)| fields);
    let mut names: Vec<&str> = fields.map(|field| field.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn refuse_clashes(usage: &Use<'_>, patterns: &[(Vec<FieldForms>, Hit)]) -> Result<(), FilterError> {
    for name in names(patterns) {
        let mut forms: Vec<(&Form, Hit)> = Vec::new();
        for (fields, hit) in patterns {
            let field = fields.iter().find(|field| field.name == name);
            let with_address = field.iter().flat_map(|field| &field.forms).filter(|form| form.has_address());
            forms.extend(with_address.map(|form| (form, *hit)));
        }
        forms.sort_by(|a, b| a.0.head().cmp(b.0.head()));
        refuse_two_readings(usage, &forms)?;
    }
    Ok(())
}

impl Known {
    fn fronts(&mut self, forms: &[Form]) -> Option<Arc<Fronts<()>>> {
        if let Some((_, known)) = self.0.iter().find(|(known, _)| known == forms) {
            return Some(Arc::clone(known));
        }
        let fronts = Arc::new(Fronts::new(&forms.iter().map(|form| (form, ())).collect::<Vec<_>>(), &[])?);
        self.0.push((forms.to_vec(), Arc::clone(&fronts)));
        Some(fronts)
    }
}

/// How rare the values of a field are that a pattern wants: bytes of literal that each of them has at least.
fn rarity(field: &FieldForms) -> (bool, usize) {
    let literal = |form: &Form| form.head().len().max(form.needle().len());
    let least = field.forms.iter().map(literal).min().unwrap_or_default();
    (!field.forms[0].has_address(), least)
}

impl Key {
    fn new(field: usize, forms: &[(&Form, usize)]) -> Option<Self> {
        let is_held = |(form, _): &(&Form, usize)| form.is_frontless() && !form.needle().is_empty();
        let (holding, with_front): (Vec<_>, Vec<_>) = forms.iter().copied().partition(is_held);
        if holding.len() > MAX_HOLDING {
            return None;
        }
        let fronts = Fronts::new(&with_front, &[])?;
        if holding.is_empty() {
            return Some(Self { field, fronts, holding: None });
        }
        let needles = AhoCorasick::new(holding.iter().map(|(form, _)| form.needle())).ok()?;
        let holding = holding.into_iter().map(|(form, candidate)| (form.ending(), candidate));
        Some(Self { field, fronts, holding: Some((needles, holding.collect())) })
    }

    /// Calls `each` for every form that a text has, with what was found in it.
    fn each<'a>(&self, text: &'a [u8], mut each: impl FnMut(usize, &Found<'a>)) {
        self.fronts.read(Start::default(), text, &mut Found::default(), |candidate, found| {
            each(candidate, found);
            None::<()>
        });
        let Some((needles, holding)) = &self.holding else { return };
        // However often a literal stands in a text: its form is read once.
        let mut seen = [0u64; MAX_HOLDING / 64];
        for needle in needles.find_overlapping_iter(text) {
            let number = needle.pattern().as_usize();
            if seen[number / 64] >> (number % 64) & 1 == 0 {
                seen[number / 64] |= 1 << (number % 64);
                let (form, candidate) = &holding[number];
                let mut found = Found::default();
                if form.read(text, &mut found) {
                    each(*candidate, &found);
                }
            }
        }
    }
}
