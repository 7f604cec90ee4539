//! How a source does against its own past: whether it has fallen silent, whether its lines are still understood, whether
//! reading keeps up, whether lines were lost. Pure: the time is an argument.

use std::fmt;
use std::time::Duration;

use super::ReadCount;
use crate::time::Moment;

mod share;
#[cfg(test)]
mod tests;

use share::Share;

/// How long a source is learnt before it is held against its past …
const LEARNING: Duration = Duration::from_secs(3600);
/// … and how often it must have been read before it can be silent.
const LEAST_READ: u32 = 10;
/// A silence so many times the longest usual one is a fault …
const TIMES: u32 = 10;
/// … if it is at least this long.
const LEAST_SILENCE: Duration = Duration::from_secs(600);
/// A silence that was a fault and has ended teaches this part of itself, so that one up to twice as long is usual: a
/// source that writes once a day is told of once.
const TAUGHT: u32 = 5;
/// Time after which half of a usual silence is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(3 * 86_400);
/// Bytes of a file not read yet that are too many if there are so many for [`TOO_LONG`].
pub const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// The same for entries of the journal.
pub const MOST_ENTRIES: u64 = 10_000;
/// How long reading may be that far behind.
const TOO_LONG: Duration = Duration::from_secs(60);
/// How long after lines were lost this is told.
const GAPS_TOLD: Duration = Duration::from_secs(3600);
/// A source that nobody looked at for longer did not fall silent meanwhile: the machine slept.
const ASLEEP: Duration = Duration::from_secs(120);

/// What is wrong with a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// No line for far longer than usual.
    Silent {
        /// For how long.
        silence: Duration,
        /// The longest usual silence.
        usual: Duration,
    },
    /// Patterns match far fewer of the lines of programs that filters read.
    Unmatched {
        /// Share of unmatched lines now.
        now: f64,
        /// The usual share.
        usual: f64,
    },
    /// Reading has been too far behind for too long.
    Behind {
        /// Bytes or entries.
        behind: u64,
    },
    /// Lines were lost before they could be read.
    Gaps {
        /// How often since the last time all was well.
        gaps: u64,
    },
}

impl Fault {
    /// Every name, in their order.
    pub const NAMES: [&'static str; 4] = ["silent", "unmatched", "behind", "gaps"];

    /// The fault as metrics and events name it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Silent { .. } => Self::NAMES[0],
            Self::Unmatched { .. } => Self::NAMES[1],
            Self::Behind { .. } => Self::NAMES[2],
            Self::Gaps { .. } => Self::NAMES[3],
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent { silence, usual } => write!(
                f,
                "silent for {} min, while its pauses are at most {} s otherwise; \
                 see whether programs still log there",
                silence.as_secs() / 60,
                usual.as_secs().max(1),
            ),
            Self::Unmatched { now, usual } => write!(
                f,
                "patterns miss {:.0} % of the lines of programs that filters read, usually {:.0} %; \
                 a program may write its messages otherwise now, which `guardctl explain` shows",
                now * 100.0,
                usual * 100.0,
            ),
            Self::Behind { behind } => {
                write!(
                    f,
                    "reading is behind by {behind} for more than a minute; guard goes on as fast as it can"
                )
            }
            Self::Gaps { gaps } => write!(
                f,
                "lines were lost before they could be read (gaps of late: {gaps}); \
                 logs may be rotated or cut faster than they are read"
            ),
        }
    }
}

/// What is known of one source.
#[derive(Clone, Debug)]
pub struct Health {
    /// When anybody asked or told last.
    seen: Moment,
    /// When the first line came, or was to be taken as if.
    first: Option<Moment>,
    /// When the last line came.
    last: Moment,
    /// How often lines came.
    times_read: u32,
    /// The longest silence between lines, as it was at `last`.
    usual: Duration,
    share: Share,
    behind: u64,
    /// Since when it has been too far behind.
    behind_since: Option<Moment>,
    /// Losses that are still told, and when the last was.
    gaps: Option<(u64, Moment)>,
    most_behind: u64,
}

impl Health {
    /// A source that nothing is known of; being behind by more than `most_behind` is too much.
    pub fn new(now: Moment, most_behind: u64) -> Self {
        Self {
            seen: now,
            first: None,
            last: now,
            times_read: 0,
            usual: Duration::ZERO,
            share: Share::new(now),
            behind: 0,
            behind_since: None,
            gaps: None,
            most_behind,
        }
    }

    /// Lines were read.
    pub fn read(&mut self, read: &ReadCount, now: Moment) {
        self.wake(now);
        if read.lines > 0 {
            let silence = now.since(self.last);
            if self.first.is_some() {
                let taught = if self.is_silent(now) { silence / TAUGHT } else { silence };
                self.usual = self.usual_at(now).max(taught);
            }
            self.first.get_or_insert(now);
            self.last = now;
            self.times_read = self.times_read.saturating_add(1);
        }
        self.share.add(read.known, read.matched, now);
        if read.gaps > 0 {
            let before = self.gaps.map_or(0, |(gaps, _)| gaps);
            self.gaps = Some((before + read.gaps, now));
        }
    }

    /// Reading is so far behind.
    pub fn lags(&mut self, behind: u64, now: Moment) {
        self.behind = behind;
        self.behind_since = (behind > self.most_behind).then(|| self.behind_since.unwrap_or(now));
    }

    /// What is wrong now.
    pub fn faults(&mut self, now: Moment) -> Vec<Fault> {
        self.wake(now);
        let mut faults = Vec::new();
        if self.is_silent(now) {
            faults.push(Fault::Silent { silence: self.silence(now), usual: self.usual_at(now) });
        }
        if self.has_learnt(now)
            && let Some((now, usual)) = self.share.fell()
        {
            faults.push(Fault::Unmatched { now, usual });
        }
        if self.behind_since.is_some_and(|since| now.since(since) > TOO_LONG) {
            faults.push(Fault::Behind { behind: self.behind });
        }
        self.gaps.take_if(|(_, last)| now.since(*last) > GAPS_TOLD);
        faults.extend(self.gaps.map(|(gaps, _)| Fault::Gaps { gaps }));
        faults
    }

    /// Time since the last line; zero before the first.
    pub fn silence(&self, now: Moment) -> Duration {
        if self.first.is_some() { now.since(self.last) } else { Duration::ZERO }
    }

    /// Share of lines that no pattern matched among the latest of programs that filters read.
    pub fn unmatched(&self) -> f64 {
        self.share.unmatched()
    }

    fn is_silent(&self, now: Moment) -> bool {
        let longest = (self.usual_at(now) * TIMES).max(LEAST_SILENCE);
        self.has_learnt(now) && self.times_read >= LEAST_READ && self.silence(now) >= longest
    }

    fn usual_at(&self, now: Moment) -> Duration {
        let age = now.since(self.last).as_secs_f64() / FORGOTTEN.as_secs_f64();
        self.usual.mul_f64((-age).exp2())
    }

    fn has_learnt(&self, now: Moment) -> bool {
        self.first.is_some_and(|first| now.since(first) >= LEARNING)
    }

    /// Leaves out the time in which nothing ran.
    fn wake(&mut self, now: Moment) {
        let asleep = now.since(self.seen);
        if asleep > ASLEEP {
            self.last = self.last + asleep;
            self.first = self.first.map(|first| first + asleep);
            self.behind_since = self.behind_since.map(|since| since + asleep);
        }
        self.seen = now;
    }
}
