//! A storm: so many bans at once that what reaches further than one address waits. Scoring and bans of single addresses
//! go on, because an attack is when they are needed most.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BanOrder, Cause};
use crate::config::Decide;
use crate::sighting::PatternId;
use crate::target::Target;
use crate::time::Moment;

/// Orders that wait at most. A prefix that comes later is counted on, and ordered once it is over and one more of its
/// members is banned.
const HELD: usize = 1024;

/// Whether so many bans come at once that what reaches further than one address has to wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Storm {
    /// When the last bans began, oldest first; as many as make a storm.
    bans: VecDeque<Moment>,
    /// Until when there is one; a past moment if there is none.
    until: Option<Moment>,
    /// Orders that wait for its end.
    held: Vec<Held>,
    /// Orders that could not wait for it.
    unheld: u32,
}

/// What becomes of an order in a storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It waits.
    New,
    /// It waits already.
    Known,
    /// Too many wait.
    Full,
}

/// What a storm leaves behind.
#[derive(Debug)]
pub(super) struct Ended {
    /// Orders that have waited.
    pub(super) held: Vec<Held>,
    /// Orders that could not.
    pub(super) unheld: u32,
}

/// An order that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) target: Target,
    pub(super) cause: Cause,
    pub(super) pattern: PatternId,
}

/// A storm as the store keeps it: its moments in milliseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct KeptStorm {
    bans: Vec<i64>,
    until: Option<i64>,
    held: Vec<KeptOrder>,
    unheld: u32,
}

/// An order that waits, as the store keeps it. Its pattern is told by names: numbers are of one set of filters.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeptOrder {
    target: Target,
    cause: Cause,
    filter: String,
    pattern: String,
}

impl Storm {
    /// One more ban. Answers whether a storm begins with it.
    pub(super) fn ban(&mut self, decide: &Decide, now: Moment) -> bool {
        if decide.storm_bans == 0 {
            return false;
        }
        self.bans.push_back(now);
        while self.bans.len() > decide.storm_bans {
            self.bans.pop_front();
        }
        let is_one = self.bans.len() == decide.storm_bans
            && self.bans.front().is_some_and(|first| now.since(*first) < decide.storm_within);
        if !is_one {
            return false;
        }
        let begins = !self.holds(now);
        self.until = Some(now + decide.storm_lasts);
        begins
    }

    /// Whether there is a storm.
    pub(super) fn holds(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// When it ends, if it has begun and its end was not taken note of.
    pub(super) const fn until(&self) -> Option<Moment> {
        self.until
    }

    /// Lets an order wait, if it can.
    pub(super) fn hold(&mut self, order: &BanOrder) -> Hold {
        let BanOrder { target, cause, pattern, .. } = *order;
        if self.held.iter().any(|held| held.target == target) {
            return Hold::Known;
        }
        if self.held.len() >= HELD {
            self.unheld = self.unheld.saturating_add(1);
            return Hold::Full;
        }
        self.held.push(Held { target, cause, pattern });
        Hold::New
    }

    /// Takes note of its end: once it is over, what it leaves behind.
    pub(super) fn end(&mut self, now: Moment) -> Option<Ended> {
        self.until.take_if(|until| *until <= now)?;
        Some(Ended { held: std::mem::take(&mut self.held), unheld: std::mem::take(&mut self.unheld) })
    }

    /// Patterns have other numbers from now on.
    pub(super) fn renumber(&mut self, mut number: impl FnMut(PatternId) -> PatternId) {
        for held in &mut self.held {
            held.pattern = number(held.pattern);
        }
    }

    /// What is kept of it, on a timeline that is so many milliseconds ahead. `name` knows a pattern's filter and text.
    pub(super) fn kept<'n>(&self, ahead: i64, name: impl Fn(PatternId) -> (&'n str, &'n str)) -> KeptStorm {
        let order = |held: &Held| {
            let (filter, pattern) = name(held.pattern);
            let (filter, pattern) = (filter.to_owned(), pattern.to_owned());
            KeptOrder { target: held.target, cause: held.cause, filter, pattern }
        };
        KeptStorm {
            bans: self.bans.iter().map(|ban| ban.0.saturating_add(ahead)).collect(),
            until: self.until.map(|until| until.0.saturating_add(ahead)),
            held: self.held.iter().map(order).collect(),
            unheld: self.unheld,
        }
    }

    /// The storm that was kept, on a timeline that is so many milliseconds ahead. What lies in the future is of a clock that
    /// was set back meanwhile: no storm is longer than it would be if it began now. `number` finds a pattern by its filter and
    /// its text.
    pub(super) fn restored(
        kept: KeptStorm,
        ahead: i64,
        now: Moment,
        lasts: Duration,
        number: impl Fn(&str, &str) -> PatternId,
    ) -> Self {
        let moment = |kept: i64| Moment(kept.saturating_add(ahead));
        let order = |KeptOrder { target, cause, filter, pattern }| Held {
            target,
            cause,
            pattern: number(&filter, &pattern),
        };
        Self {
            bans: kept.bans.into_iter().map(moment).filter(|ban| *ban <= now).collect(),
            until: kept.until.map(|until| moment(until).min(now + lasts)),
            held: kept.held.into_iter().map(order).collect(),
            unheld: kept.unheld,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_that_wait_keep_their_pattern_whatever_its_number() {
        let pattern = PatternId { filter: 3, pattern: 1 };
        let target = Target::host(std::net::Ipv4Addr::new(203, 0, 113, 7).into());
        let held = vec![Held { target, cause: Cause::Decoy, pattern }];
        let mut storm = Storm { bans: VecDeque::new(), until: Some(Moment(0)), held, unheld: 0 };
        storm.renumber(|id| PatternId { filter: id.filter + 4, ..id });
        let ended = storm.end(Moment(1)).unwrap();
        assert_eq!(ended.held[0].pattern, PatternId { filter: 7, pattern: 1 });
    }

    #[test]
    fn a_storm_begins_with_many_bans_and_lasts_while_they_go_on() {
        let decide = Decide { storm_bans: 3, ..Decide::default() };
        let mut storm = Storm::default();
        let begins: Vec<bool> =
            [0, 1000, 2000, 3000].map(|ms| storm.ban(&decide, Moment(ms))).into_iter().collect();
        assert_eq!(begins, [false, false, true, false]);
        // A day ahead of a clock that was set back.
        let ahead = Storm::restored(
            storm.kept(0, |_| ("", "")),
            86_400_000,
            Moment(4000),
            decide.storm_lasts,
            |_, _| PatternId::default(),
        );
        assert_eq!((ahead.bans.len(), ahead.until), (0, Some(Moment(304_000))));

        assert!(storm.holds(Moment(302_999)) && storm.end(Moment(302_999)).is_none());
        assert!(storm.end(Moment(303_000)).is_some() && !storm.holds(Moment(303_000)));
        assert!(storm.end(Moment(400_000)).is_none());

        let mut calm = Storm::default();
        assert!(
            !(0..9).any(|ban| calm.ban(&decide, Moment(ban * 31_000))),
            "each within a minute of one other"
        );
    }
}
