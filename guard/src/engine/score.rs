//! The score: a bucket that fills with points and leaks one whole point at a time.
//!
//! A full score leaks away over the window: one point each `window / threshold`, counted from the first point in an
//! empty bucket. Because it leaks in whole steps, five failures in quick succession are exactly five points, and
//! anybody can follow the sum by hand.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sighting::Points;
use crate::time::Moment;

/// How a score leaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leak {
    /// Milliseconds from one step to the next, at least 1.
    period: i64,
    /// What leaks at a step, in thousandths: one point, or the threshold if that is less.
    step: i64,
}

impl Leak {
    /// The leak that empties a full score over the window.
    pub(super) fn new(threshold: Points, window: Duration) -> Self {
        let threshold = i64::from(threshold.0.max(1));
        let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX / 1000).min(i64::MAX / 1000);
        let step = threshold.min(1000);
        Self { period: (window * step / threshold).max(1), step }
    }

    /// The same, as one that may have been tampered with.
    pub(super) fn checked(self) -> Self {
        Self { period: self.period.max(1), step: self.step.max(1) }
    }

    /// Time from one step to the next.
    pub(super) const fn period(self) -> Duration {
        Duration::from_millis(self.period as u64)
    }

    /// Whole steps in a time in milliseconds, which may be negative. Nearly always there are none, and a division takes
    /// longer than all the rest of a score.
    #[inline]
    const fn steps(self, time: i64) -> i64 {
        if -self.period < time && time < self.period { 0 } else { time / self.period }
    }

    /// Points that leak away in `steps` steps.
    fn of(self, steps: i64) -> i64 {
        steps.saturating_mul(self.step)
    }
}

/// Points of one source at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Score {
    /// Up to when leaking is accounted for. The next step is one period later.
    settled: Moment,
    /// Thousandths, never negative.
    points: i32,
}

impl Score {
    /// An empty score.
    pub(super) const fn empty(at: Moment) -> Self {
        Self { settled: at, points: 0 }
    }

    /// A score as it was kept: so many points when leaking was last accounted for.
    pub(super) fn kept(points: Points, settled: Moment) -> Self {
        Self { settled, points: points.0.max(0) }
    }

    /// The points when leaking was last accounted for: at [`Self::settled`].
    pub(super) const fn points(self) -> Points {
        Points(self.points)
    }

    /// The points left at a moment.
    #[inline]
    pub(super) fn at(self, at: Moment, leak: Leak) -> Points {
        let steps = leak.steps(at.0.saturating_sub(self.settled.0).max(0));
        Points((i64::from(self.points) - leak.of(steps)).max(0) as i32)
    }

    /// Adds points (negative ones take away) that are due since `at`, and answers the sum. Points of a line that
    /// arrives late count less what would have leaked from them since.
    #[inline]
    pub(super) fn add(&mut self, points: Points, at: Moment, leak: Leak) -> Points {
        let steps = leak.steps(at.0.saturating_sub(self.settled.0));
        let mut points = i64::from(points.0);
        if steps >= 0 {
            self.points = (i64::from(self.points) - leak.of(steps)).max(0) as i32;
            self.settled = Moment(self.settled.0.saturating_add(steps.saturating_mul(leak.period)));
        } else {
            points = (points - leak.of(-steps)).max(points.min(0));
        }
        if self.points == 0 {
            self.settled = self.settled.max(at);
        }
        self.points = (i64::from(self.points) + points).clamp(0, i64::from(i32::MAX)) as i32;
        Points(self.points)
    }

    /// Takes away what has leaked up to a moment: from then on it may leak otherwise.
    pub(super) fn settle(&mut self, now: Moment, leak: Leak) {
        if now > self.settled {
            *self = Self { settled: now, points: self.at(now, leak).0 };
        }
    }

    /// Takes all points away.
    pub(super) const fn clear(&mut self) {
        self.points = 0;
    }

    /// Up to when leaking is accounted for. The older of two equal scores makes room first.
    pub(super) const fn settled(self) -> Moment {
        self.settled
    }
}
