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
    /// Which records are in `first`.
    horizon: Horizon<K>,
}

/// Up to where the first records are known. The key counts too: however many records share a moment, a part of them
/// can be held.
#[derive(Clone, Copy, Debug)]
enum Horizon<K> {
    Nothing,
    UpTo((i64, K)),
    Everything,
}

impl<K: Ord> Horizon<K> {
    fn holds(&self, moment: i64, key: K) -> bool {
        match self {
            Self::Nothing => false,
            Self::UpTo(last) => (moment, key) <= *last,
            Self::Everything => true,
        }
    }
}

impl<K: Ord + Copy> Ends<K> {
    /// A queue over no records.
    pub(super) const fn new() -> Self {
        Self { first: BinaryHeap::new(), horizon: Horizon::Everything }
    }

    /// A queue that holds nothing until it is first asked.
    pub(super) const fn asleep() -> Self {
        Self { first: BinaryHeap::new(), horizon: Horizon::Nothing }
    }

    /// A record has come, or has got another moment. `all` gives every record, this one included.
    pub(super) fn note<I>(&mut self, moment: i64, key: K, total: usize, all: impl Fn() -> I)
    where
        I: Iterator<Item = (i64, K)>,
    {
        if self.horizon.holds(moment, key) {
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
            if matches!(self.horizon, Horizon::Everything) {
                return None;
            }
            self.refill(total, &all);
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.first.capacity() * size_of::<(i64, K)>()
    }

    /// Finds the first ones anew: a share of all.
    fn refill<I>(&mut self, total: usize, all: impl Fn() -> I)
    where
        I: Iterator<Item = (i64, K)>,
    {
        let wanted = share(total);
        let mut records: Vec<(i64, K)> = all().collect();
        self.horizon = if records.len() <= wanted {
            Horizon::Everything
        } else {
            let last = *records.select_nth_unstable(wanted - 1).1;
            records.truncate(wanted);
            records.shrink_to_fit();
            Horizon::UpTo(last)
        };
        self.first = records.into_iter().map(Reverse).collect::<Vec<_>>().into();
    }
}

/// How many of `total` records are held.
const fn share(total: usize) -> usize {
    1024 + total / 16
}
