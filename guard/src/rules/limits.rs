//! Bounds of rules, and how often a rule may act.

use std::time::Duration;

use crate::time::Moment;

/// Rules of one set.
pub(super) const MAX_RULES: usize = 10_000;
/// Conditions of one rule, each key counted.
pub(super) const MAX_CONDITIONS: usize = 1_000;
/// Conditions inside each other.
pub(super) const MAX_DEPTH: usize = 16;
/// Values of all lists of one file.
pub(super) const MAX_VALUES: usize = 1_000_000;
/// Bytes of one text.
pub(super) const MAX_TEXT: usize = 4096;
/// Bytes that the regular expressions of one condition take.
pub(super) const MAX_REGEX: usize = 1024 * 1024;
/// Bytes that the search with them may keep.
pub(super) const REGEX_CACHE: usize = 64 * 1024;
/// Bytes that the regular expressions of one file take, the memory of their searches included.
pub(super) const MAX_ALL_REGEX: usize = 64 * 1024 * 1024;
/// Bytes of one file with rules.
pub(super) const MAX_FILE: u64 = 16 << 20;
/// Files of a folder.
pub(super) const MAX_FILES: usize = 1_000;
/// Faults and warnings that are told, of each file.
pub(super) const MAX_TOLD: usize = 50;
/// Rules that have a label of their own in metrics.
pub(super) const MAX_LABELS: usize = 100;
/// Tags of one rule.
pub(super) const MAX_TAGS: usize = 16;
/// Arguments of a command, its path included.
pub(super) const MAX_ARGUMENTS: usize = 64;

/// At most so often in a stretch of time. The stretch begins with the first time; when it is over, the next begins with
/// the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How often, at least once.
    pub max: u32,
    /// In which time.
    pub window: Duration,
}

impl RateLimit {
    /// What holds for an action that tells others, or for what a simulated rule records, where nothing else is said:
    /// 60 a minute.
    pub const USUAL: Self = Self { max: 60, window: Duration::from_secs(60) };
}

/// How much of a [`RateLimit`] is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    since: Moment,
    count: u32,
}

impl Used {
    /// Whether it may happen once more; if so, it is counted.
    pub(super) fn admits(&mut self, limit: RateLimit, now: Moment) -> bool {
        if self.count == 0 || now.since(self.since) >= limit.window {
            *self = Self { since: now, count: 0 };
        }
        let admitted = self.count < limit.max;
        self.count += u32::from(admitted);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_admits_so_many_and_the_next_begins_with_the_next_time() {
        let limit = RateLimit { max: 2, window: Duration::from_secs(10) };
        let mut used = Used::default();
        let admitted: Vec<bool> =
            [5, 6, 7, 14, 15, 24, 26].map(|second| used.admits(limit, Moment(second * 1000))).into();
        assert_eq!(admitted, [true, true, false, false, true, true, true]);
    }

    #[test]
    fn time_before_the_clock_began_is_time() {
        let limit = RateLimit { max: 1, window: Duration::from_secs(1) };
        let mut used = Used::default();
        assert!(used.admits(limit, Moment(i64::MIN)) && !used.admits(limit, Moment(i64::MIN + 999)));
        assert!(used.admits(limit, Moment(i64::MIN + 1000)));
    }
}
