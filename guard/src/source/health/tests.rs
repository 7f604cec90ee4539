//! Sources on simulated days.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A source, and the time there.
struct Day {
    now: Moment,
    health: Health,
    /// Every fault there ever was, by name, with the time since the beginning when it came.
    told: Vec<(&'static str, Duration)>,
    present: Vec<&'static str>,
}

impl Day {
    fn new() -> Self {
        let now = Moment(0);
        Self { now, health: Health::new(now, MOST_BYTES), told: Vec::new(), present: Vec::new() }
    }

    fn look(&mut self) {
        let faults: Vec<_> = self.health.faults(self.now).iter().map(Fault::name).collect();
        for name in &faults {
            if !self.present.contains(name) {
                self.told.push((name, self.now.since(Moment(0))));
            }
        }
        self.present = faults;
    }

    /// Time passes, with a look at every ten seconds.
    fn quiet(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = (self.now + 10 * SECOND).min(end);
            self.look();
        }
    }

    fn lines(&mut self, known: u64, matched: u64) {
        let read = ReadCount { lines: known, known, matched, ..ReadCount::default() };
        self.health.read(&read, self.now);
        self.look();
    }

    /// A batch of lines after every pause, for a time.
    fn busy(&mut self, time: Duration, pause: Duration, known: u64, matched: u64) {
        let end = self.now + time;
        while self.now < end {
            self.quiet(pause);
            self.lines(known, matched);
        }
    }

    fn names(&self) -> Vec<&'static str> {
        self.told.iter().map(|(name, _)| *name).collect()
    }
}

#[test]
fn a_day_with_a_quiet_night_is_well() {
    let mut day = Day::new();
    for _ in 0..3 {
        day.busy(16 * HOUR, 30 * SECOND, 3, 1);
        day.busy(8 * HOUR, 4 * MINUTE, 1, 0);
    }
    assert_eq!(day.told, []);
}

#[test]
fn a_source_that_falls_silent_is_told_of_until_it_speaks() {
    let mut day = Day::new();
    day.busy(2 * HOUR, 20 * SECOND, 1, 1);
    let spoke = day.now.since(Moment(0));
    day.quiet(9 * MINUTE);
    assert_eq!(day.told, []);
    day.quiet(HOUR);
    assert_eq!(day.told, [("silent", spoke + 10 * MINUTE)]);
    assert_eq!(day.present, ["silent"]);
    day.lines(1, 1);
    assert_eq!(day.present, [""; 0]);
}

#[test]
fn the_longest_pause_decides_what_silence_is() {
    let mut day = Day::new();
    day.busy(6 * HOUR, 15 * MINUTE, 1, 1);
    let spoke = day.now.since(Moment(0));
    day.quiet(2 * HOUR);
    assert_eq!(day.told, []);
    day.quiet(HOUR);
    let told = day.told[0].1;
    assert!((spoke + 140 * MINUTE..spoke + 151 * MINUTE).contains(&told), "{told:?}");
}

#[test]
fn within_the_first_hour_and_before_the_first_line_nothing_is_silent() {
    let mut day = Day::new();
    day.quiet(24 * HOUR);
    assert_eq!(day.told, []);
    day.busy(10 * MINUTE, SECOND, 1, 1);
    day.quiet(45 * MINUTE);
    assert_eq!(day.told, []);
}

#[test]
fn a_source_that_writes_once_a_day_is_told_of_once() {
    let mut day = Day::new();
    for _ in 0..7 {
        day.busy(MINUTE, SECOND, 1, 1);
        day.quiet(23 * HOUR + 59 * MINUTE);
    }
    assert_eq!(day.names(), ["silent"]);
}

#[test]
fn a_machine_that_slept_is_not_silent() {
    let mut day = Day::new();
    day.busy(2 * HOUR, 20 * SECOND, 1, 1);
    day.now = day.now + 8 * HOUR;
    day.look();
    day.quiet(5 * MINUTE);
    assert_eq!(day.told, []);
}

#[test]
fn messages_of_another_form_are_told_of() {
    let mut day = Day::new();
    day.busy(12 * HOUR, 30 * SECOND, 4, 2);
    let changed = day.now.since(Moment(0));
    day.busy(HOUR, 30 * SECOND, 4, 0);
    let (name, at) = day.told[0];
    assert_eq!(name, "unmatched");
    assert!(at < changed + 30 * MINUTE, "{at:?}");
    assert!(day.health.unmatched() > 0.95);
    day.busy(HOUR, 30 * SECOND, 4, 2);
    assert_eq!((day.present.len(), day.told.len()), (0, 1), "well again, and told once");
}

#[test]
fn lines_of_one_instant_count_alike() {
    let mut day = Day::new();
    for _ in 0..200 {
        day.quiet(30 * SECOND);
        day.lines(1, 0);
        day.lines(1, 1);
    }
    assert!((0.4..0.6).contains(&day.health.unmatched()), "{}", day.health.unmatched());
}

#[test]
fn an_attack_and_its_end_are_no_fault() {
    let mut day = Day::new();
    day.busy(12 * HOUR, 30 * SECOND, 4, 1);
    day.busy(HOUR, SECOND, 500, 500);
    day.busy(12 * HOUR, 30 * SECOND, 4, 1);
    assert_eq!(day.told, []);
}

#[test]
fn few_lines_say_nothing_of_their_share() {
    let mut day = Day::new();
    day.busy(4 * HOUR, 10 * MINUTE, 2, 2);
    day.busy(4 * HOUR, 10 * MINUTE, 2, 0);
    assert_eq!(day.told, [], "96 lines");
}

#[test]
fn lag_is_told_of_after_a_minute_and_gaps_for_an_hour() {
    let mut day = Day::new();
    day.lines(1, 0);
    day.health.lags(MOST_BYTES + 1, day.now);
    day.quiet(50 * SECOND);
    day.health.lags(MOST_BYTES + 9, day.now);
    assert_eq!(day.told, []);
    day.quiet(20 * SECOND);
    assert_eq!(day.health.faults(day.now), [Fault::Behind { behind: MOST_BYTES + 9 }]);
    day.health.lags(0, day.now);
    assert_eq!(day.health.faults(day.now), []);
    let lost = ReadCount { gaps: 2, ..ReadCount::default() };
    day.health.read(&lost, day.now);
    day.health.read(&lost, day.now);
    assert_eq!(day.health.faults(day.now), [Fault::Gaps { gaps: 4 }]);
    day.quiet(HOUR + MINUTE);
    assert_eq!(day.health.faults(day.now), []);
}
