//! The two clocks guard lives by.
//!
//! [`Wall`] is what people and logs write down; it steps and repeats. [`Moment`] is what decisions are made on;
//! it never runs backwards. Live, a moment is `CLOCK_BOOTTIME`, the clock the kernel judges deadlines by, so
//! suspend counts and clock steps do not. In a replay it is the log's own time.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Wall-clock time in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub i64);

/// A point on the engine's timeline in milliseconds; negative before its origin (before boot, when live).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

impl Wall {
    /// The wall clock now (`CLOCK_REALTIME`).
    pub fn now() -> Self {
        let t = clock_gettime(ClockId::Realtime);
        Self(t.tv_sec * 1000 + t.tv_nsec / 1_000_000)
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

impl fmt::Display for Wall {
    /// RFC 3339 in UTC with whole seconds: `2026-11-20T20:45:07Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.seconds()) {
            Ok(t) => write!(f, "{t}"),
            Err(_) => write!(f, "{}s", self.seconds()),
        }
    }
}

impl Moment {
    /// Time since boot, suspend included (`CLOCK_BOOTTIME`).
    pub fn now() -> Self {
        Self((boot_nanoseconds() / 1_000_000) as i64)
    }

    /// This moment as the kernel compares it: nanoseconds since boot, 0 for anything before.
    pub const fn boot_nanoseconds(self) -> u64 {
        if self.0 < 0 { 0 } else { self.0 as u64 * 1_000_000 }
    }

    /// Time passed since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        let ms = self.0.saturating_sub(earlier.0);
        Duration::from_millis(if ms < 0 { 0 } else { ms as u64 })
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(rhs.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(rhs.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// `CLOCK_BOOTTIME` in nanoseconds.
pub fn boot_nanoseconds() -> u64 {
    let t = clock_gettime(ClockId::Boottime);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Both clocks, read together: how a moment is told as wall time and back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The wall clock at [`Clock::moment`].
    pub wall: Wall,
    /// The engine's timeline.
    pub moment: Moment,
}

impl Clock {
    /// Reads both clocks.
    pub fn now() -> Self {
        Self { wall: Wall::now(), moment: Moment::now() }
    }

    /// Where a wall-clock time lies on the engine's timeline.
    pub const fn moment_of(self, wall: Wall) -> Moment {
        Moment(self.moment.0.saturating_add(wall.0.saturating_sub(self.wall.0)))
    }

    /// What the wall clock shows, or will show, at a moment.
    pub const fn wall_of(self, moment: Moment) -> Wall {
        Wall(self.wall.0.saturating_add(moment.0.saturating_sub(self.moment.0)))
    }
}
