//! Patterns over the fields of a record, compiled to a dispatch on what the fields hold.
//!
//! A pattern names several fields; one of them, its key, is what the fewest records have: the field whose forms hold
//! the longest literals. The keys of all patterns are looked at once for a record, each by one walk through the tree of
//! the literals its forms begin with and one search for the literals they hold, so a record costs the number of
//! different keys, not of patterns. Only then are the other fields of the few patterns that are left compared.

use aho_corasick::AhoCorasick;

use super::dispatch::Heads;
use super::filter::{FieldForms, FilterError, Format, Shape};
use super::messages::refuse_two_readings;
use super::pattern::{Form, Found};
use super::record::Fields;
use super::set::{Hit, Use};

/// Forms of one field that begin with free text.
const MAX_HOLDING: usize = 1024;

/// The patterns over fields of one format.
#[derive(Debug)]
pub(super) struct RecordPatterns {
    pub(super) format: Format,
    /// The fields that patterns name.
    pub(super) fields: Fields,
    candidates: Vec<Candidate>,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Candidate {
    hit: Hit,
    /// Fields other than the key, the address last: most records fail before it is read.
    rest: Box<[(usize, Box<[Form]>)]>,
}

/// The forms that one field can have as the key of a pattern.
#[derive(Debug)]
struct Key {
    field: usize,
    /// Sorted by head.
    forms: Vec<KeyForm>,
    heads: Heads,
    /// Literals of forms that begin with free text, by number of the form.
    needles: AhoCorasick,
    holding: Vec<KeyForm>,
    /// Forms with no literal at all.
    others: Vec<KeyForm>,
}

#[derive(Debug)]
struct KeyForm {
    form: Form,
    candidate: usize,
}

/// The best pattern so far.
struct Best<'a> {
    found: Option<(Hit, Found<'a>)>,
}

impl RecordPatterns {
    /// The patterns over fields that are in use, for each format.
    pub(super) fn of_each_format(usage: &Use<'_>) -> Result<Vec<Self>, FilterError> {
        let mut all = Vec::new();
        for format in Format::ALL {
            let patterns: Vec<(&[FieldForms], Hit)> = usage
                .patterns()
                .filter(|(_, hit)| usage.format(hit.pattern) == Some(format))
                .filter_map(|(pattern, hit)| match &pattern.shape {
                    Shape::Record(fields) => Some((&fields[..], hit)),
                    Shape::Message(_) => None,
                })
                .collect();
            if !patterns.is_empty() {
                all.push(Self::new(usage, format, &patterns)?);
            }
        }
        Ok(all)
    }

    fn new(usage: &Use<'_>, format: Format, patterns: &[(&[FieldForms], Hit)]) -> Result<Self, FilterError> {
        let mut names: Vec<String> =
            patterns.iter().flat_map(|(fields, _)| fields.iter().map(|field| field.name.clone())).collect();
        names.sort_unstable();
        names.dedup();
        for name in &names {
            let mut forms: Vec<(&Form, Hit)> = Vec::new();
            for (fields, hit) in patterns {
                let field = fields.iter().find(|field| field.name == *name);
                let with_address =
                    field.iter().flat_map(|field| &field.forms).filter(|form| form.has_address());
                forms.extend(with_address.map(|form| (form, *hit)));
            }
            forms.sort_by(|a, b| a.0.head().cmp(b.0.head()));
            refuse_two_readings(usage, &forms)?;
        }
        let mut fields = Fields::default();
        for name in &names {
            let known = format.names().is_none_or(|mut known| known.any(|known| known == name));
            if !known || fields.id(name).is_none() {
                return Err(usage.no_field(format, name));
            }
        }
        let number =
            |field: &FieldForms| names.iter().position(|name| *name == field.name).unwrap_or_default();
        let mut candidates = Vec::with_capacity(patterns.len());
        let mut keyed: Vec<Vec<KeyForm>> = names.iter().map(|_| Vec::new()).collect();
        for (fields, hit) in patterns {
            let Some(key) = fields.iter().max_by_key(|field| rarity(field)) else { continue };
            let candidate = candidates.len();
            keyed[number(key)].extend(key.forms.iter().map(|form| KeyForm { form: form.clone(), candidate }));
            let mut rest: Vec<&FieldForms> = fields.iter().filter(|field| field.name != key.name).collect();
            rest.sort_by_key(|field| field.forms[0].has_address());
            let rest = rest.into_iter().map(|field| (number(field), field.forms.clone().into_boxed_slice()));
            candidates.push(Candidate { hit: *hit, rest: rest.collect() });
        }
        let mut keys = Vec::new();
        for (field, forms) in keyed.into_iter().enumerate() {
            if !forms.is_empty() {
                keys.push(Key::new(field, forms).ok_or_else(|| usage.too_large())?);
            }
        }
        Ok(Self { format, fields, candidates, keys })
    }

    /// Reads a record, whose fields `value` answers by number. Of several patterns that fit, the one that gives the
    /// most points is taken; among equals the first.
    pub(super) fn read<'a>(
        &self,
        value: impl Fn(usize) -> Option<&'a [u8]>,
        found: &mut Found<'a>,
    ) -> Option<Hit> {
        let mut best = Best { found: None };
        for key in &self.keys {
            let Some(text) = value(key.field) else { continue };
            key.each(text, |form, head| self.consider(form, &text[head..], &value, &mut best));
        }
        let (hit, its) = best.found?;
        *found = its;
        Some(hit)
    }

    fn consider<'a>(
        &self,
        form: &KeyForm,
        text: &'a [u8],
        value: &impl Fn(usize) -> Option<&'a [u8]>,
        best: &mut Best<'a>,
    ) {
        let candidate = &self.candidates[form.candidate];
        let hit = candidate.hit;
        let worse = |known: Hit| {
            (known.points, std::cmp::Reverse(known.pattern)) >= (hit.points, std::cmp::Reverse(hit.pattern))
        };
        if best.found.is_some_and(|(known, _)| worse(known)) {
            return;
        }
        let mut found = Found::default();
        if !form.form.read(text, &mut found) {
            return;
        }
        for (field, forms) in &candidate.rest {
            let Some(text) = value(*field) else { return };
            if !forms.iter().any(|form| reads(form, text, &mut found)) {
                return;
            }
        }
        best.found = Some((hit, found));
    }
}

/// Reads a field; what was found stays as it was unless the form fits.
fn reads<'a>(form: &Form, text: &'a [u8], found: &mut Found<'a>) -> bool {
    let Some(rest) = text.strip_prefix(form.head()) else { return false };
    let before = *found;
    let fits = form.read(rest, found);
    if !fits {
        *found = before;
    }
    fits
}

/// How rare the values of a field are that a pattern wants: bytes of literal that each of them has at least.
fn rarity(field: &FieldForms) -> (bool, usize) {
    let literal = |form: &Form| form.head().len().max(form.needle().len());
    let least = field.forms.iter().map(literal).min().unwrap_or_default();
    (!field.forms[0].has_address(), least)
}

impl Key {
    fn new(field: usize, forms: Vec<KeyForm>) -> Option<Self> {
        let (mut with_head, without): (Vec<_>, Vec<_>) =
            forms.into_iter().partition(|form| !form.form.head().is_empty());
        with_head.sort_by(|a, b| a.form.head().cmp(b.form.head()));
        let heads: Vec<&[u8]> = with_head.iter().map(|form| form.form.head()).collect();
        let heads = Heads::new(&heads)?;
        let (holding, others): (Vec<_>, Vec<_>) =
            without.into_iter().partition(|form| !form.form.needle().is_empty());
        if holding.len() > MAX_HOLDING {
            return None;
        }
        let needles = AhoCorasick::new(holding.iter().map(|form| form.form.needle())).ok()?;
        Some(Self { field, forms: with_head, heads, needles, holding, others })
    }

    /// Calls `each` for every form that may fit, with the length of its head.
    fn each(&self, text: &[u8], mut each: impl FnMut(&KeyForm, usize)) {
        let mut fit = self.heads.longest(text);
        while let Some(this) = fit {
            let (forms, head) = self.heads.forms(this);
            self.forms[forms].iter().for_each(|form| each(form, head));
            fit = self.heads.shorter(this);
        }
        if !self.holding.is_empty() {
            // However often a literal stands in a text: its form is read once.
            let mut seen = [0u64; MAX_HOLDING / 64];
            for found in self.needles.find_overlapping_iter(text) {
                let number = found.pattern().as_usize();
                if seen[number / 64] >> (number % 64) & 1 == 0 {
                    seen[number / 64] |= 1 << (number % 64);
                    each(&self.holding[number], 0);
                }
            }
        }
        self.others.iter().for_each(|form| each(form, 0));
    }
}
