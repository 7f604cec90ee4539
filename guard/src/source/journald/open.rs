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
    pub(super) realtime: u64,
    /// Whether the file goes on with a series whose numbers tell, too.
    pub(super) known: bool,
}

impl Floor {
    /// The place of a cursor; `known` if it knows the series of the file.
    pub(super) fn new(cursor: &Cursor, known: bool) -> Self {
        Self { boot: cursor.boot, monotonic: cursor.monotonic, realtime: cursor.realtime, known }
    }

    /// Whether the place is past this entry.
    pub(super) fn covers(&self, found: &Found) -> bool {
        let same_boot = found.boot == self.boot;
        if self.known {
            // Entries of one moment may have been read in part.
            return same_boot && found.monotonic < self.monotonic;
        }
        (same_boot && found.monotonic <= self.monotonic) || found.realtime <= self.realtime
    }
}

/// How many entries of a file are numbered up to `last`. Numbers may skip, so this is the most there can be.
pub(super) fn entries_up_to(header: &Header, last: u64) -> u64 {
    if header.tail_seqnum <= last {
        return header.entries;
    }
    header.entries.min(last.saturating_sub(header.head_seqnum.saturating_sub(1)))
}
