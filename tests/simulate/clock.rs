//! Time that passes when the simulation says so, and the two clocks of the machine that show it.

use guard::time::{Clock, Moment, Wall};

pub(crate) const SECOND: i64 = 1000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// What the wall clock shows at the start of every simulation: 2026-11-20 12:00 UTC.
const START: i64 = 1_795_176_000_000;
/// How long the machine has been up by then.
const UPTIME: i64 = 3 * HOUR;

/// The machine's clocks. Time itself is counted in milliseconds since the start of the simulation.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    now: i64,
    boot: i64,
    stepped: i64,
}

impl Clocks {
    pub(crate) fn new() -> Self {
        Self { now: 0, boot: -UPTIME, stepped: 0 }
    }

    /// The time.
    pub(crate) fn now(&self) -> i64 {
        self.now
    }

    /// Time goes on until then.
    pub(crate) fn pass(&mut self, until: i64) {
        assert!(until >= self.now, "time does not run backwards");
        self.now = until;
    }

    /// Somebody sets the wall clock.
    pub(crate) fn step(&mut self, milliseconds: i64) {
        self.stepped += milliseconds;
    }

    /// The machine has just booted.
    pub(crate) fn boot(&mut self) {
        self.boot = self.now;
    }

    /// What the clocks show.
    pub(crate) fn read(&self) -> Clock {
        Clock { wall: Wall(START + self.now + self.stepped), moment: Moment(self.now - self.boot) }
    }

    /// The time at which the clock since boot shows a moment.
    pub(crate) fn time_of(&self, moment: Moment) -> i64 {
        moment.0.saturating_add(self.boot)
    }
}

/// A time as a trace shows it: hours, minutes, seconds and milliseconds since the start.
pub(crate) fn show(time: i64) -> String {
    let (seconds, milliseconds) = (time.div_euclid(SECOND), time.rem_euclid(SECOND));
    format!("{:02}:{:02}:{:02}.{milliseconds:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
