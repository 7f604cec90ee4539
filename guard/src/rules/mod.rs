//! Rules: what people want done about sightings, whatever the scores say.
//!
//! A rule is a condition and actions. Rules are asked in their order about each sighting; the first whose condition
//! holds acts, and the next ones are asked only if it says `continue`. They stand under `[[rule]]` in `guard.toml` and
//! in the files of a folder; `docs/rules.md` tells people how they are written.
//!
//! The module is pure: [`RuleSet::compile`] reads text, [`RuleSet::judge`] takes facts and the time and answers what is
//! to be done. Who asks does it. Everything is bounded (`limits`), and no sighting for which no rule holds allocates.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::sighting::Kind;
use crate::time::Moment;

pub mod action;
mod addresses;
mod condition;
mod error;
mod facts;
mod files;
mod geo;
mod index;
mod intervals;
mod limits;
mod order;
mod pattern;
mod reach;
mod read;
mod rule;
#[cfg(test)]
mod tests;
mod texts;
mod verdict;

pub use error::RuleErrors;
pub use facts::Facts;
pub(crate) use files::{located, read_rules};
pub use geo::{Geo, Origin};
pub use limits::RateLimit;
pub use order::{Order, Task};
pub use rule::{Place, Rule};
pub use verdict::Verdict;

use condition::{Condition, Seen, Truth, bit};
use index::Index;
use limits::Used;
use verdict::Acted;

/// Rules in their order, and what they have done.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
    /// Of each rule the kinds it can hold for.
    kinds: Vec<u64>,
    index: Index,
    states: Vec<State>,
    geo: Geo,
    warnings: Vec<Warning>,
    /// The last verdict.
    acted: Vec<Acted>,
}

/// Something doubtful about a rule, which is in force all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where the rule begins.
    pub place: Place,
    /// What is doubtful, with the rule's name.
    pub message: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.place.file.display(), self.place.line, self.message)
    }
}

/// What a rule has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCount {
    /// Sightings for which it held and was asked.
    pub matched: u64,
    /// Sightings it acted on.
    pub acted: u64,
    /// Sightings it would have acted on, in simulation.
    pub simulated: u64,
    /// Times a rate limit held it, one of its actions, or the record of a simulation back.
    pub limited: u64,
}

impl RuleCount {
    fn sum(self, other: Self) -> Self {
        Self {
            matched: self.matched + other.matched,
            acted: self.acted + other.acted,
            simulated: self.simulated + other.simulated,
            limited: self.limited + other.limited,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct State {
    count: RuleCount,
    rule: Used,
    /// What a simulation records.
    record: Used,
    actions: Box<[Used]>,
}

impl RuleSet {
    /// Compiles the rules in the text of one file.
    pub fn compile(text: &str, file: &Path) -> Result<Self, RuleErrors> {
        Self::new(files::parse(text, file)?)
    }

    /// Rules in this order. Names must differ.
    pub(crate) fn new(rules: Vec<Arc<Rule>>) -> Result<Self, RuleErrors> {
        files::refuse_twins(&rules)?;
        let state = |rule: &Arc<Rule>| State {
            actions: vec![Used::default(); rule.actions.len()].into(),
            ..State::default()
        };
        let mut doubts = reach::doubts(&rules);
        let more = doubts.len().saturating_sub(limits::MAX_TOLD);
        doubts.truncate(limits::MAX_TOLD);
        let mut warnings: Vec<Warning> =
            doubts.into_iter().map(|(number, reason)| Warning::of(&rules[number], &reason)).collect();
        if let Some(last) = warnings.last_mut().filter(|_| more > 0) {
            last.message = format!("{} (and {more} more like it)", last.message);
        }
        let kinds: Vec<u64> = rules.iter().map(|rule| rule.condition.kinds()).collect();
        Ok(Self {
            index: Index::new(rules.iter().map(|rule| &rule.condition).zip(kinds.iter().copied())),
            kinds,
            states: rules.iter().map(state).collect(),
            geo: Geo::default(),
            acted: Vec::new(),
            warnings,
            rules,
        })
    }

    /// What the rules make of a sighting at a time. What they did and how often is counted.
    pub fn judge(&mut self, facts: &Facts<'_>, now: Moment) -> Verdict<'_> {
        self.acted.clear();
        let seen = Seen::new(facts, &self.geo);
        let kind = bit(facts.kind);
        for number in self.index.candidates(facts) {
            if self.kinds[number] & kind == 0 {
                continue;
            }
            let rule = &self.rules[number];
            if rule.condition.holds(&seen) != Truth::Yes {
                continue;
            }
            if let Some(acted) = self.states[number].act(rule, number, facts, now) {
                self.acted.extend((acted.actions > 0).then_some(acted));
                if !rule.simulate && !rule.go_on {
                    break;
                }
            }
        }
        Verdict { rules: &self.rules, acted: &self.acted }
    }

    /// The rules, in their order, each with what it has done.
    pub fn rules(&self) -> impl Iterator<Item = (&Arc<Rule>, RuleCount)> {
        self.rules.iter().zip(&self.states).map(|(rule, state)| (rule, state.count))
    }

    /// The label of a rule in counters: `rule:` and its name, or `rule:other` for those behind the first hundred, so
    /// that there are not too many labels.
    pub fn label(&self, rule: &Rule) -> String {
        let known = self.rules.iter().take(limits::MAX_LABELS).any(|known| **known == *rule);
        format!("rule:{}", if known { rule.name() } else { "other" })
    }

    /// What each of the first hundred rules has done, by its name, and what the others have done together as `other`.
    pub fn counts(&self) -> Vec<(String, RuleCount)> {
        let mut counts: Vec<(String, RuleCount)> = self
            .rules()
            .take(limits::MAX_LABELS)
            .map(|(rule, count)| (rule.name().to_owned(), count))
            .collect();
        let rest = self.states.iter().skip(limits::MAX_LABELS).map(|state| state.count);
        counts.extend(rest.reduce(RuleCount::sum).map(|sum| ("other".to_owned(), sum)));
        counts
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is doubtful.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Whether a rule asks about country or network.
    pub fn asks_origin(&self) -> bool {
        self.asks(|part| matches!(part, Condition::Country(_) | Condition::Asn(_)))
    }

    /// Whether a rule looks at the text of lines.
    pub fn asks_line(&self) -> bool {
        self.asks(|part| matches!(part, Condition::Pattern(_)))
    }

    fn asks(&self, about: fn(&Condition) -> bool) -> bool {
        self.rules.iter().any(|rule| rule.condition.asks(about))
    }

    /// Asks these databases from now on.
    pub fn set_geo(&mut self, geo: Geo) {
        self.geo = geo;
    }

    /// The databases that are asked.
    pub fn geo(&self) -> &Geo {
        &self.geo
    }

    /// Takes over from an older set what rules of the same name have done: counters, and what their limits have used.
    pub fn take_over(&mut self, old: &Self) {
        let known: HashMap<&str, usize> =
            old.rules.iter().enumerate().map(|(number, rule)| (&*rule.name, number)).collect();
        for (rule, state) in self.rules.iter().zip(&mut self.states) {
            let Some(number) = known.get(&*rule.name) else { continue };
            let before = &old.states[*number];
            state.count = before.count;
            if rule == &old.rules[*number] {
                state.clone_from(before);
            }
        }
    }

    /// What differs from another set that is to take the place of this one, in words.
    pub fn diff(&self, new: &Self) -> Vec<String> {
        let of = |set: &Self| -> HashMap<Box<str>, Arc<Rule>> {
            set.rules.iter().map(|rule| (rule.name.clone(), Arc::clone(rule))).collect()
        };
        let (before, after) = (of(self), of(new));
        let mut out = Vec::new();
        for rule in &new.rules {
            match before.get(&rule.name) {
                None => out.push(format!("rule {}: new", rule.name)),
                Some(old) if old != rule => out.push(format!("rule {}: changed", rule.name)),
                Some(_) => {}
            }
        }
        let gone = self.rules.iter().filter(|rule| !after.contains_key(&rule.name));
        out.extend(gone.map(|rule| format!("rule {}: gone", rule.name)));
        let kept = |one: &Self, other: &HashMap<Box<str>, Arc<Rule>>| -> Vec<Box<str>> {
            let names = one.rules.iter().map(|rule| rule.name.clone());
            names.filter(|name| other.contains_key(name)).collect()
        };
        if kept(self, &after) != kept(new, &before) {
            out.push("rules: in another order".into());
        }
        let more = out.len().saturating_sub(limits::MAX_TOLD);
        out.truncate(limits::MAX_TOLD);
        out.extend((more > 0).then(|| format!("rules: {more} more changes")));
        out
    }

    /// Adds what is doubtful about names of filters, of which these are in use.
    pub fn check_filters<'a>(&mut self, known: impl Iterator<Item = &'a str>) {
        let known: Vec<&str> = known.collect();
        let mut asked = Vec::new();
        for rule in &self.rules {
            asked.clear();
            rule.condition.filters(&mut asked);
            for name in asked.iter().filter(|name| !known.contains(name)) {
                if self.warnings.len() >= 2 * limits::MAX_TOLD {
                    return;
                }
                let hint = crate::config::did_you_mean(name, known.iter().copied(), '`');
                self.warnings.push(Warning::of(rule, &format!("no filter `{name}` is in use{hint}")));
            }
        }
    }
}

impl Warning {
    fn of(rule: &Rule, reason: &str) -> Self {
        Self { place: rule.place.clone(), message: format!("rule `{}`: {reason}", rule.name) }
    }
}

impl State {
    /// A rule holds for a sighting: which of its actions are to be done. `None` if its rate limit holds it back.
    fn act(&mut self, rule: &Rule, number: usize, facts: &Facts<'_>, now: Moment) -> Option<Acted> {
        self.count.matched += 1;
        if rule.limit.is_some_and(|limit| !self.rule.admits(limit, now)) {
            self.count.limited += 1;
            return None;
        }
        if rule.simulate && !self.record.admits(RateLimit::USUAL, now) {
            self.count.limited += 1;
            self.count.simulated += 1;
            return None;
        }
        let mut actions = 0;
        for (at, (action, used)) in rule.actions.iter().zip(&mut self.actions).enumerate() {
            if action.does.is_against() && facts.kind == Kind::Spoofable {
                continue;
            }
            if action.limit.is_none_or(|limit| used.admits(limit, now)) {
                actions |= 1 << at;
            } else {
                self.count.limited += 1;
            }
        }
        if rule.simulate {
            self.count.simulated += 1;
        } else {
            self.count.acted += 1;
        }
        Some(Acted { rule: number as u32, actions, simulated: rule.simulate })
    }
}
