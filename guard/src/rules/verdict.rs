//! What rules make of one sighting.

use std::sync::Arc;

use super::Rule;
use super::action::{Action, Does, Term};
use crate::sighting::Points;

/// A rule that matched, and which of its actions are to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acted {
    pub(super) rule: u32,
    /// Bits of the rule's actions; what a rate limit holds back is missing.
    pub(super) actions: u8,
    /// Whether what it would do is to be recorded; else it is done.
    pub(super) simulated: bool,
}

/// What rules make of one sighting. Nothing, mostly.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'r> {
    pub(super) rules: &'r [Arc<Rule>],
    pub(super) acted: &'r [Acted],
}

impl<'r> Verdict<'r> {
    /// Whether no rule has anything to say.
    pub fn is_empty(&self) -> bool {
        self.acted.is_empty()
    }

    /// The rules that act, each with what it does.
    pub fn acts(self) -> impl Iterator<Item = (&'r Arc<Rule>, &'r Action)> {
        self.of(false)
    }

    /// The rules in simulation, each with what it would do.
    pub fn would_act(self) -> impl Iterator<Item = (&'r Arc<Rule>, &'r Action)> {
        self.of(true)
    }

    /// The points of the sighting, which gives so many by itself.
    pub fn points(self, points: Points) -> Points {
        self.acts().fold(points, |points, (_, action)| match &action.does {
            Does::Score(scoring) => scoring.apply(points),
            _ => points,
        })
    }

    /// The first rule that has it not scored.
    pub fn ignores(self) -> Option<&'r Arc<Rule>> {
        self.acts().find_map(|(rule, action)| (action.does == Does::Ignore).then_some(rule))
    }

    /// The names of the rules that do a thing, with commas between them.
    pub fn names(self, is_wanted: fn(&Does) -> bool) -> String {
        let mut names: Vec<&str> =
            self.acts().filter(|(_, action)| is_wanted(&action.does)).map(|(rule, _)| rule.name()).collect();
        names.dedup();
        names.join(", ")
    }

    /// The ban of its address. Of several rules that ban, the first counts.
    pub fn ban(self) -> Option<(&'r Arc<Rule>, Term)> {
        self.acts().find_map(|(rule, action)| match action.does {
            Does::Ban(term) => Some((rule, term)),
            _ => None,
        })
    }

    /// The words that events carry, each once.
    pub fn tags(self) -> Vec<&'r str> {
        let mut tags = Vec::new();
        for (_, action) in self.acts() {
            if let Does::Tag(words) = &action.does {
                tags.extend(words.iter().map(AsRef::as_ref));
            }
        }
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    fn of(self, simulated: bool) -> impl Iterator<Item = (&'r Arc<Rule>, &'r Action)> {
        let acted = self.acted.iter().filter(move |acted| acted.simulated == simulated);
        acted.flat_map(move |acted| {
            let rule = &self.rules[acted.rule as usize];
            let chosen = move |(at, _): &(usize, &Action)| acted.actions >> at & 1 == 1;
            rule.actions.iter().enumerate().filter(chosen).map(move |(_, action)| (rule, action))
        })
    }
}
