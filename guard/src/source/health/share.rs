//! The share of lines that patterns match, over the latest lines and over long.

use std::time::Duration;

use crate::time::Moment;

/// Lines that come within this time count together: of the lines of one connection the first must not outweigh those
/// that follow in the same instant.
const TOGETHER: Duration = Duration::from_secs(5);
/// Lines before anything is said.
const ENOUGH: u64 = 100;
/// Lines, and time, of which the latest share is the mean.
const LATEST: (f64, Duration) = (100.0, Duration::from_secs(600));
/// The same for the usual share.
const LONG: (f64, Duration) = (2000.0, Duration::from_secs(6 * 3600));
/// Usual shares below this say nothing when they fall.
const LEAST: f64 = 0.05;
/// The share has fallen if it is this part of the usual one …
const FALLEN: f64 = 0.2;
/// … and has come back when it is this part of it again.
const BACK: f64 = 0.5;

/// Means that follow slowly and fast. An attack must not decide what is usual, so lines count for no more than the time
/// in which they came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    latest: Mean,
    long: Mean,
    lines: u64,
    /// Lines not yet in the means, and those of them that patterns matched.
    pending: (u64, u64),
    /// When the means were last brought up to date.
    at: Moment,
    fallen: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Share {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            latest: Mean::default(),
            long: Mean::default(),
            lines: 0,
            pending: (0, 0),
            at: now,
            fallen: false,
        }
    }

    /// So many lines came, of which patterns matched so many.
    pub(super) fn add(&mut self, lines: u64, matched: u64, now: Moment) {
        if lines == 0 {
            return;
        }
        self.lines += lines;
        self.pending = (self.pending.0 + lines, self.pending.1 + matched);
        let time = now.since(self.at);
        if time < TOGETHER {
            return;
        }
        self.at = now;
        let (lines, matched) = std::mem::take(&mut self.pending);
        let share = (matched as f64 / lines as f64).min(1.0);
        self.latest.add(share, lines, time, LATEST);
        self.long.add(share, lines, time, LONG);
        let (latest, usual) = (self.latest.value(), self.long.value());
        let part = if self.fallen { BACK } else { FALLEN };
        self.fallen = self.lines >= ENOUGH && usual >= LEAST && latest < usual * part;
    }

    /// Shares of unmatched lines, now and usually, if that of matched ones has fallen.
    pub(super) fn fell(&self) -> Option<(f64, f64)> {
        self.fallen.then(|| (self.unmatched(), 1.0 - self.long.value()))
    }

    /// Share of unmatched lines among the latest; 0 before the first.
    pub(super) fn unmatched(&self) -> f64 {
        if self.latest.weight > 0.0 { 1.0 - self.latest.value() } else { 0.0 }
    }
}

impl Mean {
    fn add(&mut self, share: f64, lines: u64, time: Duration, (most_lines, most_time): (f64, Duration)) {
        let part = (lines as f64 / most_lines).min(time.as_secs_f64() / most_time.as_secs_f64());
        let kept = (-part).exp();
        self.sum = self.sum * kept + share * (1.0 - kept);
        self.weight = self.weight * kept + (1.0 - kept);
    }

    fn value(self) -> f64 {
        if self.weight > 0.0 { self.sum / self.weight } else { 0.0 }
    }
}
