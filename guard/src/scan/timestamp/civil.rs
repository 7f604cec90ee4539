//! From the words of a stamp to seconds since the epoch.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::Notation;
use super::shape::MOST_FRACTION;
use super::zone::{self, Zone};
use crate::time::Wall;

/// How far a stamp without a year may lie after the reference before it belongs to the year before.
const AHEAD: i64 = 24 * 3600;

/// A stamp without its seconds.
pub(super) struct Minute<'a> {
    pub(super) notation: Notation,
    /// Everything up to the minute, as long as the notation says.
    pub(super) text: &'a [u8],
    /// What stands behind the seconds and their fraction.
    pub(super) tail: &'a [u8],
}

impl Minute<'_> {
    /// Seconds since the epoch, and whether no zone is named: then it is `local`.
    pub(super) fn seconds(&self, local: &TimeZone, reference: i64) -> Option<(i64, bool)> {
        let (date, tail) = (self.text, self.tail);
        let clock = &date[date.len() - 5..];
        let (hour, minute) = (padded(&clock[..2])?, two(&clock[3..])?);
        let naive = |year, month, day| naive_seconds(year, month, day, hour, minute);
        let (naive, tail) = match self.notation {
            Notation::Bsd | Notation::Unpadded => {
                let is_padded = self.notation == Notation::Bsd;
                let day = if is_padded { padded(&date[4..6])? } else { digit(date[4])? };
                let month = month(&date[..3])?;
                let year = jiff::Timestamp::from_second(reference).ok()?.to_zoned(local.clone()).year();
                // The next year comes first: on 31 December a machine may be a little ahead. 29 February looks
                // back to the last leap year.
                return (-8..=1).rev().filter(|_| tail.is_empty()).find_map(|back| {
                    let seconds = in_zone(local, naive(year + back, month, day)?, reference)?;
                    (seconds <= reference + AHEAD).then_some((seconds, true))
                });
            }
            Notation::Iso | Notation::Slashed => {
                (naive(year(&date[..4])?, two(&date[5..7])?, two(&date[8..10])?)?, tail)
            }
            Notation::Clf | Notation::Dashed => {
                (naive(year(&date[7..11])?, month(&date[3..6])?, two(&date[..2])?)?, tail)
            }
            Notation::Dated => (naive(year(&date[7..11])?, month(&date[..3])?, padded(&date[4..6])?)?, tail),
            Notation::Ctime => {
                let (tail, written) = tail.split_last_chunk::<4>()?;
                let tail = tail.strip_suffix(b" ")?;
                (naive(year(written)?, month(&date[4..7])?, padded(&date[8..10])?)?, tail)
            }
            Notation::Short => {
                (naive(2000 + i16::from(two(&date[..2])?), two(&date[2..4])?, two(&date[4..6])?)?, tail)
            }
            Notation::Seconds | Notation::Milliseconds | Notation::Boot => return None,
        };
        Some(match zone::read(tail)? {
            Zone::Fixed(offset) => (naive - offset, false),
            Zone::Local => (in_zone(local, naive, reference)?, true),
            Zone::Named(zone) => (in_zone(&zone, naive, reference)?, false),
        })
    }
}

/// Seconds or milliseconds since the epoch; seconds since boot are no time on the wall.
pub(super) fn epoch(notation: Notation, text: &[u8]) -> Option<Wall> {
    let whole = text.iter().take_while(|b| b.is_ascii_digit()).count();
    // At most thirteen digits, as the shape says; more would not fit.
    let number = text[..whole].iter().take(18).fold(0, |number, b| number * 10 + i64::from(b - b'0'));
    match notation {
        Notation::Seconds => Some(Wall(number * 1000 + fraction(&text[whole..]).0)),
        Notation::Milliseconds => Some(Wall(number)),
        _ => None,
    }
}

/// Milliseconds of a fraction in front of `text`, and its length; both 0 if there is none.
#[inline]
pub(super) fn fraction(text: &[u8]) -> (i64, usize) {
    let [b'.' | b',', rest @ ..] = text else { return (0, 0) };
    let digits = rest.iter().take(MOST_FRACTION).take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return (0, 0);
    }
    let millis = (0..3).fold(0, |ms, i| ms * 10 + if i < digits { i64::from(rest[i] - b'0') } else { 0 });
    (millis, 1 + digits)
}

/// A time in a zone, given as if it were UTC, in seconds since the epoch.
fn in_zone(zone: &TimeZone, naive: i64, reference: i64) -> Option<i64> {
    let civil: DateTime = TimeZone::UTC.to_datetime(jiff::Timestamp::from_second(naive).ok()?);
    let at = |offset: Offset| naive - i64::from(offset.seconds());
    Some(match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => at(offset),
        AmbiguousOffset::Gap { before, .. } => at(before),
        AmbiguousOffset::Fold { before, after } => {
            let (first, second) = (at(before), at(after));
            if (second - reference).abs() < (first - reference).abs() { second } else { first }
        }
    })
}

fn naive_seconds(year: i16, month: u8, day: u8, hour: u8, minute: u8) -> Option<i64> {
    let signed = |n: u8| i8::try_from(n).ok();
    let civil =
        DateTime::new(year, signed(month)?, signed(day)?, signed(hour)?, signed(minute)?, 0, 0).ok()?;
    Some(TimeZone::UTC.to_timestamp(civil).ok()?.as_second())
}

fn month(name: &[u8]) -> Option<u8> {
    const NAMES: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    NAMES.iter().position(|known| name == *known).map(|index| index as u8 + 1)
}

fn year(text: &[u8]) -> Option<i16> {
    Some(i16::from(two(&text[..2])?) * 100 + i16::from(two(&text[2..4])?))
}

/// Two digits, the first of which may be a blank.
fn padded(text: &[u8]) -> Option<u8> {
    if text[0] == b' ' { digit(text[1]) } else { two(text) }
}

fn two(text: &[u8]) -> Option<u8> {
    Some(digit(text[0])? * 10 + digit(text[1])?)
}

#[inline]
pub(super) fn digit(b: u8) -> Option<u8> {
    let digit = b.wrapping_sub(b'0');
    (digit <= 9).then_some(digit)
}
