//! How much is going on: failures of all sources in the last minute, and what threshold and length become by it.

use std::time::Duration;

use crate::config::{Adapt, Decide};
use crate::sighting::Points;
use crate::time::Moment;

/// Seconds that are counted.
const SECONDS: usize = 60;
/// Failures in a minute from which on it is busy.
const BUSY: u32 = 20;
/// Failures in a minute up to which it is quiet.
const QUIET: u32 = 5;
/// The threshold never falls below this.
const LOWEST: Points = Points(3000);
/// The threshold never rises above this.
const HIGHEST: Points = Points(10_000);

/// Failures of the last minute, by the second.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    counts: [u32; SECONDS],
    sum: u32,
    /// The second that is counted now.
    second: i64,
    /// Where it is counted.
    place: usize,
    /// When the next one begins.
    next: Moment,
}

/// What the pace makes of threshold and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Adapted {
    /// Points that lead to a ban.
    pub(super) threshold: Points,
    /// Length of a ban in percent of what the ladder says.
    pub(super) percent: u32,
    /// Whether earlier bans have lowered the threshold.
    pub(super) is_known: bool,
}

impl Pace {
    /// Nothing has happened.
    pub(super) const fn new() -> Self {
        Self { counts: [0; SECONDS], sum: 0, second: i64::MIN, place: 0, next: Moment(i64::MIN) }
    }

    /// One more failure.
    pub(super) fn add(&mut self, now: Moment) {
        self.pass(now);
        self.counts[self.place] += 1;
        self.sum += 1;
    }

    /// Failures in the minute before `now`.
    pub(super) fn failures(&mut self, now: Moment) -> u32 {
        self.pass(now);
        self.sum
    }

    /// The seconds that failures are counted of, oldest first, and how many there were in each.
    pub(super) fn kept(&self) -> Vec<(i64, u32)> {
        let seconds = (0..SECONDS as i64).rev().map(|ago| self.second.saturating_sub(ago));
        let counted = seconds.map(|second| (second, self.counts[second.rem_euclid(SECONDS as i64) as usize]));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// The pace that was kept, on a timeline that is so many seconds ahead. What lies in the future is of a clock that was set
    /// back meanwhile, and counts for nothing.
    pub(super) fn restored(kept: &[(i64, u32)], ahead: i64, now: Moment) -> Self {
        let mut pace = Self::new();
        for (second, count) in kept.iter().map(|(second, count)| (second.saturating_add(ahead), *count)) {
            if second <= now.0.div_euclid(1000) && second > pace.second {
                pace.pass(Moment(second.saturating_mul(1000)));
                pace.counts[second.rem_euclid(SECONDS as i64) as usize] = count;
                pace.sum = pace.sum.saturating_add(count);
            }
        }
        pace
    }

    /// Threshold and length as the pace has them.
    pub(super) fn adapt(&mut self, decide: &Decide, now: Moment) -> Adapted {
        let usual = Adapted { threshold: decide.threshold, percent: 100, is_known: false };
        if decide.adapt == Adapt::Off {
            return usual;
        }
        let Points(threshold) = decide.threshold;
        match self.failures(now) {
            BUSY.. => Adapted {
                threshold: Points((threshold - 2000).max(LOWEST.0).min(threshold)),
                percent: 200,
                ..usual
            },
            ..=QUIET if decide.adapt == Adapt::Both => Adapted {
                threshold: Points((threshold + 1000).min(HIGHEST.0).max(threshold)),
                percent: 80,
                ..usual
            },
            _ => usual,
        }
    }

    #[inline]
    fn pass(&mut self, now: Moment) {
        if now >= self.next {
            self.pass_to(now.0.div_euclid(1000));
        }
    }

    fn pass_to(&mut self, second: i64) {
        let place = |second: i64| second.rem_euclid(SECONDS as i64) as usize;
        let passed = second.saturating_sub(self.second).min(SECONDS as i64);
        for before in 0..passed {
            self.sum -= std::mem::take(&mut self.counts[place(second - before)]);
        }
        (self.second, self.place) = (second, place(second));
        self.next = Moment(second.saturating_add(1).saturating_mul(1000));
    }
}

/// A time as long as a share of another.
pub(super) fn percent_of(length: Duration, percent: u32) -> Duration {
    length.saturating_mul(percent) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapting(adapt: Adapt) -> Decide {
        Decide { adapt, ..Decide::default() }
    }

    #[test]
    fn failures_of_the_last_minute_are_counted_and_no_others() {
        let mut pace = Pace::new();
        for second in 0..200 {
            pace.add(Moment(second * 1000));
            let counted = u32::try_from(second + 1).unwrap().min(60);
            assert_eq!(pace.failures(Moment(second * 1000)), counted);
        }
        assert_eq!(pace.failures(Moment(229_000)), 30);
        assert_eq!(pace.failures(Moment(260_000)), 0);
        pace.add(Moment(100_000));
        assert_eq!(pace.failures(Moment(100_000)), 1, "time does not run backwards");
    }

    #[test]
    fn it_goes_on_where_it_was_kept_on_another_timeline() {
        let mut pace = Pace::new();
        for second in 0..90 {
            pace.add(Moment(second * 1000));
        }
        let ahead = 1_000_000;
        let now = |second: i64| Moment((second + ahead) * 1000);
        let mut restored = Pace::restored(&pace.kept(), ahead, now(100));
        for second in 100..160 {
            assert_eq!(restored.failures(now(second)), pace.failures(Moment(second * 1000)), "{second}");
        }
        assert_eq!(
            Pace::restored(&[(5, 9), (3, 9)], 0, Moment(4000)).failures(Moment(4000)),
            9,
            "none ahead"
        );
        assert_eq!(Pace::new().kept(), []);
    }

    #[test]
    fn busy_is_stricter_and_quiet_more_patient_if_that_is_wanted() {
        let mut pace = Pace::new();
        let of = |pace: &mut Pace, adapt| {
            let adapted = pace.adapt(&adapting(adapt), Moment(0));
            (adapted.threshold.0, adapted.percent)
        };
        assert_eq!(of(&mut pace, Adapt::Off), (5000, 100));
        assert_eq!(of(&mut pace, Adapt::Stricter), (5000, 100));
        assert_eq!(of(&mut pace, Adapt::Both), (6000, 80));
        for _ in 0..20 {
            pace.add(Moment(0));
        }
        assert_eq!(of(&mut pace, Adapt::Off), (5000, 100));
        assert_eq!(of(&mut pace, Adapt::Stricter), (3000, 200));
        assert_eq!(of(&mut pace, Adapt::Both), (3000, 200));
    }

    #[test]
    fn a_threshold_beyond_the_bounds_stays_as_it_was_set() {
        let mut pace = Pace::new();
        let of = |pace: &mut Pace, threshold| {
            let decide = Decide { threshold: Points(threshold), ..adapting(Adapt::Both) };
            pace.adapt(&decide, Moment(0)).threshold.0
        };
        assert_eq!((of(&mut pace, 20_000), of(&mut pace, 9500)), (20_000, 10_000));
        (0..20).for_each(|_| pace.add(Moment(0)));
        assert_eq!((of(&mut pace, 1000), of(&mut pace, 4000)), (1000, 3000));
    }
}
