//! Which rules can hold for a sighting at all: asked first, so that the cost does not grow with the number of rules that are
//! about other addresses, accounts or filters.
//!
//! Of what must be true for a rule to hold, one part that is told by itself is its key: an address in some ranges, a
//! text that is one of some. A rule without a key is asked about every sighting of its kinds.

use std::collections::HashMap;
use std::net::IpAddr;

use super::condition::Condition;
use super::facts::Facts;
use super::intervals::Intervals;
use crate::sighting::Kind;

/// Rules by what they can hold for. Rules are numbers, in their order.
#[derive(Debug, Default)]
pub(super) struct Index {
    v4: Intervals<u32>,
    v6: Intervals<u128>,
    words: [Words; Field::COUNT],
    /// Rules without a key, by kind.
    rest: Vec<Vec<u32>>,
    /// Rules with a key that has come up in the last question, in order.
    found: Vec<u32>,
}

/// A fact that is a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Filter,
    User,
    Service,
    Path,
}

impl Field {
    const COUNT: usize = 4;

    fn of<'a>(self, facts: &Facts<'a>) -> Option<&'a [u8]> {
        match self {
            Self::Filter => Some(facts.filter.as_bytes()),
            Self::User => facts.user,
            Self::Service => facts.service,
            Self::Path => facts.path,
        }
    }
}

/// One of the values that a rule's key has.
enum Value<'a> {
    V4(u32, u32),
    V6(u128, u128),
    Word(Field, &'a [u8]),
}

/// A part of a condition, by how many sightings it is usually true of: the fewest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Breadth {
    /// A few addresses, at most a 65,536th of a family.
    Addresses,
    Path,
    User,
    Service,
    Filter,
    /// Much of a family.
    Family,
}

impl Index {
    /// Which rules have these conditions and can hold for these kinds, each a bit.
    pub(super) fn new<'a>(rules: impl Iterator<Item = (&'a Condition, u64)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let mut index = Self::of_kinds();
        for (number, (condition, kinds)) in rules.enumerate() {
            let number = number as u32;
            let Some((_, values)) = key(condition) else {
                index.ask_always(number, kinds);
                continue;
            };
            for value in values {
                match value {
                    Value::V4(first, last) => v4.push((first, last, number)),
                    Value::V6(first, last) => v6.push((first, last, number)),
                    Value::Word(field, text) => {
                        index.words[field as usize].add(text, number);
                    }
                }
            }
        }
        (index.v4, index.v6) = (Intervals::new(v4), Intervals::new(v6));
        index
    }

    /// Rules of these kinds, of which each is asked.
    #[cfg(test)]
    pub(super) fn without_keys(rules: impl Iterator<Item = u64>) -> Self {
        let mut index = Self::of_kinds();
        rules.enumerate().for_each(|(number, kinds)| index.ask_always(number as u32, kinds));
        index
    }

    fn of_kinds() -> Self {
        Self { rest: vec![Vec::new(); Kind::ALL.len()], ..Self::default() }
    }

    fn ask_always(&mut self, number: u32, kinds: u64) {
        let all = self.rest.iter_mut().enumerate();
        all.filter(|(kind, _)| kinds >> kind & 1 == 1).for_each(|(_, rules)| rules.push(number));
    }

    /// The rules that can hold for a sighting, as far as their keys tell, in their order. One with a key may be for other
    /// kinds.
    pub(super) fn candidates(&mut self, facts: &Facts<'_>) -> Candidates<'_> {
        let Self { v4, v6, words, rest, found } = self;
        found.clear();
        match facts.address {
            IpAddr::V4(address) => v4.at(u32::from(address), |rule| found.push(rule)),
            IpAddr::V6(address) => v6.at(u128::from(address), |rule| found.push(rule)),
        }
        for field in [Field::Filter, Field::User, Field::Service, Field::Path] {
            found.extend(field.of(facts).map_or(&[][..], |text| words[field as usize].rules(text)));
        }
        found.sort_unstable();
        found.dedup();
        let rest = rest.get(facts.kind as usize).map_or(&[][..], Vec::as_slice);
        Candidates { found, rest }
    }
}

/// Rules by a text that a fact must be.
#[derive(Debug, Default)]
struct Words {
    rules: HashMap<Box<[u8]>, Vec<u32>>,
    /// The lengths and first bytes of these texts, each a bit: most others have another one, and are not hashed.
    lengths: [u64; 4],
    firsts: [u64; 4],
}

impl Words {
    fn add(&mut self, text: &[u8], rule: u32) {
        let (length, first) = Self::look(text);
        self.lengths[length / 64] |= 1 << (length % 64);
        self.firsts[first / 64] |= 1 << (first % 64);
        let rules = self.rules.entry(text.into()).or_default();
        // Once, even if several parts of a condition ask for it.
        if rules.last() != Some(&rule) {
            rules.push(rule);
        }
    }

    fn rules(&self, text: &[u8]) -> &[u32] {
        let (length, first) = Self::look(text);
        let is_like_one =
            self.lengths[length / 64] >> (length % 64) & self.firsts[first / 64] >> (first % 64) & 1;
        let known = if is_like_one == 1 { self.rules.get(text) } else { None };
        known.map_or(&[], Vec::as_slice)
    }

    /// Length, where long ones are alike, and first byte.
    fn look(text: &[u8]) -> (usize, usize) {
        (text.len().min(255), text.first().copied().unwrap_or_default().into())
    }
}

/// Two runs of numbers, merged. None is in both: a rule has a key or none.
#[derive(Debug)]
pub(super) struct Candidates<'a> {
    found: &'a [u32],
    rest: &'a [u32],
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let run = match (self.found.first(), self.rest.first()) {
            (Some(found), Some(rest)) if found < rest => &mut self.found,
            (Some(_), None) => &mut self.found,
            _ => &mut self.rest,
        };
        let (first, behind) = run.split_first()?;
        *run = behind;
        Some(*first as usize)
    }
}

/// The key of a condition, if it has one: it holds for no sighting of which none of these values is true.
fn key(condition: &Condition) -> Option<(Breadth, Vec<Value<'_>>)> {
    match condition {
        Condition::All(parts) => parts.iter().filter_map(key).min_by_key(|(breadth, _)| *breadth),
        Condition::Any(parts) => {
            let mut all = (Breadth::Addresses, Vec::new());
            for part in parts {
                let (breadth, values) = key(part)?;
                all.0 = all.0.max(breadth);
                all.1.extend(values);
            }
            Some(all)
        }
        Condition::Address(set) => {
            let v4 = set.v4().iter().map(|&(first, last)| Value::V4(first, last));
            let v6 = set.v6().iter().map(|&(first, last)| Value::V6(first, last));
            let breadth = if set.is_narrow() { Breadth::Addresses } else { Breadth::Family };
            Some((breadth, v4.chain(v6).collect()))
        }
        Condition::Filter(names) => {
            let words = names.iter().map(|name| Value::Word(Field::Filter, name.as_bytes()));
            Some((Breadth::Filter, words.collect()))
        }
        Condition::User(texts) => Some((Breadth::User, words(Field::User, texts.plain()?))),
        Condition::Service(texts) => Some((Breadth::Service, words(Field::Service, texts.plain()?))),
        Condition::Path(texts) => Some((Breadth::Path, words(Field::Path, texts.plain()?))),
        Condition::Not(_)
        | Condition::Kind(_)
        | Condition::Status(_)
        | Condition::Country(_)
        | Condition::Asn(_)
        | Condition::Pattern(_) => None,
    }
}

fn words(field: Field, texts: &[Box<[u8]>]) -> Vec<Value<'_>> {
    texts.iter().map(|text| Value::Word(field, text)).collect()
}
