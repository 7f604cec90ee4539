//! Which notation a text begins with, by the places of digits, letters and separators.

use super::{BSD_LENGTH, Notation, Stamp, zone};

/// Longest text behind the seconds of a stamp: a blank and the longest name of a zone.
pub(super) const MOST_TAIL: usize = 1 + zone::LONGEST;

/// Length of a day of the week in front of a stamp, and of the blank behind it.
pub(super) const WEEKDAY: usize = 4;

/// Most digits of a fraction that are taken for one: nanoseconds.
pub(super) const MOST_FRACTION: usize = 9;

/// The stamp that `text` begins with, bare or in brackets, and where the rest begins: behind the stamp, its bracket
/// and the blanks that follow. Decided by shape: the numbers are not looked at. A bracket that holds more than the
/// stamp is left to the rest: `[2026/11/20 12:00:00.123456,  2] ../auth.c`.
#[inline]
pub(in crate::scan) fn stamp(text: &[u8]) -> Option<(Stamp<'_>, usize)> {
    let open = usize::from(text.first() == Some(&b'['));
    let inner = &text[open..];
    let (notation, start, length) = match inner.first()? {
        b'0'..=b'9' => digits(inner, open == 1)?,
        b'A'..=b'Z' => letters(inner)?,
        b' ' if open == 1 => {
            let start = blanks(inner);
            (Notation::Boot, start, boot(&inner[start..])?)
        }
        _ => return None,
    };
    let end = start + length;
    let closed = open == 1 && inner.get(end) == Some(&b']');
    if notation == Notation::Boot && !closed {
        return None;
    }
    if !ends(&inner[end..]) {
        return None;
    }
    let rest = end + usize::from(closed);
    let rest = open + rest + blanks(&inner[rest..]);
    Some((Stamp { notation, text: &inner[start..end] }, rest))
}

/// Length of the ISO stamp in front of `text`.
#[inline]
pub(super) fn iso(text: &[u8]) -> Option<usize> {
    if fits(text, b"0000-00-00?00:00:00") { iso_end(text) } else { None }
}

/// The same if everything up to the seconds is known to fit.
#[inline]
pub(super) fn iso_end(text: &[u8]) -> Option<usize> {
    let end = 19 + fraction(text.get(19..)?);
    let end = end + zone::attached(&text[end..]);
    let end = match text[10] {
        b'T' | b't' => end,
        // A blank before the zone belongs to the notation that has one before the time too.
        b' ' => end + zone::detached(&text[end..], false),
        _ => return None,
    };
    ends(&text[end..]).then_some(end)
}

/// A stamp that begins with a digit: its notation, its start and its length.
#[inline]
fn digits(text: &[u8], bracketed: bool) -> Option<(Notation, usize, usize)> {
    let (notation, length) = match (text.get(2)?, text.get(4)) {
        (_, Some(b'-')) => match iso(text) {
            Some(length) => (Notation::Iso, length),
            // MySQL and MariaDB pad the hour with a blank.
            None if fits(text, b"0000-00-00  0:00:00") => {
                let end = 19 + fraction(&text[19..]);
                (Notation::Iso, end + zone::detached(&text[end..], false))
            }
            None => return None,
        },
        (_, Some(b'/')) if fits(text, b"0000/00/00 00:00:00") => {
            (Notation::Slashed, 19 + fraction(&text[19..]))
        }
        (b'/', _) if fits(text, b"00/Aaa/0000:00:00:00") => {
            let end = 20 + fraction(&text[20..]);
            (Notation::Clf, end + zone::numeric(&text[end..]))
        }
        (b'-', _) if fits(text, b"00-Aaa-0000 00:00:00") => {
            let end = 20 + fraction(&text[20..]);
            (Notation::Dashed, end + zone::detached(&text[end..], bracketed))
        }
        _ if fits(text, b"000000 _0:00:00") => (Notation::Short, BSD_LENGTH),
        _ => numbers(text, bracketed)?,
    };
    Some((notation, 0, length))
}

/// Seconds or milliseconds since the epoch, or, in brackets, seconds since boot.
fn numbers(text: &[u8], bracketed: bool) -> Option<(Notation, usize)> {
    let whole = text.iter().take(14).take_while(|b| b.is_ascii_digit()).count();
    match whole {
        10 => Some((Notation::Seconds, whole + fraction(&text[whole..]))),
        13 => Some((Notation::Milliseconds, whole)),
        _ if bracketed => Some((Notation::Boot, boot(text)?)),
        _ => None,
    }
}

/// `123.456789`: how the kernel writes the time since boot.
fn boot(text: &[u8]) -> Option<usize> {
    let whole = text.iter().take(10).take_while(|b| b.is_ascii_digit()).count();
    let fits = (1..10).contains(&whole) && fits(&text[whole..], b".000000");
    fits.then_some(whole + 7)
}

/// A stamp that begins with the name of a month or of a day of the week.
#[inline]
fn letters(text: &[u8]) -> Option<(Notation, usize, usize)> {
    if fits(text, b"Aaa _0 00:00:00") {
        return Some((Notation::Bsd, 0, BSD_LENGTH + fraction(&text[BSD_LENGTH..])));
    }
    if fits(text, b"Aaa 0 00:00:00") {
        return Some((Notation::Unpadded, 0, 14 + fraction(&text[14..])));
    }
    if fits(text, b"Aaa _0 0000 00:00:00") {
        return Some((Notation::Dated, 0, 20 + fraction(&text[20..])));
    }
    if fits(text, b"Aaa 0000-00-00 ") {
        return Some((Notation::Iso, WEEKDAY, iso(&text[WEEKDAY..])?));
    }
    if !fits(text, b"Aaa Aaa _0 00:00:00") {
        return None;
    }
    let end = 19 + fraction(&text[19..]);
    let end = end + zone::detached(&text[end..], false);
    fits(&text[end..], b" 0000").then_some((Notation::Ctime, 0, end + 5))
}

/// Length of a point or comma with digits behind it, if there is one.
fn fraction(text: &[u8]) -> usize {
    let [b'.' | b',', rest @ ..] = text else { return 0 };
    match rest.iter().take(MOST_FRACTION).take_while(|b| b.is_ascii_digit()).count() {
        0 => 0,
        digits => 1 + digits,
    }
}

/// Whether a stamp can end before `rest`.
pub(super) fn ends(rest: &[u8]) -> bool {
    !matches!(
        rest.first(),
        Some(b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'-' | b'+' | b'_' | 0x80..)
    )
}

pub(super) fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
}

/// Whether a text begins as a form says: `0` is a digit, `_` a digit or a blank, `A` and `a` are letters, `?` is
/// anything, what else there is is itself.
#[inline(always)]
fn fits<const N: usize>(text: &[u8], form: &[u8; N]) -> bool {
    let Some(text) = text.first_chunk::<N>() else { return false };
    text.iter().zip(form).all(|(b, form)| match form {
        b'0' => b.is_ascii_digit(),
        b'_' => b.is_ascii_digit() || *b == b' ',
        b'A' => b.is_ascii_uppercase(),
        b'a' => b.is_ascii_lowercase(),
        b'?' => true,
        form => b == form,
    })
}
