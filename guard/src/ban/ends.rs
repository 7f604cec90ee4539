//! Which records come first by some moment, without an index over all of them.
//!
//! A full index would cost more memory than the bans themselves, and nearly all of it would wait for weeks. So
//! only the first few are held in a heap; when these are used up one scan finds the next few. A scan costs a few
//! nanoseconds for each record and happens once for every sixteenth of them that goes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The records that come first.
#[derive(Debug)]
pub(super) struct Ends<K> {
    /// The first ones. Entries whose record has gone or changed are dropped when they come to the top.
    first: BinaryHeap<Reverse<(i64, K)>>,
    /// Every record with a moment before this is in `first`.
    horizon: i64,
}

impl<K: Ord + Copy> Ends<K> {
    /// A queue over no records.
    pub(super) const fn new() -> Self {
        Self { first: BinaryHeap::new(), horizon: i64::MAX }
    }

    /// A queue that holds nothing until it is first asked.
    pub(super) const fn asleep() -> Self {
        Self { first: BinaryHeap::new(), horizon: i64::MIN }
    }

    /// A record has come, or has got another moment. `all` gives every record, this one included.
    pub(super) fn note<I>(&mut self, moment: i64, key: K, total: usize, all: impl Fn() -> I)
    where
        I: Iterator<Item = (i64, K)>,
    {
        if moment < self.horizon {
            self.first.push(Reverse((moment, key)));
            if self.first.len() > 4 * share(total) {
                self.refill(total, all);
            }
        }
    }

    /// The first record. `current` tells whether a key still has this moment.
    pub(super) fn peek<I>(
        &mut self,
        total: usize,
        current: impl Fn(i64, K) -> bool,
        all: impl Fn() -> I,
    ) -> Option<(i64, K)>
    where
        I: Iterator<Item = (i64, K)>,
    {
        loop {
            while let Some(&Reverse((moment, key))) = self.first.peek() {
                if current(moment, key) {
                    return Some((moment, key));
                }
                self.first.pop();
            }
            if self.horizon == i64::MAX {
                return None;
            }
            self.refill(total, &all);
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.first.capacity() * size_of::<(i64, K)>()
    }

    /// Finds the first ones anew: a share of all, and every other that has the last one's moment.
    fn refill<I>(&mut self, total: usize, all: impl Fn() -> I)
    where
        I: Iterator<Item = (i64, K)>,
    {
        let wanted = share(total);
        let mut moments: Vec<i64> = all().map(|(moment, _)| moment).collect();
        self.horizon = if moments.len() <= wanted {
            i64::MAX
        } else {
            moments.select_nth_unstable(wanted - 1).1.saturating_add(1)
        };
        drop(moments);
        let first: Vec<_> = all().filter(|&(moment, _)| moment < self.horizon).map(Reverse).collect();
        self.first = first.into();
    }
}

/// How many of `total` records are held.
const fn share(total: usize) -> usize {
    1024 + total / 16
}
