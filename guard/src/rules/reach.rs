//! Rules that cannot do what they seem to: never reached, or never true.

use std::collections::HashMap;
use std::sync::Arc;

use super::Rule;
use super::condition::Condition;

/// What is doubtful about rules that are asked in this order: number of the rule, and in words.
#[expect(
    clippy::mutable_key_type,
    reason = "what a regular expression keeps of its searches is no part of it"
)]
pub(super) fn doubts(rules: &[Arc<Rule>]) -> Vec<(usize, String)> {
    let mut doubts = Vec::new();
    let mut always: Option<&Rule> = None;
    // What has ended the way of a sighting for which it holds.
    let mut ended: HashMap<&Condition, &Rule> = HashMap::new();
    for (number, rule) in rules.iter().enumerate() {
        let parts = rule.condition.parts();
        let earlier = ended.get(&rule.condition).or_else(|| parts.iter().find_map(|part| ended.get(part)));
        if let Some(earlier) = always {
            doubts.push((number, format!("never reached: rule `{}` acts on every sighting", earlier.name)));
        } else if let Some(earlier) = earlier {
            let reason = format!("never reached: rule `{}` acts on every sighting it is for", earlier.name);
            doubts.push((number, reason));
        } else if let Some(reason) = contradiction(parts) {
            doubts.push((number, format!("never true: {reason}")));
        } else if rule.ends() {
            if rule.condition.is_always() {
                always = Some(rule);
            }
            ended.insert(&rule.condition, rule);
        }
    }
    doubts
}

/// Why conditions cannot all hold, as far as that shows in two of them.
fn contradiction(parts: &[Condition]) -> Option<&'static str> {
    let kinds =
        parts.iter().filter_map(|part| if let Condition::Kind(kinds) = part { Some(*kinds) } else { None });
    if kinds.fold(u64::MAX, |all, kinds| all & kinds) == 0 {
        return Some("no sighting is of two kinds");
    }
    let sets: Vec<_> = parts
        .iter()
        .filter_map(|part| if let Condition::Address(set) = part { Some(set) } else { None })
        .collect();
    if sets.iter().enumerate().any(|(at, set)| sets[at + 1..].iter().any(|other| !set.meets(other))) {
        return Some("no address is in both lists");
    }
    let opposite = |part: &Condition| matches!(part, Condition::Not(inner) if parts.contains(inner));
    parts.iter().any(opposite).then_some("a condition and its opposite")
}
