//! The two clocks guard lives by.
//!
//! [`Wall`] is what people and logs write down; it steps and repeats. [`Moment`] is what decisions are made on;
//! it never runs backwards. Live, a moment is `CLOCK_BOOTTIME`, the clock the kernel judges deadlines by, so
//! suspend counts and clock steps do not. In a replay it is the log's own time.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

    /// Time since an earlier one, zero if it is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Moment(self.0).since(Moment(earlier.0))
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

impl FromStr for Wall {
    type Err = ();

    /// RFC 3339, with its zone.
    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse::<jiff::Timestamp>().map(|time| Self(time.as_millisecond())).map_err(|_| ())
    }
}

impl Serialize for Wall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Wall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("a time is written like 2026-11-20T20:45:07Z"))
    }
}

impl Moment {
    /// Time since boot, suspend included (`CLOCK_BOOTTIME`).
    pub fn now() -> Self {
        Self((boot_nanoseconds() / 1_000_000) as i64)
    }

    /// This moment as the kernel compares it: nanoseconds since boot, 0 for anything before, the greatest number for
    /// what is more than 584 years after.
    pub const fn boot_nanoseconds(self) -> u64 {
        if self.0 < 0 { 0 } else { (self.0 as u64).saturating_mul(1_000_000) }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    /// The machine's two clocks, and what can happen to them.
    struct Machine(Clock);

    impl Machine {
        fn new() -> Self {
            Self(Clock { wall: Wall(1_795_132_800_000), moment: Moment(50_000) })
        }

        /// Time passes, awake or suspended: `CLOCK_BOOTTIME` counts both.
        fn pass(&mut self, milliseconds: i64) {
            self.step(milliseconds);
            self.0.moment.0 += milliseconds;
        }

        /// Somebody sets the wall clock.
        fn step(&mut self, milliseconds: i64) {
            self.0.wall.0 += milliseconds;
        }

        /// A line that is written now and read a moment later.
        fn line(&mut self) -> Moment {
            let written = self.0.wall;
            self.pass(5);
            self.0.moment_of(written).min(self.0.moment)
        }
    }

    #[test]
    fn lines_read_as_they_are_written_keep_their_distance_through_every_step_of_the_wall_clock() {
        let mut machine = Machine::new();
        let first = machine.line();
        for step in [HOUR, -HOUR, -24 * HOUR, 48 * HOUR] {
            machine.step(step);
            let before = machine.line();
            machine.pass(60_000);
            let after = machine.line();
            assert_eq!(after.since(before), Duration::from_millis(60_005), "{step}");
        }
        assert_eq!(machine.line().since(first), Duration::from_millis(4 * 60_010 + 5));
    }

    #[test]
    fn a_line_read_across_a_step_is_off_by_the_step_and_never_in_the_future() {
        let mut machine = Machine::new();
        let written = machine.0;
        machine.step(-HOUR);
        assert_eq!(
            machine.0.moment_of(written.wall).min(machine.0.moment),
            machine.0.moment,
            "back: it counts as new"
        );
        machine.step(2 * HOUR);
        let at = machine.0.moment_of(written.wall);
        assert_eq!(machine.0.moment.since(at), Duration::from_secs(3600), "forward: it counts as old");
    }

    #[test]
    fn a_deadline_passes_while_the_machine_sleeps_and_a_step_does_not_move_it() {
        let mut machine = Machine::new();
        let deadline = machine.0.moment + Duration::from_secs(600);
        let told = machine.0.wall_of(deadline);
        machine.step(HOUR);
        assert!(machine.0.moment < deadline && machine.0.wall_of(deadline).0 == told.0 + HOUR);
        machine.pass(600_000);
        assert_eq!(machine.0.moment, deadline);
    }

    proptest! {
        #[test]
        fn there_and_back_is_the_same_time(wall in -1i64 << 60..1 << 60, moment in -1i64 << 60..1 << 60, at in -1i64 << 60..1 << 60) {
            let clock = Clock { wall: Wall(wall), moment: Moment(moment) };
            prop_assert_eq!(clock.wall_of(clock.moment_of(Wall(at))), Wall(at));
            prop_assert_eq!(clock.moment_of(clock.wall_of(Moment(at))), Moment(at));
        }

        #[test]
        fn no_time_is_too_far(wall: i64, moment: i64, at: i64) {
            let clock = Clock { wall: Wall(wall), moment: Moment(moment) };
            let _ = (clock.moment_of(Wall(at)), clock.wall_of(Moment(at)), Moment(at).since(Moment(moment)));
            let _ = Wall(at).to_string();
            let (first, second) = (Moment(at.min(moment)), Moment(at.max(moment)));
            prop_assert!(first.boot_nanoseconds() <= second.boot_nanoseconds());
        }
    }
}
