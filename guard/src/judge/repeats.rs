//! Events that an attacker can repeat as often as he likes: bans that are refused, logins that are not believed, incidents
//! that only such a login tells of.
//!
//! The first of a kind about a target, by one rule or the like, is told at once; those that follow within a quarter of an hour are told as one at its end, with
//! their number, and so on while there are any. What is known of targets is bounded: when as many are looked after as may
//! be, what happens to further ones is told together, as of no target.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};
use tracing::{info, warn};

use super::Judge;
use crate::target::Target;
use crate::time::{Clock, Moment};

/// Events of one kind about one target: at most one in this time.
const EVERY: Duration = Duration::from_secs(15 * 60);
/// Targets that are looked after, of all kinds.
const MAX_TARGETS: usize = 4096;
/// Events that are told in one go at most: what else is due does not wait for them.
const PART: usize = 64;

/// What is said where too many targets are concerned for one event each.
const TOGETHER: &str = "so many targets are concerned that these are told of together";

/// A kind of event, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subject {
    kind: &'static str,
    /// Nobody where it is about too many.
    of: Option<Target>,
    /// What tells apart what happens to one target: the rule that was refused, how somebody logged in, the incident.
    by: Box<str>,
}

/// Subjects that were told of less than [`EVERY`] ago.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    since: HashMap<Subject, Untold>,
    /// When each of them is due, in order.
    due: VecDeque<(Moment, Subject)>,
}

/// What happened since a subject was told of last.
#[derive(Debug, Default)]
struct Untold {
    times: u64,
    /// The last time.
    detail: Value,
}

/// An event that is to be told, and how often it happened.
#[derive(Debug, PartialEq)]
struct Told {
    subject: Subject,
    times: u64,
    detail: Value,
}

impl Repeats {
    /// Something happened. Answers what is to be told at once.
    fn add(
        &mut self,
        kind: &'static str,
        (target, by): (Target, &str),
        detail: Value,
        now: Moment,
    ) -> Option<Told> {
        let own = Subject { kind, of: Some(target), by: by.into() };
        let has_room = self.since.len() < MAX_TARGETS || self.since.contains_key(&own);
        let subject = if has_room { own } else { Subject { kind, of: None, by: "".into() } };
        if let Some(untold) = self.since.get_mut(&subject) {
            untold.times += 1;
            untold.detail = detail;
            return None;
        }
        self.since.insert(subject.clone(), Untold::default());
        self.due.push_back((now + EVERY, subject.clone()));
        Some(Told { subject, times: 1, detail })
    }

    /// The next that is due at `now`.
    fn next(&mut self, now: Moment) -> Option<Told> {
        while self.next_due().is_some_and(|at| at <= now) {
            let (_, subject) = self.due.pop_front()?;
            let Some(untold) = self.since.get_mut(&subject).filter(|untold| untold.times > 0) else {
                self.since.remove(&subject);
                continue;
            };
            let Untold { times, detail } = std::mem::take(untold);
            self.due.push_back((now + EVERY, subject.clone()));
            return Some(Told { subject, times, detail });
        }
        None
    }

    /// When the next is due.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.due.front().map(|(at, _)| *at)
    }
}

impl Judge {
    /// Notes that something happened to a target because of the line at hand, which others may repeat: see the module. `by`
    /// is what else tells it apart.
    pub(super) fn event_that_repeats(
        &mut self,
        kind: &'static str,
        (target, by): (Target, &str),
        detail: Value,
        clock: Clock,
    ) {
        let detail = self.tagged(detail);
        if let Some(told) = self.repeats.add(kind, (target, by), detail, clock.moment) {
            self.tell_repeated(told, clock);
        }
    }

    /// Tells what is due of what happened more than once.
    pub(super) fn tell_repeats(&mut self, clock: Clock) {
        for _ in 0..PART {
            let Some(told) = self.repeats.next(clock.moment) else { return };
            self.tell_repeated(told, clock);
        }
    }

    /// Tells all that is still to be told of what happened more than once: nobody will later.
    pub fn tell_all_repeats(&mut self, clock: Clock) {
        while let Some(told) = self.repeats.next(Moment(i64::MAX)) {
            self.tell_repeated(told, clock);
        }
    }

    fn tell_repeated(&mut self, told: Told, clock: Clock) {
        let Told { subject: Subject { kind, of: target, by }, times, mut detail } = told;
        if target.is_none() {
            detail = json!({ "because": TOGETHER });
        }
        if let Some(detail) = detail.as_object_mut().filter(|_| times > 1) {
            detail.insert("times".into(), json!(times));
        }
        let (target_told, because) = (target.map(tracing::field::display), detail["because"].as_str());
        if kind == "incident" {
            warn!(
                incident = &*by,
                target = target_told,
                times,
                because,
                "incident, of which only a log file tells"
            );
        } else {
            info!(kind, target = target_told, times, because, "not done");
        }
        self.event(kind, target, &detail, clock);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const SECOND: i64 = 1000;

    fn target(number: u32) -> Target {
        Target::host(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)))
    }

    #[test]
    fn the_first_is_told_at_once_and_the_next_ones_together() {
        let mut repeats = Repeats::default();
        let mut told = Vec::new();
        // Ten a second for an hour, then nothing.
        for tick in 0..10 * 7200 {
            let now = Moment(tick * SECOND / 10);
            if tick < 10 * 3600 {
                told.extend(repeats.add("refuse", (target(1), ""), json!(tick), now));
            }
            told.extend(repeats.next(now));
        }
        let times: Vec<u64> = told.iter().map(|told| told.times).collect();
        assert_eq!(times, [1, 9000, 9000, 9000, 8999], "each is told of once");
        assert_eq!(told[1].detail, json!(9000), "with what the last one was about");
        assert_eq!((repeats.since.len(), repeats.next_due()), (0, None), "who rests is forgotten");
        assert!(repeats.add("refuse", (target(1), ""), json!(0), Moment(7200 * SECOND)).is_some());
    }

    #[test]
    fn kinds_and_targets_are_told_apart() {
        let mut repeats = Repeats::default();
        let mut is_told =
            |kind, number| repeats.add(kind, (target(number), ""), json!(0), Moment(0)).is_some();
        assert!(is_told("refuse", 1) && is_told("doubt", 1) && is_told("refuse", 2));
        assert!(!is_told("refuse", 1) && !is_told("doubt", 1) && !is_told("refuse", 2));
        let mut is_told = |rule| repeats.add("refuse", (target(1), rule), json!(0), Moment(0)).is_some();
        assert!(
            is_told("offices") && is_told("nights") && !is_told("offices"),
            "each rule's are counted by themselves"
        );
    }

    #[test]
    fn more_targets_than_are_looked_after_are_told_of_together() {
        let mut repeats = Repeats::default();
        let count = MAX_TARGETS as u32 + 1000;
        let told: Vec<Told> = (0..count)
            .filter_map(|number| repeats.add("refuse", (target(number), ""), json!(0), Moment(0)))
            .collect();
        assert_eq!(told.len(), MAX_TARGETS + 1);
        let together = Subject { kind: "refuse", of: None, by: "".into() };
        assert_eq!(told[MAX_TARGETS].subject, together);
        let late = Moment(EVERY.as_millis() as i64);
        let told = repeats.next(late).unwrap();
        assert_eq!((told.subject, told.times), (together, 999));
        assert_eq!(repeats.next(late), None);
        assert!(repeats.since.len() == 1 && repeats.due.len() == 1);
    }
}
