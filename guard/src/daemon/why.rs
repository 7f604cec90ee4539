//! The answer to why: what the judge knows, then what the store remembers.

use serde_json::Value;
use tokio::sync::oneshot;

use super::control::Control;
use super::listing::Waiting;
use super::views;
use crate::api::{Answer, BanView, PastBan, Undo, Why, WhyHost};
use crate::judge::{Inside, Line, Within};
use crate::store::{EventQuery, StoredEventView};
use crate::target::Target;
use crate::time::{Clock, Moment, Wall};

/// Events in the answer.
const EVENTS: usize = 50;
/// Hosts of a prefix in the answer.
const HOSTS: usize = 100;

impl Control {
    /// Answers why, once the store has said what it remembers; of a prefix, once what is inside is gathered.
    pub(super) fn why(&mut self, target: Target, reply: oneshot::Sender<Answer>) {
        if target.is_host() {
            return self.tell_why(self.known_of(target, Vec::new(), 0), reply);
        }
        let within = Within::new(target, HOSTS, &self.judge);
        self.listings.push_back(Waiting::Inside(within, reply));
    }

    /// What is inside a prefix is gathered.
    pub(super) fn why_prefix(&self, within: Within, reply: oneshot::Sender<Answer>) {
        let (target, now) = (within.prefix(), Moment::now());
        let (inside, count) = within.finish();
        let host = |inside: Inside| WhyHost {
            target: inside.target,
            score: views::points(inside.score()),
            banned: inside.is_banned(),
            seconds_left: inside.until.map(|until| until.since(now).as_secs()),
        };
        let hosts = inside.into_iter().map(host).collect();
        self.tell_why(self.known_of(target, hosts, count), reply);
    }

    fn tell_why(&self, known: Why, reply: oneshot::Sender<Answer>) {
        let query = EventQuery { target: Some(known.target), limit: EVENTS, ..EventQuery::default() };
        self.writer.events(query, move |events| {
            let answer =
                views::with_events(events, |events| Answer::Why(Box::new(remembered(known, events))));
            // The asker may have gone.
            let _ = reply.send(answer);
        });
    }

    fn known_of(&self, target: Target, hosts: Vec<WhyHost>, hosts_count: u64) -> Why {
        let clock = Clock::now();
        let (engine, address) = (self.judge.engine(), target.address());
        let covering =
            self.judge.bans().covering(address).filter(|ban| ban.target.length() <= target.length());
        let bans: Vec<BanView> = covering.map(|ban| views::view(ban, clock)).collect();
        let lines = if target.is_host() { self.judge.lines(address, clock) } else { Vec::new() };
        let prospect = engine.prospect(target, clock.moment);
        let score = engine.score(address, clock.moment);
        let strikes = engine.strikes(target, clock.moment);
        let protected_by = self.judge.protection().refusal(target, clock.moment);
        let undo =
            ways_back(target, &bans, strikes > 0 || score.0 > 0 || hosts_count > 0, protected_by.is_some());
        Why {
            target,
            score: views::points(score),
            threshold: views::points(engine.threshold_of(target, clock.moment)),
            lines,
            ignored: target.is_host().then(|| self.judge.ignored(address)).flatten(),
            attacks: if target.is_host() { self.judge.attacks_by(address, clock) } else { Vec::new() },
            bans,
            strikes,
            past: Vec::new(),
            next_strike: prospect.strike,
            next_seconds: prospect.length.map(|length| length.as_secs()),
            protected_by,
            hosts,
            hosts_count,
            events: Vec::new(),
            undo,
        }
    }
}

/// What can be done about it, the plainest first.
fn ways_back(target: Target, bans: &[BanView], has_past: bool, is_protected: bool) -> Vec<Undo> {
    // What a feed lists comes back: to allow is the way out.
    let mut undo: Vec<Undo> = bans
        .iter()
        .filter(|ban| !ban.origin.is_feed())
        .map(|ban| Undo {
            command: format!("guardctl unban {}", ban.target),
            effect: "lifts the ban, forgets what led to it".into(),
        })
        .collect();
    let has_own = bans.iter().any(|ban| ban.target == target);
    if has_past && !has_own {
        let effect = "forgets strikes and score".into();
        undo.push(Undo { command: format!("guardctl forget {target}"), effect });
    }
    if !is_protected {
        let effect = "never bans it again (--for 8h: for a time)".into();
        undo.push(Undo { command: format!("guardctl allow add {target}"), effect });
    }
    undo
}

/// With what the events tell.
fn remembered(mut why: Why, events: Vec<StoredEventView>) -> Why {
    let own = |event: &&StoredEventView| event.kind == "ban" && event.target == Some(why.target);
    if why.lines.is_empty() {
        let lines = events.iter().filter(own).find_map(|event| lines_of(&event.detail));
        why.lines = lines.unwrap_or_default();
    }
    why.past = events.iter().filter(own).filter_map(past_ban).collect();
    Why { events, ..why }
}

/// The lines that a ban's event has.
fn lines_of(detail: &Value) -> Option<Vec<Line>> {
    serde_json::from_value(detail.get("lines")?.clone()).ok().filter(|lines: &Vec<Line>| !lines.is_empty())
}

fn past_ban(event: &StoredEventView) -> Option<PastBan> {
    let at: Wall = event.at.parse().ok()?;
    let until = event.detail.get("until").and_then(Value::as_str).and_then(|text| text.parse::<Wall>().ok());
    Some(PastBan {
        at,
        strike: event.detail.get("strike").and_then(Value::as_u64),
        seconds: until.map(|until| until.seconds().saturating_sub(at.seconds()).max(0) as u64),
        by: who_banned(event),
    })
}

/// Who a ban was of, as metrics and lists call it: a rule, the bans of a prefix's hosts, a filter, a person.
fn who_banned(event: &StoredEventView) -> String {
    let told = |key| event.detail.get(key).and_then(Value::as_str);
    match (told("rule"), told("filter")) {
        (Some(rule), _) => format!("rule:{rule}"),
        (None, Some(_)) if event.target.is_some_and(|target| !target.is_host()) => "prefix".to_owned(),
        (None, Some(filter)) => filter.to_owned(),
        (None, None) => "manual".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_past_ban_is_told_of_by_who_ordered_it() {
        let by = |target: &str, detail: Value| {
            let at = "2026-11-21T10:00:00Z".to_owned();
            let target = Some(target.parse().unwrap());
            past_ban(&StoredEventView { number: 1, at, kind: "ban".into(), target, detail }).unwrap().by
        };
        assert_eq!(by("203.0.113.7", json!({ "filter": "sshd" })), "sshd");
        assert_eq!(by("203.0.113.7", json!({ "filter": "sshd", "rule": "no-root" })), "rule:no-root");
        assert_eq!(by("203.0.113.0/24", json!({ "filter": "sshd" })), "prefix");
        assert_eq!(by("203.0.113.7", json!({ "by": 0 })), "manual");
    }
}
