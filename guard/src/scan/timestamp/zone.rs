//! Zones behind a time: offsets, `UTC`, and names.

use jiff::tz::TimeZone;

/// Longest name of a zone that is taken for one: `America/Argentina/ComodRivadavia` is the longest of the time zone
/// database.
pub(super) const LONGEST: usize = 32;

/// The abbreviations of the time zone database that are in use. A closed list: `INFO` and `ERROR` stand in the same
/// place. Sorted.
const ABBREVIATIONS: [&[u8]; 49] = [
    b"ACDT", b"ACST", b"ADT", b"AEDT", b"AEST", b"AKDT", b"AKST", b"AST", b"AWST", b"BST", b"CAT", b"CDT",
    b"CEST", b"CET", b"CST", b"EAT", b"EDT", b"EEST", b"EET", b"EST", b"GMT", b"HDT", b"HKT", b"HST", b"IDT",
    b"IST", b"JST", b"KST", b"MDT", b"MEST", b"MET", b"MSK", b"MST", b"NDT", b"NST", b"NZDT", b"NZST",
    b"PDT", b"PKT", b"PST", b"SAST", b"SST", b"UTC", b"WAT", b"WEST", b"WET", b"WIB", b"WIT", b"WITA",
];

/// What a zone says about the time in front of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Zone {
    /// Seconds east of Greenwich.
    Fixed(i64),
    /// The machine's.
    Local,
    /// One of the time zone database.
    Named(TimeZone),
}

/// Length of a zone directly behind the time: `Z`, `+01:00`, `+0100`, `+01`.
pub(super) fn attached(text: &[u8]) -> usize {
    match text.first() {
        Some(b'Z' | b'z') => 1,
        Some(b'+' | b'-') => offset(text).map_or(0, |(_, length)| length),
        _ => 0,
    }
}

/// Length of an offset behind a blank: ` +0100`.
pub(super) fn numeric(text: &[u8]) -> usize {
    let Some(rest) = text.strip_prefix(b" ") else { return 0 };
    match offset(rest) {
        Some((_, length)) if is_end(&rest[length..]) => 1 + length,
        _ => 0,
    }
}

/// Length of a zone behind a blank: ` Z`, ` +0100`, ` CEST`, and, where nothing but a stamp can stand, ` Europe/Berlin`.
pub(super) fn detached(text: &[u8], alone: bool) -> usize {
    let Some(rest) = text.strip_prefix(b" ") else { return 0 };
    let is_letter = |b: &u8| b.is_ascii_alphabetic();
    let length = match rest.first() {
        Some(b'+' | b'-') => return numeric(text),
        Some(b'A'..=b'Z') => rest.iter().take(5).take_while(|b| is_letter(b)).count(),
        _ => return 0,
    };
    let name = &rest[..length];
    if is_end(&rest[length..]) && (name == b"Z" || ABBREVIATIONS.binary_search(&name).is_ok()) {
        return 1 + length;
    }
    if !alone {
        return 0;
    }
    let in_name = |b: &u8| is_letter(b) || b.is_ascii_digit() || matches!(b, b'/' | b'_' | b'-' | b'+');
    let length = rest.iter().take(LONGEST + 1).take_while(|b| in_name(b)).count();
    let fits = length <= LONGEST && rest[..length].contains(&b'/') && rest.get(length) == Some(&b']');
    if fits { 1 + length } else { 0 }
}

/// The zone that a text behind a time is, all of it; nothing is the machine's zone.
pub(super) fn read(text: &[u8]) -> Option<Zone> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    Some(match text {
        b"" => Zone::Local,
        b"Z" | b"z" | b"UTC" | b"GMT" => Zone::Fixed(0),
        [b'+' | b'-', ..] => {
            let (seconds, length) = offset(text)?;
            if length != text.len() {
                return None;
            }
            Zone::Fixed(seconds)
        }
        // An abbreviation can mean several zones; whoever writes one means the machine's.
        _ if !text.contains(&b'/') => Zone::Local,
        _ => match TimeZone::get(std::str::from_utf8(text).ok()?) {
            Ok(zone) => Zone::Named(zone),
            Err(_) => Zone::Local,
        },
    })
}

/// `+01:00`, `+0100` or `+01`: seconds and length.
fn offset(text: &[u8]) -> Option<(i64, usize)> {
    let number = |at: usize| {
        let [tens, ones] = text.get(at..at + 2)?.first_chunk()?;
        Some(i64::from(super::civil::digit(*tens)? * 10 + super::civil::digit(*ones)?))
    };
    let hours = number(1).filter(|hours| *hours < 16)?;
    let colon = usize::from(text.get(3) == Some(&b':'));
    let (minutes, length) = match number(3 + colon) {
        Some(minutes) => (minutes, 5 + colon),
        None => (0, 3),
    };
    let seconds = hours * 3600 + minutes * 60;
    (minutes < 60).then_some((if text[0] == b'-' { -seconds } else { seconds }, length))
}

/// Whether a zone behind a blank can end before `rest`: it is a word of its own.
fn is_end(rest: &[u8]) -> bool {
    matches!(rest.first(), None | Some(b' ' | b'\t' | b']' | b':' | b',' | b';' | b'|'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(ABBREVIATIONS.is_sorted());
    }
}
