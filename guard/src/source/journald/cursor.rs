//! The saved place in the journal. Not in a file of it: files are renamed, archived and vacuumed. Entries are
//! numbered within a series of files, and within one boot the monotonic clock orders all of them:
//!
//! ```text
//! 1 <boot>:<monotonic>:<realtime> <series>:<seqnum> …
//! ```
//!
//! The leading number is the version; the series read last comes last.

use std::fmt::Write as _;

const VERSION: &str = "1";

/// Series that are remembered.
const SERIES: usize = 8;

/// How far the journal was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The boot the last entry belongs to, and when it was written: microseconds since that boot and since the
    /// epoch.
    pub(super) boot: u128,
    pub(super) monotonic: u64,
    pub(super) realtime: u64,
    series: Vec<(u128, u64)>,
}

impl Cursor {
    /// The last entry that was read of a series; `None` if nothing of it was.
    pub(super) fn last(&self, series: u128) -> Option<u64> {
        self.series.iter().find(|(id, _)| *id == series).map(|(_, seqnum)| *seqnum)
    }

    /// Notes that a series was read up to this entry. Never goes back.
    pub(super) fn advance(&mut self, series: u128, seqnum: u64) {
        if let Some((id, last)) = self.series.last_mut()
            && *id == series
        {
            *last = seqnum.max(*last);
            return;
        }
        let before = self.last(series).unwrap_or(0);
        self.series.retain(|(id, _)| *id != series);
        if self.series.len() == SERIES {
            self.series.remove(0);
        }
        self.series.push((series, seqnum.max(before)));
    }

    /// The series that were read, each with its last entry.
    pub(super) fn newest_series(&self) -> Option<(u128, u64)> {
        self.series.last().copied()
    }

    pub(super) fn encode(&self) -> String {
        let mut out = format!("{VERSION} {:x}:{:x}:{:x}", self.boot, self.monotonic, self.realtime);
        for (id, seqnum) in &self.series {
            // Writing to a string cannot fail.
            let _ = write!(out, " {id:x}:{seqnum:x}");
        }
        out
    }

    /// Reads a place; `None` if it is not one, or of another version.
    pub(super) fn decode(place: &str) -> Option<Self> {
        let mut words = place.split(' ');
        if words.next() != Some(VERSION) {
            return None;
        }
        let mut times = words.next()?.split(':');
        let mut cursor = Self {
            boot: u128::from_str_radix(times.next()?, 16).ok()?,
            monotonic: u64::from_str_radix(times.next()?, 16).ok()?,
            realtime: u64::from_str_radix(times.next()?, 16).ok()?,
            series: Vec::new(),
        };
        for word in words {
            let (id, seqnum) = word.split_once(':')?;
            cursor.advance(u128::from_str_radix(id, 16).ok()?, u64::from_str_radix(seqnum, 16).ok()?);
        }
        times.next().is_none().then_some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is() {
        let mut cursor = Cursor { boot: u128::MAX, monotonic: 5, realtime: u64::MAX, ..Cursor::default() };
        for id in 0..20 {
            cursor.advance(id, 100 + id as u64);
        }
        cursor.advance(19, 3);
        assert_eq!((cursor.last(19), cursor.last(0)), (Some(119), None));
        let text = cursor.encode();
        assert_eq!(Cursor::decode(&text), Some(cursor));
        for bad in ["", "1", "2 0:0:0", "1 0:0", "1 0:0:0:0", "1 0:0:0 5", "1 0:0:0 x:1"] {
            assert_eq!(Cursor::decode(bad), None, "{bad}");
        }
    }
}
