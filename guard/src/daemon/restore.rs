//! At start: bans of the store go back into the table and the kernel while detection is already live.

use std::sync::mpsc::Sender;
use std::time::Instant;

use tracing::{info, warn};

use crate::ban::BanId;
use crate::causes::chain;
use crate::enforce::{Backend, Unknown};
use crate::store::{StoreError, StoredBan};
use crate::time::{Clock, Moment};

use super::control::Control;

/// A chunk of bans from the store.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) bans: Vec<StoredBan>,
    /// About how many the store has besides.
    pub(super) to_come: u64,
    /// Once it is dropped the store sends the next chunk, so what else arrives waits behind two chunks at most: the one
    /// being taken in and the next.
    pub(super) turn: Sender<()>,
}

/// How far the restore has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restore {
    /// The store is still giving its bans.
    Reading,
    /// The store has given its bans; those of feeds are being taken in.
    Listing,
    /// What the kernel holds besides is being taken over. Until then nothing in it may count as foreign.
    Adopting {
        /// How many bans only the kernel knew.
        adopted: usize,
    },
    /// The ban table is complete; the kernel is being made equal to it.
    Settling {
        /// How many bans only the kernel knew.
        adopted: usize,
    },
    /// Both are complete.
    Done,
}

impl Restore {
    /// Whether the ban table has what the store holds: before that, it must not take the store's place.
    pub(super) const fn has_read(self) -> bool {
        !matches!(self, Self::Reading)
    }

    /// Whether the kernel is compared with the ban table, which looks at its attachments too.
    pub(super) const fn is_compared(self) -> bool {
        matches!(self, Self::Settling { .. } | Self::Done)
    }
}

impl Control {
    /// Takes a chunk of stored bans in. Of a stored ban and one decided since the start, the later end holds.
    pub(super) fn restore(&mut self, chunk: Restored) {
        let Restored { bans, to_come, turn } = chunk;
        // The store reads on while this one is taken in.
        drop(turn);
        let new = self.judge.restore(&bans, to_come, Clock::now());
        let outcome = self.enforcer.restore(&new, to_come);
        self.was_applied(outcome, new.len());
        self.flush();
    }

    /// The store has given all it had.
    pub(super) fn restore_done(&mut self, result: Result<(), StoreError>) {
        if let Err(cause) = result {
            let text = format!("stored bans could not all be read: {}", chain(&cause));
            warn!("{text}");
            self.problems.set("restore", format!("{text}; bans in the kernel stay in force"));
        }
        self.restore = Restore::Listing;
        self.listed();
    }

    /// Goes on with the restore once the table follows the copies of all feeds: what these have put into the kernel
    /// must not look as if nobody wanted it.
    pub(super) fn listed(&mut self) {
        if self.restore == Restore::Listing && self.feeds.are_ready() && !self.judge.is_following() {
            self.adopt(0);
        }
    }

    /// Takes over a part of what only the kernel knows, after that makes both equal. While the kernel cannot be read
    /// this is tried again, and nothing is taken out of it.
    pub(super) fn adopt(&mut self, so_far: usize) {
        self.restore = Restore::Adopting { adopted: so_far };
        self.flush();
        let desired = self.judge.desired(Moment::now());
        let Unknown { entries, more } = match self.enforcer.unknown(desired) {
            Ok(unknown) => unknown,
            Err(cause) => {
                let text = format!("bans that the kernel holds cannot be read: {}", chain(&cause));
                warn!("{text}");
                self.problems.set("adopt", format!("{text}; they stay in force, and guard tries again"));
                self.next_reconcile = Instant::now() + self.config.enforce.reconcile;
                return;
            }
        };
        let mut entries = entries;
        if self.enforcer.backend() == Backend::Xdp {
            // Its entries tell whose they are: what a feed has left is not adopted, and goes.
            entries.retain(|entry| entry.id != BanId::FEED.0 || entry.seconds_left.is_some());
        }
        let adopted = so_far + self.judge.adopt(entries, Clock::now());
        self.flush();
        self.next_reconcile = Instant::now();
        if more {
            self.restore = Restore::Adopting { adopted };
            return;
        }
        self.problems.clear("adopt");
        self.restore = Restore::Settling { adopted };
        self.judge.release_presumed();
    }

    /// The kernel is equal to the table: a restore that waited for that is done.
    pub(super) fn settled(&mut self) {
        if let Restore::Settling { adopted } = self.restore {
            self.restore = Restore::Done;
            self.judge.restored();
            self.feeds_are_restored();
            info!(bans = self.judge.bans().len(), adopted, took = ?Moment::now().since(self.started), "bans restored");
            crate::memory::give_back();
        }
    }

    /// The store lost writes while it could not work: it gets the whole table again.
    pub(super) fn resync_store(&mut self) {
        self.writer.resync(self.judge.everything(Clock::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_takes_the_stores_place_once_it_has_read_it_and_is_compared_once_it_is_complete() {
        let stages = [
            Restore::Reading,
            Restore::Listing,
            Restore::Adopting { adopted: 0 },
            Restore::Settling { adopted: 0 },
            Restore::Done,
        ];
        assert_eq!(stages.map(Restore::has_read), [false, true, true, true, true]);
        assert_eq!(stages.map(Restore::is_compared), [false, false, false, true, true]);
    }
}
