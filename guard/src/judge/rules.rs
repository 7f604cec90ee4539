//! What rules want done about a sighting: asked before the engine scores it, with the protections behind them.

use std::sync::Arc;

use serde_json::{Value, json};
use tracing::{info, warn};

use super::Judge;
use crate::ban::{Ban, Origin};
use crate::encode::{EVIDENCE, printable};
use crate::engine::Sentence;
use crate::rules::action::{Does, Term};
use crate::rules::{Facts, Order, Rule, RuleSet, Task};
use crate::sighting::{Points, Sighting};
use crate::target::Target;
use crate::time::Clock;

/// Bytes of an account, path or name of a program that events and commands are told.
const TEXT: usize = 256;

/// What rules want done about one sighting.
#[derive(Debug)]
pub(super) struct Ruling {
    /// The first rule that has it not scored.
    pub(super) ignored_by: Option<Arc<Rule>>,
    /// Its points.
    pub(super) points: Points,
    /// The names of the rules that changed them.
    pub(super) scored_by: String,
    /// The ban of its address.
    ban: Option<(Arc<Rule>, Term)>,
    /// Words for the events it leads to.
    pub(super) tags: Vec<String>,
    /// Notices, each with the text of the administrator.
    notices: Vec<(Arc<Rule>, Box<str>)>,
    /// Commands and webhooks.
    orders: Vec<Order>,
    /// Rules in simulation, and what they would do.
    simulated: Vec<(Arc<Rule>, Vec<String>)>,
}

impl Judge {
    /// Decides by these rules from now on. What rules of the same name have counted goes on.
    pub fn set_rules(&mut self, mut rules: RuleSet) {
        rules.take_over(&self.rules);
        self.rules = rules;
    }

    /// The rules, and what they have done.
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Asks the rules about a sighting. `None` if none has anything to say.
    #[inline]
    pub(super) fn ruling(&mut self, sighting: &Sighting<'_>, clock: Clock) -> Option<Ruling> {
        if self.rules.is_empty() {
            return None;
        }
        let facts = Facts::of(sighting, self.filters.filter_name(sighting.pattern.filter));
        let verdict = self.rules.judge(&facts, clock.moment);
        if verdict.is_empty() {
            return None;
        }
        let mut ruling = Ruling {
            ignored_by: verdict.ignores().cloned(),
            points: verdict.points(sighting.points),
            scored_by: verdict.names(|does| matches!(does, Does::Score(_))),
            ban: verdict.ban().map(|(rule, term)| (Arc::clone(rule), term)),
            tags: verdict.tags().into_iter().map(str::to_owned).collect(),
            notices: Vec::new(),
            orders: Vec::new(),
            simulated: Vec::new(),
        };
        for (rule, action) in verdict.acts() {
            match &action.does {
                Does::Notify(text) => ruling.notices.push((Arc::clone(rule), text.clone())),
                Does::Run(command) => ruling.orders.push(Order {
                    rule: rule.name().into(),
                    task: Task::Run {
                        command: command.clone(),
                        environment: environment(rule, &facts, sighting.points, clock),
                    },
                }),
                Does::Webhook(webhook) => ruling.orders.push(Order {
                    rule: rule.name().into(),
                    task: Task::Post {
                        webhook: webhook.clone(),
                        document: document(rule, &facts, sighting.points, clock).to_string(),
                    },
                }),
                Does::Ignore | Does::Score(_) | Does::Ban(_) | Does::Tag(_) => {}
            }
        }
        for (rule, action) in verdict.would_act() {
            match ruling.simulated.last_mut() {
                Some((last, would)) if last == rule => would.push(action.does.to_string()),
                _ => ruling.simulated.push((Arc::clone(rule), vec![action.does.to_string()])),
            }
        }
        Some(ruling)
    }

    /// Bans the address of a sighting as a rule wants it: a strike, unless a ban of it stands, which lasts longer then.
    /// Answers whether that changed anything.
    pub(super) fn ban_by_rule(&mut self, ruling: &Ruling, sighting: &Sighting<'_>, clock: Clock) -> bool {
        let Some((rule, term)) = &ruling.ban else { return false };
        let target = Target::host(sighting.address);
        let wanted = term.length().map(|length| length.map(|length| clock.moment + length));
        let origin = Origin::Rule(rule.name().into());
        if self.standing(clock).serves(target, &origin, *term) {
            return false;
        }
        if let Some(protection) = self.protection.refusal(target, clock.moment) {
            self.count.refused += 1;
            let detail = json!({ "rule": rule.name(), "because": protection });
            self.event_that_repeats("refuse", (target, rule.name()), detail, clock);
            return false;
        }
        let score = self.engine.score(target.address(), clock.moment);
        let Sentence { strike, until } =
            match (self.engine.ruled(target, term.length(), sighting.pattern, clock.moment), wanted) {
                (Some(sentence), _) => sentence,
                (None, Some(until)) => {
                    self.engine.banned(target, until);
                    Sentence { strike: self.engine.strikes(target, clock.moment).max(1), until }
                }
                (None, None) => return false,
            };
        let ban = Ban {
            id: self.bans.next_id(),
            target,
            since: clock.moment,
            until,
            origin,
            score,
            strike,
            reason: format!("rule {}", rule.name()).into(),
        };
        let end = until.map(|until| clock.wall_of(until).to_string());
        info!(%target, rule = rule.name(), until = end.as_deref().unwrap_or("for good"), "banned");
        *self.count.bans_by_rule.entry(self.rules.label(rule)).or_default() += 1;
        let mut lines = self.lines(target.address(), clock);
        lines.push(self.line_of(sighting, clock));
        let detail = json!({
            "rule": rule.name(),
            "filter": self.filters.filter_name(sighting.pattern.filter),
            "pattern": self.filters.pattern_text(sighting.pattern),
            "kind": sighting.kind.name(),
            "strike": ban.strike,
            "until": end,
            "lines": lines,
        });
        self.event_of_line("ban", target, detail, clock);
        self.insert(ban, clock);
        self.decide_further(Some(sighting), clock);
        true
    }

    /// Notices, commands, webhooks, and what simulated rules would have done.
    pub(super) fn tell_of_rules(&mut self, ruling: Ruling, sighting: &Sighting<'_>, clock: Clock) {
        self.outcome.orders.extend(ruling.orders);
        if ruling.notices.is_empty() && ruling.simulated.is_empty() {
            return;
        }
        let target = Target::host(sighting.address);
        let filter = self.filters.filter_name(sighting.pattern.filter).to_owned();
        let line = self.line_of(sighting, clock);
        let about = |rule: &Rule, key: &str, value: Value| json!({ "rule": rule.name(), key: value, "filter": filter, "kind": sighting.kind.name(), "lines": [line] });
        for (rule, text) in ruling.notices {
            warn!(rule = rule.name(), %target, kind = sighting.kind.name(), text = &*text, "notice");
            self.event_of_line("notify", target, about(&rule, "text", json!(text)), clock);
        }
        for (rule, would) in ruling.simulated {
            self.event_of_line("simulate", target, about(&rule, "would", json!(would)), clock);
        }
    }

    /// Notes that something happened because of the line at hand: with the tags that rules gave it.
    pub(super) fn event_of_line(
        &mut self,
        kind: &str,
        target: impl Into<Option<Target>>,
        detail: Value,
        clock: Clock,
    ) {
        let detail = self.tagged(detail);
        self.event(kind, target.into(), &detail, clock);
    }

    /// A detail with the tags that rules gave the line at hand.
    pub(super) fn tagged(&self, mut detail: Value) -> Value {
        if !self.tags.is_empty()
            && let Some(detail) = detail.as_object_mut()
        {
            detail.insert("tags".into(), json!(self.tags));
        }
        detail
    }
}

/// The facts for a web server, encoded: they are an attacker's words.
fn document(rule: &Rule, facts: &Facts<'_>, points: Points, clock: Clock) -> Value {
    let text = |text: Option<&[u8]>| text.map(|text| printable(text, TEXT));
    json!({
        "rule": rule.name(),
        "time": clock.wall,
        "address": facts.address,
        "kind": facts.kind.name(),
        "filter": facts.filter,
        "points": points.as_f64(),
        "line": printable(facts.line, EVIDENCE),
        "user": text(facts.user),
        "service": text(facts.service),
        "path": text(facts.path),
        "status": facts.status,
    })
}

/// The facts for a command, encoded: they are an attacker's words.
fn environment(rule: &Rule, facts: &Facts<'_>, points: Points, clock: Clock) -> Vec<(&'static str, String)> {
    let mut out = vec![
        ("GUARD_RULE", rule.name().to_owned()),
        ("GUARD_TIME", clock.wall.to_string()),
        ("GUARD_ADDRESS", facts.address.to_string()),
        ("GUARD_KIND", facts.kind.name().to_owned()),
        ("GUARD_FILTER", facts.filter.to_owned()),
        ("GUARD_POINTS", points.as_f64().to_string()),
        ("GUARD_LINE", printable(facts.line, EVIDENCE)),
    ];
    let texts = [("GUARD_USER", facts.user), ("GUARD_SERVICE", facts.service), ("GUARD_PATH", facts.path)];
    out.extend(texts.into_iter().filter_map(|(name, text)| Some((name, printable(text?, TEXT)))));
    out.extend(facts.status.map(|status| ("GUARD_STATUS", status.to_string())));
    out
}

#[cfg(test)]
mod tests;
