//! A journal file that is being read.

use std::path::PathBuf;

use super::cursor::Cursor;
use super::fields::Known;
use super::format::Header;
use super::journal::{Found, Journal};

#[derive(Debug)]
pub(super) struct Open {
    pub(super) journal: Journal,
    pub(super) known: Known,
    pub(super) path: PathBuf,
    /// Device and inode.
    pub(super) id: (u64, u64),
    /// Number of the newest entry at the look before: every entry up to it was listed when this one was taken.
    pub(super) settled: u64,
    /// Entries counted so far.
    pub(super) counted: u64,
    /// Where entries begin that cannot have been read before under another number.
    pub(super) floor: Floor,
    /// Nobody writes to it any more.
    pub(super) finished: bool,
}

/// What tells an entry that was read before in another file. journald copies the entries it wrote before its
/// disk was there, with numbers of their own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    pub(super) boot: u128,
    pub(super) monotonic: u64,
    realtime: u64,
    /// The boot that lasts.
    present: u128,
    /// Whether the file goes on with a series whose numbers tell, too.
    known: bool,
}

impl Floor {
    /// The place of a cursor, in the boot `present`; `known` if the cursor knows the series of the file.
    pub(super) fn new(cursor: &Cursor, present: u128, known: bool) -> Self {
        let Cursor { boot, monotonic, realtime, .. } = *cursor;
        Self { boot, monotonic, realtime, present, known }
    }

    /// Whether the place is past this entry.
    pub(super) fn covers(&self, found: &Found) -> bool {
        if self.known {
            // Entries of one moment may have been read in part.
            return found.boot == self.boot && found.monotonic < self.monotonic;
        }
        self.is_past(found.boot, found.monotonic, found.realtime)
    }

    /// Whether the place is past an entry of this time, whose number says nothing. Within a boot its own clock tells.
    /// Between boots only the wall clock does, which may have been set back: what is of the present boot is new to a place
    /// in another one.
    pub(super) fn is_past(&self, boot: u128, monotonic: u64, realtime: u64) -> bool {
        if boot == self.boot {
            return monotonic <= self.monotonic;
        }
        boot != self.present && realtime <= self.realtime
    }
}

/// How many entries of a file are numbered up to `last`. Numbers may skip, so this is the most there can be.
pub(super) fn entries_up_to(header: &Header, last: u64) -> u64 {
    if header.tail_seqnum <= last {
        return header.entries;
    }
    header.entries.min(last.saturating_sub(header.head_seqnum.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_boot_tells_within_it_and_the_wall_clock_only_between_old_ones() {
        let floor = Floor { boot: 1, monotonic: 100, realtime: 1000, present: 2, known: false };
        assert!(floor.is_past(1, 100, 5000) && !floor.is_past(1, 101, 1), "the same boot");
        assert!(!floor.is_past(2, 1, 1), "the present one, which began after it");
        assert!(floor.is_past(3, 500, 1000) && !floor.is_past(3, 500, 1001), "an old one");
        let same = Floor { boot: 2, ..floor };
        assert!(same.is_past(2, 100, 5000) && !same.is_past(2, 101, 1));
    }
}
