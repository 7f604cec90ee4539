//! Files whose writer lives by another zone than this machine, and does not write which: a container in UTC on a host in
//! Berlin. All its lines seem to be hours old, and what is that old counts for nothing.
//!
//! A line that is read the moment it is written stands back by the difference of the zones and nothing else: a multiple
//! of a quarter of an hour that stays the same while time goes on. What comes late comes otherwise: a backlog faster than
//! its stamps go on, and a relay or a buffer by no such multiple.

use crate::source::Reading;
use crate::time::Wall;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
/// What all zones in use differ by.
const STEP: i64 = 15 * MINUTE;
/// The least and the most that a file is believed to stand back.
const LEAST: i64 = 30 * MINUTE;
const MOST: i64 = 14 * 60 * MINUTE;
/// How far a line may be off the multiple.
const OFF: i64 = MINUTE;
/// Lines that show it, and for how long at least they must.
const LINES: u32 = 3;
const SHOWN: i64 = 10 * SECOND;
/// How far apart these lines may be in what they stand back by: stamps count whole seconds, and reading takes a moment.
const APART: i64 = 3 * SECOND;

/// What the stamps of a file mean that name no zone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Zone {
    behind: i64,
    run: Option<Run>,
}

/// Lines that seem to stand back by the same multiple of [`STEP`], less what is known.
#[derive(Clone, Copy, Debug)]
struct Run {
    multiple: i64,
    lines: u32,
    /// When the first was read.
    since: Wall,
    /// The least and the most that one stood back by.
    least: i64,
    most: i64,
}

impl Zone {
    /// By how many milliseconds they stand back behind this machine's time.
    pub(super) fn behind(&self) -> i64 {
        self.behind
    }

    /// Takes note of a line that matters: when it happened as `reading` has it.
    pub(super) fn note(&mut self, at: Option<Wall>, reading: Reading) {
        let Some(at) = at else { return };
        // What has been learnt since this was read does not hold for it.
        if reading.behind != self.behind {
            return;
        }
        let back = reading.at.0 - at.0;
        if back.abs() <= OFF {
            self.run = None;
        } else if back < 0 {
            self.run = None;
            // Not written yet: the file has another zone than was thought.
            self.behind = 0;
        } else {
            self.stands_back(back, reading.at);
        }
    }

    #[cold]
    fn stands_back(&mut self, back: i64, read: Wall) {
        let multiple = (back + STEP / 2) / STEP * STEP;
        if (back - multiple).abs() > OFF || multiple < LEAST || self.behind + multiple > MOST {
            self.run = None;
            return;
        }
        let first = Run { multiple, lines: 0, since: read, least: back, most: back };
        let run = self.run.filter(|run| run.multiple == multiple).unwrap_or(first);
        let (least, most) = (run.least.min(back), run.most.max(back));
        let run = if most - least > APART { first } else { Run { least, most, ..run } };
        let run = Run { lines: run.lines + 1, ..run };
        self.run = Some(run);
        if run.lines >= LINES && read.0 - run.since.0 >= SHOWN {
            self.run = None;
            self.behind += multiple;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * MINUTE;
    const START: i64 = 1_793_491_200_000;

    /// Lines of a writer in a zone that stands back by `zone`, read when it writes them, at these seconds.
    fn live(zone: &mut Zone, back: i64, seconds: impl IntoIterator<Item = i64>) {
        for second in seconds {
            let read = START + second * SECOND;
            // The stamp has no fraction, and the line came a moment ago.
            line(zone, read + 400, read - back);
        }
    }

    fn line(zone: &mut Zone, read: i64, stamp: i64) {
        let reading = Reading { at: Wall(read), behind: zone.behind() };
        zone.note(Some(Wall(stamp + reading.behind)), reading);
    }

    #[test]
    fn lines_that_stand_back_by_the_same_quarters_are_of_another_zone() {
        for back in [30 * MINUTE, HOUR, 2 * HOUR, 5 * HOUR + 45 * MINUTE, 14 * HOUR] {
            let mut zone = Zone::default();
            live(&mut zone, back, [0, 4, 9]);
            assert_eq!(zone.behind(), 0, "too soon to say");
            live(&mut zone, back, [10]);
            assert_eq!(zone.behind(), back);
            live(&mut zone, back, [11, 400, 4000]);
            assert_eq!(zone.behind(), back, "and so it stays");
        }
        for back in [0, 15 * MINUTE, 14 * HOUR + 15 * MINUTE, HOUR + 2 * MINUTE, -HOUR] {
            let mut zone = Zone::default();
            live(&mut zone, back, 0..100);
            assert_eq!(zone.behind(), 0, "{back}");
        }
        let mut zone = Zone::default();
        live(&mut zone, HOUR, [0, 20]);
        assert_eq!(zone.behind(), 0, "too few");
    }

    #[test]
    fn lines_that_come_late_are_of_no_other_zone() {
        // A backlog of two hours, delivered at once, a hundred times and twice as fast as it was written.
        for faster in [1_000_000, 100, 2] {
            let mut zone = Zone::default();
            for stamp in (0..2 * HOUR).step_by(700) {
                line(&mut zone, START + stamp / faster, START + stamp - 2 * HOUR);
                assert_eq!(zone.behind(), 0, "{faster} {stamp}");
            }
        }
        // A relay that is late by an hour more or less.
        let mut zone = Zone::default();
        for n in 0..10_000 {
            line(&mut zone, START + n * SECOND, START + n * SECOND - HOUR - (n * 7919 % 53) * SECOND);
            assert_eq!(zone.behind(), 0, "{n}");
        }
        // Lines of the relay between lines of the machine.
        let mut zone = Zone::default();
        for n in 0..100 {
            live(&mut zone, HOUR, [2 * n]);
            live(&mut zone, 0, [2 * n + 1]);
        }
        assert_eq!(zone.behind(), 0);
    }

    #[test]
    fn a_zone_holds_until_lines_contradict_it() {
        let mut zone = Zone::default();
        live(&mut zone, 2 * HOUR, [0, 5, 10]);
        // A backlog of its own writer.
        live(&mut zone, 2 * HOUR + 7 * MINUTE, [11, 12, 13]);
        assert_eq!(zone.behind(), 2 * HOUR);
        // Summer time ends on the host.
        live(&mut zone, HOUR, [20]);
        assert_eq!(zone.behind(), 0, "no line is written before its time");
        live(&mut zone, HOUR, [21, 25, 31]);
        assert_eq!(zone.behind(), HOUR);
        // And begins again.
        live(&mut zone, 2 * HOUR, [40, 45, 50]);
        assert_eq!(zone.behind(), 2 * HOUR);
        // The container has been given the host's zone.
        live(&mut zone, 0, [60, 61]);
        assert_eq!(zone.behind(), 0);
    }

    #[test]
    fn what_was_read_before_it_was_known_says_nothing_of_it() {
        let mut zone = Zone::default();
        live(&mut zone, HOUR, [0, 5]);
        let reading = Reading { at: Wall(START + 11_000), behind: 0 };
        for _ in 0..5 {
            zone.note(Some(Wall(reading.at.0 - HOUR)), reading);
        }
        zone.note(None, reading);
        assert_eq!(zone.behind(), HOUR);
    }
}
