//! The last different ones of something, each with when it was seen last: addresses that try an account, hosts of a
//! prefix that were banned.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::second::Second;

/// Members that are told apart.
pub(super) const MOST: usize = 32;
/// Members that are compared at once.
const BLOCK: usize = 8;

/// At most [`MOST`] members, the one that was seen last before all others: 264 bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Members {
    hashes: [u32; MOST],
    seen: [Second; MOST],
    known: u8,
}

impl Members {
    /// None.
    pub(super) const fn new() -> Self {
        Self { hashes: [0; MOST], seen: [Second::of(crate::time::Moment(0)); MOST], known: 0 }
    }

    /// A member was seen. Who was seen longest ago makes room.
    #[inline]
    pub(super) fn see(&mut self, hash: u32, at: Second) {
        let known = usize::from(self.known);
        let place = match self.place(hash) {
            Some(place) if at.seconds_since(self.seen[place]) == 0 => return, // earlier, or now
            Some(place) => place,
            None if known < MOST => {
                self.known += 1;
                known
            }
            None if self.seen[MOST - 1].seconds_since(at) > 0 => return, // it was longest ago itself
            None => MOST - 1,
        };
        let later = self.seen[..place].iter().take_while(|seen| seen.seconds_since(at) > 0).count();
        if later == 0 && place == MOST - 1 {
            // So it is where many are seen once each. A length that is known saves two calls.
            (self.hashes, self.seen) = (moved(&self.hashes, hash), moved(&self.seen, at));
            return;
        }
        self.hashes.copy_within(later..place, later + 1);
        self.seen.copy_within(later..place, later + 1);
        (self.hashes[later], self.seen[later]) = (hash, at);
    }

    /// How many were seen within a time, if they are enough.
    #[inline]
    pub(super) fn enough(&self, enough: usize, at: Second, time: Duration) -> Option<usize> {
        let seen = self.seen[..usize::from(self.known)].get(enough.saturating_sub(1))?;
        is_within(*seen, at, time).then(|| self.within(at, time))
    }

    /// How many were seen within a time.
    pub(super) fn within(&self, at: Second, time: Duration) -> usize {
        self.seen[..usize::from(self.known)].partition_point(|seen| is_within(*seen, at, time))
    }

    /// Whether this is one of them.
    pub(super) fn has(&self, hash: u32) -> bool {
        self.place(hash).is_some()
    }

    /// How many are told apart.
    pub(super) const fn len(&self) -> usize {
        self.known as usize
    }

    /// Forgets all.
    pub(super) const fn clear(&mut self) {
        self.known = 0;
    }

    /// The same members on a timeline that is so many seconds ahead.
    pub(super) fn shifted(mut self, seconds: i64) -> Self {
        self.known = self.known.min(MOST as u8);
        self.seen = self.seen.map(|seen| seen.shifted(seconds));
        self
    }

    /// The same members in their order, which may have been tampered with.
    pub(super) fn in_order(self) -> Self {
        let mut members = Self::new();
        for place in (0..usize::from(self.known)).rev() {
            members.see(self.hashes[place], self.seen[place]);
        }
        members
    }

    /// Where a member is. Those of a block are compared at once.
    #[inline]
    #[allow(clippy::needless_bitwise_bool, reason = "a lazy operator is a branch")]
    fn place(&self, hash: u32) -> Option<usize> {
        let known = usize::from(self.known);
        let mut blocks = self.hashes.chunks_exact(BLOCK).take(known.div_ceil(BLOCK));
        let block = blocks.position(|block| block.iter().fold(false, |is, member| is | (*member == hash)))?;
        (block * BLOCK..known).find(|place| self.hashes[*place] == hash)
    }
}

/// What there is without the last, behind a first.
#[inline(always)]
fn moved<T: Copy>(all: &[T; MOST], first: T) -> [T; MOST] {
    let mut moved = [first; MOST];
    moved[1..].copy_from_slice(&all[..MOST - 1]);
    moved
}

/// Whether a second is no longer ago than a time.
#[inline]
fn is_within(seen: Second, at: Second, time: Duration) -> bool {
    at.seconds_since(seen) <= i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Moment;

    fn second(second: i64) -> Second {
        Second::of(Moment(second * 1000))
    }

    #[test]
    fn each_counts_once_and_only_within_the_time() {
        let mut members = Members::new();
        for (hash, at) in [(1, 0), (2, 5), (1, 9), (3, 10), (2, 3)] {
            members.see(hash, second(at));
        }
        let within = |at, time| members.within(second(at), Duration::from_secs(time));
        assert_eq!((within(10, 60), within(10, 5), within(10, 4), within(80, 60)), (3, 3, 2, 0));
    }

    #[test]
    fn the_one_seen_longest_ago_makes_room() {
        let mut members = Members::new();
        for member in 0..100 {
            members.see(member, second(member.into()));
        }
        let mut left = members.hashes;
        left.sort_unstable();
        assert!(left.into_iter().eq(68..100), "{left:?}");
        members.see(200, second(67));
        assert!(!members.hashes.contains(&200), "it was longest ago itself");
    }

    #[test]
    fn who_is_seen_again_or_told_of_late_takes_its_place_among_the_others() {
        let mut members = Members::new();
        for (hash, at) in [(1, 10), (2, 20), (3, 30), (1, 40), (4, 25), (5, 5), (2, 15)] {
            members.see(hash, second(at));
        }
        assert_eq!(members.hashes[..5], [1, 3, 4, 2, 5]);
        assert_eq!(members.seen[..5], [40, 30, 25, 20, 5].map(second));
        let enough = |enough, time| members.enough(enough, second(40), Duration::from_secs(time));
        assert_eq!((enough(3, 14), enough(3, 15), enough(3, 20)), (None, Some(3), Some(4)));
        assert_eq!((enough(5, 60), enough(6, 60)), (Some(5), None));
    }

    #[test]
    fn members_in_any_order_are_put_in_theirs() {
        let mut shuffled = Members::new();
        for (place, at) in [3, 9, 1, 7].into_iter().enumerate() {
            (shuffled.hashes[place], shuffled.seen[place]) = (at as u32, second(at));
        }
        shuffled.known = 4;
        let members = shuffled.in_order();
        assert_eq!((members.len(), &members.hashes[..4]), (4, &[9, 7, 3, 1][..]));
    }
}
