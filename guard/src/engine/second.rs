//! Seconds in four bytes, for tables with many of them.

use std::time::Duration;

use crate::time::Moment;

/// A second on the engine's timeline. Spans of up to 68 years are told right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Second(u32);

impl Second {
    /// The second a moment lies in.
    pub(super) const fn of(moment: Moment) -> Self {
        Self(moment.0.div_euclid(1000) as u32)
    }

    /// Time since `earlier`, in whole seconds; none if that is later.
    pub(super) const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.seconds_since(earlier) as u64)
    }

    /// Seconds since `earlier`; 0 if that is later.
    #[inline]
    pub(super) const fn seconds_since(self, earlier: Self) -> i32 {
        let seconds = self.0.wrapping_sub(earlier.0) as i32;
        if seconds > 0 { seconds } else { 0 }
    }

    /// The same second on a timeline that is so many seconds ahead.
    pub(super) const fn shifted(self, seconds: i64) -> Self {
        Self(self.0.wrapping_add(seconds as u32))
    }
}
