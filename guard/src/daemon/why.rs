//! The answer to why: what the judge knows, then what the store remembers.

use serde_json::Value;
use tokio::sync::oneshot;

use super::control::Control;
use super::views;
use crate::api::{Answer, BanView, PastBan, Undo, Why, WhyHost};
use crate::ban::BanRef;
use crate::judge::Line;
use crate::sighting::Points;
use crate::store::{EventQuery, StoredEventView};
use crate::target::Target;
use crate::time::{Clock, Wall};

/// Events in the answer.
const EVENTS: usize = 50;
/// Hosts of a prefix in the answer.
const HOSTS: usize = 100;

impl Control {
    /// Answers why, once the store has said what it remembers.
    pub(super) fn why(&self, target: Target, reply: oneshot::Sender<Answer>) {
        let known = self.known_of(target);
        let query = EventQuery { target: Some(target), limit: EVENTS, ..EventQuery::default() };
        self.writer.events(query, move |events| {
            let answer =
                views::with_events(events, |events| Answer::Why(Box::new(remembered(known, events))));
            // The asker may have gone.
            let _ = reply.send(answer);
        });
    }

    fn known_of(&self, target: Target) -> Why {
        let clock = Clock::now();
        let (engine, address) = (self.judge.engine(), target.address());
        let covering =
            self.judge.bans().covering(address).filter(|ban| ban.target.length() <= target.length());
        let bans: Vec<BanView> = covering.map(|ban| views::view(ban, clock)).collect();
        let (hosts, hosts_count) =
            if target.is_host() { (Vec::new(), 0) } else { self.hosts_in(target, clock) };
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

    /// Banned targets and scored addresses inside a prefix, the worst first, and how many there are.
    fn hosts_in(&self, prefix: Target, clock: Clock) -> (Vec<WhyHost>, u64) {
        let engine = self.judge.engine();
        let inside = |ban: &BanRef<'_>| ban.target != prefix && prefix.covers(ban.target.address());
        let banned = |ban: BanRef<'_>| {
            let left = ban.until.map(|until| until.since(clock.moment).as_secs());
            (true, ban.score, ban.target, left)
        };
        let bans = self.judge.bans();
        let bans_inside =
            bans.iter().filter(inside).filter(|ban| ban.target.length() > prefix.length()).map(banned);
        let scored = engine.scores().filter(|kept| prefix.covers(kept.address)).filter_map(|kept| {
            let (target, score) = (Target::host(kept.address), engine.score(kept.address, clock.moment));
            (score.0 > 0 && bans.get(target).is_none()).then_some((false, score, target, None))
        });
        let mut all: Vec<(bool, Points, Target, Option<u64>)> = bans_inside.chain(scored).collect();
        let count = all.len() as u64;
        all.sort_by_key(|(is_banned, score, target, _)| (!is_banned, -score.0, *target));
        let host = |(banned, score, target, seconds_left)| WhyHost {
            target,
            score: views::points(score),
            banned,
            seconds_left,
        };
        (all.into_iter().take(HOSTS).map(host).collect(), count)
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
        by: event.detail.get("filter").and_then(Value::as_str).unwrap_or("manual").to_owned(),
    })
}
