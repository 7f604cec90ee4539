//! Time stamps of log lines: recognised by their shape, read once for each minute, then compared as bytes.
//!
//! [`stamp`] says which notation a text begins with and where the rest begins, without reading a number; most lines
//! are decided by that alone. [`Stamps`] reads the stamp of a line that matters. `shape` knows the notations, `usual`
//! tries the one of the last line first, `civil` turns dates into seconds, `zone` knows offsets and names.
//!
//! | notation | example | who writes it |
//! |---|---|---|
//! | RFC 3164 | `Nov 20 12:00:00`, `Nov 20 12:00:00.123456` | syslog daemons, journalctl, Dovecot, Asterisk |
//! | RFC 3164, the day not padded | `Nov 1 12:00:00` | logs that went through other programs |
//! | RFC 3164 with a year | `Nov 20 2026 12:00:00` | syslog daemons, when asked to |
//! | ISO 8601, RFC 3339 | `2026-11-20T12:00:00.123+01:00`, `2026-11-20 12:00:00,123 CET` | rsyslogd, PostgreSQL, log4j |
//! | with a day of the week | `Fri 2026-11-20 12:00:00 CET` | journalctl, systemd |
//! | with a padded hour | `2026-11-20  1:02:03` | `MySQL`, `MariaDB` |
//! | with slashes | `2026/11/20 12:00:00.123` | nginx, Go's `log`, Squid |
//! | CLF | `20/Nov/2026:12:00:00 +0000`, `20/Nov/2026:12:00:00.123` | access logs, haproxy |
//! | `ctime(3)` | `Fri Nov 20 12:00:00.123456 2026` | Apache, vsftpd, openvpn |
//! | with dashes | `20-Nov-2026 12:00:00.123` | BIND, Tomcat, PHP |
//! | six digits | `261120 12:00:00`, `261120  1:02:03` | old mysqld |
//! | epoch | `1646861401.52`, `1646861401520` | Squid, JSON logs |
//! | since boot | `[  123.456789]` | the kernel |
//!
//! A stamp without a zone is local, or stands back by as much as [`Stamps::stand_back`] was told. One without a year has
//! the year that brings it nearest to the reference (when the line was read) without lying more than a day after it. In the hour that a clock change repeats, the reading
//! nearest to the reference is taken.

mod civil;
mod shape;
#[cfg(test)]
mod tests;
mod usual;
mod zone;

use jiff::tz::TimeZone;

use crate::bytes;
use crate::time::Wall;
use civil::Minute;
pub(super) use shape::stamp;
pub(super) use usual::Usual;

/// Length of an RFC 3164 stamp: `Nov  1 00:00:00`.
pub(super) const BSD_LENGTH: usize = 15;

/// Seconds of the reference's time for which a reading is remembered. One without a year or a zone changes with the
/// reference, so it is remembered only where it is the same from the first to the last of them.
const BELIEVED: i64 = 1800;

/// How a stamp is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    /// `Nov  1 00:00:00`
    Bsd,
    /// `2026-11-01T00:00:00`, `2026-11-01 00:00:00 UTC`
    Iso,
    /// `2026/11/01 00:00:00`
    Slashed,
    /// `01/Nov/2026:00:00:00 +0000`
    Clf,
    /// `Sun Nov  1 00:00:00 2026`
    Ctime,
    /// `01-Nov-2026 00:00:00`
    Dashed,
    /// `261101 00:00:00`
    Short,
    /// `Nov  1 2026 00:00:00`
    Dated,
    /// `Nov 1 00:00:00`
    Unpadded,
    /// `1793491200.123`
    Seconds,
    /// `1793491200123`
    Milliseconds,
    /// `123.456789`, seconds since boot
    Boot,
}

/// Notations with a minute to remember; they come first.
const REMEMBERED: usize = 9;

impl Notation {
    /// Bytes that name the minute, in notations that have one.
    const fn minute(self) -> Option<usize> {
        match self {
            Self::Unpadded => Some(11),
            Self::Bsd | Self::Short => Some(12),
            Self::Iso | Self::Slashed | Self::Ctime => Some(16),
            Self::Clf | Self::Dashed | Self::Dated => Some(17),
            Self::Seconds | Self::Milliseconds | Self::Boot => None,
        }
    }
}

/// A stamp that has not been read yet. Borrows the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp<'a> {
    notation: Notation,
    /// The stamp and nothing else.
    text: &'a [u8],
}

impl Stamp<'_> {
    /// How it is written.
    pub(super) fn notation(self) -> Notation {
        self.notation
    }
}

/// Reads stamps, remembering the last minute of each notation.
#[derive(Clone, Debug)]
pub(super) struct Stamps {
    zone: TimeZone,
    /// By how many milliseconds stamps without a zone stand back.
    behind: i64,
    /// How many stamps with a zone have been read.
    zoned: u64,
    known: [Option<Known>; REMEMBERED],
}

/// A minute that has been read.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The text up to the minute, and what follows the seconds: zone or year. Zeros behind each.
    minute: [u8; MOST_MINUTE],
    tail: [u8; shape::MOST_TAIL],
    tail_length: usize,
    /// The part of the reference's time that the reading was made for.
    part: i64,
    /// Seconds since the epoch.
    seconds: i64,
    /// Whether it names no zone.
    is_local: bool,
}

/// Longest text that names a minute.
const MOST_MINUTE: usize = 17;

impl Stamps {
    /// Reads stamps without a zone in `zone`.
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { zone, behind: 0, zoned: 0, known: [None; REMEMBERED] }
    }

    /// Stamps without a zone stand back by so many milliseconds from here on: they are of another zone.
    pub(super) fn stand_back(&mut self, behind: i64) {
        self.behind = behind;
    }

    /// How many stamps have been read that say which zone they are of.
    pub(super) fn zoned(&self) -> u64 {
        self.zoned
    }

    /// The time a stamp says; `None` if it is none, or tells the time since boot.
    #[inline]
    pub(super) fn read(&mut self, stamp: Stamp<'_>, reference: Wall) -> Option<Wall> {
        let Some(length) = stamp.notation.minute() else {
            self.zoned += 1;
            return civil::epoch(stamp.notation, stamp.text);
        };
        let (minute, rest) = stamp.text.split_at_checked(length)?;
        let (&[b':', tens, ones], rest) = rest.split_first_chunk()? else { return None };
        let second = i64::from(civil::digit(tens)? * 10 + civil::digit(ones)?);
        let (millis, length) = civil::fraction(rest);
        let tail = &rest[length..];
        let part = reference.seconds().div_euclid(BELIEVED);
        let known = &mut self.known[stamp.notation as usize];
        let (seconds, is_local) = match known {
            Some(known) if known.part == part && known.is(minute, tail) => (known.seconds, known.is_local),
            _ => {
                let read = Minute { notation: stamp.notation, text: minute, tail };
                let said = read.seconds(&self.zone, reference.seconds())?;
                // A later reference never means an earlier time, so between two that agree all do.
                let (first, last) = (part * BELIEVED, part * BELIEVED + BELIEVED - 1);
                let same = |reference| read.seconds(&self.zone, reference) == Some(said);
                *known = if same(first) && same(last) { Known::new(minute, tail, part, said) } else { None };
                said
            }
        };
        self.zoned += u64::from(!is_local);
        let behind = if is_local { self.behind } else { 0 };
        (second <= 60).then(|| Wall((seconds + second) * 1000 + millis + behind))
    }

    /// An RFC 3164 stamp, exactly [`BSD_LENGTH`] bytes.
    #[inline]
    pub(super) fn bsd(&mut self, text: &[u8; BSD_LENGTH], reference: Wall) -> Option<Wall> {
        self.read(Stamp { notation: Notation::Bsd, text }, reference)
    }

    /// An ISO 8601 / RFC 3339 stamp at the front of `text`: its time and its length. Without a zone it is local.
    #[inline]
    pub(super) fn iso(&mut self, text: &[u8], reference: Wall) -> Option<(Wall, usize)> {
        let known = self.known[Notation::Iso as usize].as_ref();
        let is_known =
            known.zip(text.first_chunk::<16>()).is_some_and(|(known, minute)| known.minute[..16] == *minute);
        let length = if is_known { shape::iso_end(text) } else { shape::iso(text) }?;
        let stamp = Stamp { notation: Notation::Iso, text: &text[..length] };
        Some((self.read(stamp, reference)?, length))
    }
}

impl Known {
    fn new(minute: &[u8], tail: &[u8], part: i64, (seconds, is_local): (i64, bool)) -> Option<Self> {
        let mut known = Self {
            minute: [0; MOST_MINUTE],
            tail: [0; shape::MOST_TAIL],
            tail_length: tail.len(),
            part,
            seconds,
            is_local,
        };
        known.minute.get_mut(..minute.len())?.copy_from_slice(minute);
        known.tail.get_mut(..tail.len())?.copy_from_slice(tail);
        Some(known)
    }

    /// Whether this is the minute of the texts; the first is as long as the notation says.
    #[inline]
    fn is(&self, minute: &[u8], tail: &[u8]) -> bool {
        self.tail_length == tail.len()
            && bytes::same(&self.minute[..minute.len()], minute)
            && bytes::same(&self.tail[..tail.len()], tail)
    }
}
