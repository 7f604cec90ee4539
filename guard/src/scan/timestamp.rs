//! Time stamps of log lines: read once for each minute, then compared as bytes.
//!
//! RFC 3164 stamps have neither year nor zone: the zone is the machine's, the year the one that brings the stamp
//! nearest to the reference (when the line was read) without lying more than a day after it. In the hour that a
//! clock change repeats, the reading nearest to the reference is taken.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::time::Wall;

/// Length of an RFC 3164 stamp: `Nov  1 00:00:00`.
pub(super) const BSD_LENGTH: usize = 15;
/// Bytes of an RFC 3164 stamp that name its minute: `Nov  1 00:00`.
const BSD_MINUTE: usize = 12;
/// Bytes of an ISO 8601 stamp that name its minute: `2026-11-01T00:00`.
const ISO_MINUTE: usize = 16;

/// How far a stamp may lie after the reference before it belongs to the year before.
const AHEAD: i64 = 24 * 3600;

/// Reads stamps, remembering the last minute of each form.
#[derive(Clone, Debug)]
pub(super) struct Stamps {
    zone: TimeZone,
    bsd: Option<BsdMinute>,
    iso: Option<IsoMinute>,
}

#[derive(Clone, Copy, Debug)]
struct BsdMinute {
    text: [u8; BSD_MINUTE],
    /// The day of the reference the reading was made for.
    day: i64,
    seconds: i64,
}

#[derive(Clone, Copy, Debug)]
struct IsoMinute {
    text: [u8; ISO_MINUTE],
    /// Seconds since the epoch if the zone is UTC.
    seconds: i64,
}

impl Stamps {
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { zone, bsd: None, iso: None }
    }

    /// An RFC 3164 stamp, exactly [`BSD_LENGTH`] bytes.
    #[inline]
    pub(super) fn bsd(&mut self, text: &[u8; BSD_LENGTH], reference: Wall) -> Option<Wall> {
        if text[BSD_MINUTE] != b':' {
            return None;
        }
        let second = i64::from(two(&text[13..15])?);
        let minute: [u8; BSD_MINUTE] = *text.first_chunk()?;
        let day = reference.seconds().div_euclid(AHEAD);
        let seconds = match self.bsd {
            Some(known) if known.text == minute && known.day == day => known.seconds,
            _ => {
                let seconds = self.read_bsd(&minute, reference.seconds())?;
                self.bsd = Some(BsdMinute { text: minute, day, seconds });
                seconds
            }
        };
        (second <= 60).then(|| Wall((seconds + second) * 1000))
    }

    /// An ISO 8601 / RFC 3339 stamp at the front of `text`: its time and its length. Without a zone it is local.
    #[inline]
    pub(super) fn iso(&mut self, text: &[u8], reference: Wall) -> Option<(Wall, usize)> {
        let minute: [u8; ISO_MINUTE] = *text.first_chunk()?;
        let base = match self.iso {
            Some(known) if known.text == minute => known.seconds,
            _ => {
                let seconds = read_iso_minute(&minute)?;
                self.iso = Some(IsoMinute { text: minute, seconds });
                seconds
            }
        };
        if text.get(ISO_MINUTE) != Some(&b':') {
            return None;
        }
        let second = i64::from(two(text.get(17..19)?)?);
        let (millis, mut at) = fraction(text, 19)?;
        let zone = match text.get(at) {
            Some(b'Z' | b'z') => {
                at += 1;
                Some(0)
            }
            Some(sign @ (b'+' | b'-')) => {
                let hours = i64::from(two(text.get(at + 1..at + 3)?)?);
                let colon = usize::from(text.get(at + 3) == Some(&b':'));
                let minutes = i64::from(two(text.get(at + 3 + colon..at + 5 + colon)?)?);
                at += 5 + colon;
                let offset = hours * 3600 + minutes * 60;
                Some(if *sign == b'+' { offset } else { -offset })
            }
            _ => None,
        };
        if second > 60 {
            return None;
        }
        let seconds = match zone {
            Some(offset) => base - offset,
            None => self.local(base, reference.seconds())?,
        };
        Some((Wall((seconds + second) * 1000 + millis), at))
    }

    /// Seconds since the epoch of an RFC 3164 minute.
    fn read_bsd(&self, text: &[u8; BSD_MINUTE], reference: i64) -> Option<i64> {
        let month = month(&text[..3])?;
        let day = match text[4] {
            b' ' => digit(text[5])?,
            _ => two(&text[4..6])?,
        };
        let (hour, minute) = (two(&text[7..9])?, two(&text[10..12])?);
        if text[3] != b' ' || text[6] != b' ' || text[9] != b':' {
            return None;
        }
        let year = jiff::Timestamp::from_second(reference).ok()?.to_zoned(self.zone.clone()).year();
        // The next year comes first: on 31 December a machine may be a little ahead. 29 February looks back to
        // the last leap year.
        (-8..=1).rev().find_map(|back| {
            let naive = naive_seconds(year + back, month, day, hour, minute)?;
            self.local(naive, reference).filter(|seconds| *seconds <= reference + AHEAD)
        })
    }

    /// A local time, given as if it were UTC, in seconds since the epoch.
    fn local(&self, naive: i64, reference: i64) -> Option<i64> {
        use jiff::tz::AmbiguousOffset;
        let civil: DateTime = TimeZone::UTC.to_datetime(jiff::Timestamp::from_second(naive).ok()?);
        let at = |offset: jiff::tz::Offset| naive - i64::from(offset.seconds());
        Some(match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => at(offset),
            AmbiguousOffset::Gap { before, .. } => at(before),
            AmbiguousOffset::Fold { before, after } => {
                let (first, second) = (at(before), at(after));
                if (second - reference).abs() < (first - reference).abs() { second } else { first }
            }
        })
    }
}

fn read_iso_minute(text: &[u8; ISO_MINUTE]) -> Option<i64> {
    if text[4] != b'-' || text[7] != b'-' || !matches!(text[10], b'T' | b't' | b' ') || text[13] != b':' {
        return None;
    }
    let year = i16::from(two(&text[..2])?) * 100 + i16::from(two(&text[2..4])?);
    naive_seconds(year, two(&text[5..7])?, two(&text[8..10])?, two(&text[11..13])?, two(&text[14..16])?)
}

fn naive_seconds(year: i16, month: u8, day: u8, hour: u8, minute: u8) -> Option<i64> {
    let signed = |n: u8| i8::try_from(n).ok();
    let civil =
        DateTime::new(year, signed(month)?, signed(day)?, signed(hour)?, signed(minute)?, 0, 0).ok()?;
    Some(TimeZone::UTC.to_timestamp(civil).ok()?.as_second())
}

/// Milliseconds of a fraction at `at`, if there is one, and where it ends.
fn fraction(text: &[u8], at: usize) -> Option<(i64, usize)> {
    if !matches!(text.get(at), Some(b'.' | b',')) {
        return Some((0, at));
    }
    let digits = text[at + 1..].iter().take(9).take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let millis =
        (0..3).fold(0, |ms, i| ms * 10 + if i < digits { i64::from(text[at + 1 + i] - b'0') } else { 0 });
    Some((millis, at + 1 + digits))
}

fn month(name: &[u8]) -> Option<u8> {
    const NAMES: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    NAMES.iter().position(|known| name == *known).map(|index| index as u8 + 1)
}

fn two(text: &[u8]) -> Option<u8> {
    Some(digit(text[0])? * 10 + digit(text[1])?)
}

fn digit(b: u8) -> Option<u8> {
    let digit = b.wrapping_sub(b'0');
    (digit <= 9).then_some(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    fn wall(text: &str) -> Wall {
        Wall(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn bsd(zone: &str, text: &str, reference: &str) -> Option<String> {
        let mut stamps = Stamps::new(TimeZone::posix(zone).unwrap());
        stamps.bsd(text.as_bytes().try_into().unwrap(), wall(reference)).map(|wall| wall.to_string())
    }

    #[test]
    fn the_year_comes_from_the_reference() {
        let cases = [
            ("Nov  1 00:00:05", "2026-11-20T00:00:00Z", "2026-11-01T00:00:05Z"),
            ("Dec 31 23:59:59", "2027-01-01T00:00:01Z", "2026-12-31T23:59:59Z"),
            ("Jan  1 00:00:01", "2026-12-31T23:59:58Z", "2027-01-01T00:00:01Z"),
            ("Nov 21 12:00:00", "2026-11-20T13:00:00Z", "2026-11-21T12:00:00Z"),
            ("Nov 22 12:00:00", "2026-11-20T11:00:00Z", "2025-11-22T12:00:00Z"),
            ("Feb 29 12:00:00", "2026-03-01T00:00:00Z", "2024-02-29T12:00:00Z"),
            ("Feb 29 12:00:00", "2028-02-29T12:00:01Z", "2028-02-29T12:00:00Z"),
        ];
        for (text, reference, expected) in cases {
            assert_eq!(bsd("UTC0", text, reference).as_deref(), Some(expected), "{text} at {reference}");
        }
    }

    #[test]
    fn local_time_and_the_repeated_hour() {
        let zone = BERLIN;
        assert_eq!(bsd(zone, "Jul  1 12:00:00", "2026-07-01T10:00:01Z").unwrap(), "2026-07-01T10:00:00Z");
        // 2026-10-25: 03:00 CEST becomes 02:00 CET, so 02:30 comes twice.
        assert_eq!(bsd(zone, "Oct 25 02:30:00", "2026-10-25T00:30:01Z").unwrap(), "2026-10-25T00:30:00Z");
        assert_eq!(bsd(zone, "Oct 25 02:30:00", "2026-10-25T01:30:01Z").unwrap(), "2026-10-25T01:30:00Z");
    }

    #[test]
    fn what_is_no_stamp() {
        for text in [
            "Nov 31 00:00:00",
            "Xxx  1 00:00:00",
            "Nov  1 24:00:00",
            "Nov  1 00:60:00",
            "Nov  1 00:00 00",
            "Nov  1 00:00:61",
            "Nov  x 00:00:00",
        ] {
            assert_eq!(bsd("UTC0", text, "2026-11-20T00:00:00Z"), None, "{text}");
        }
    }

    #[test]
    fn iso_with_zone_fraction_or_neither() {
        let mut stamps = Stamps::new(TimeZone::posix(BERLIN).unwrap());
        let reference = wall("2026-11-20T00:00:00Z");
        for (text, expected, length) in [
            ("2026-11-01T00:00:00.123456+01:00 x", "2026-10-31T23:00:00.123Z", 32),
            ("2026-11-01T00:00:07+0100 x", "2026-10-31T23:00:07Z", 24),
            ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z", 20),
            ("2026-11-01T00:00:00.5-02:30", "2026-11-01T02:30:00.5Z", 27),
            ("2026-07-01 12:00:00 x", "2026-07-01T10:00:00Z", 19),
        ] {
            assert_eq!(stamps.iso(text.as_bytes(), reference), Some((wall(expected), length)), "{text}");
        }
        for text in
            ["2026-13-01T00:00:00Z", "2026-11-01T00:00:0", "2026-11-01T00:00:00.", "20261101T000000Z", ""]
        {
            assert_eq!(stamps.iso(text.as_bytes(), reference), None, "{text}");
        }
    }
}
