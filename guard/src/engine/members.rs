//! The last different ones of something, each with when it was seen last: addresses that try an account, hosts of a
//! prefix that were banned.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::second::Second;

/// Members that are told apart.
pub(super) const MOST: usize = 32;
/// Members that are compared at once.
const BLOCK: usize = 8;

/// At most [`MOST`] members: 264 bytes.
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
            None => self.oldest(at),
        };
        (self.hashes[place], self.seen[place]) = (hash, at);
    }

    /// How many were seen within a time.
    #[inline]
    pub(super) fn within(&self, at: Second, time: Duration) -> usize {
        let seconds = i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
        let seen = self.seen[..usize::from(self.known)].iter();
        seen.map(|seen| u32::from(at.seconds_since(*seen) <= seconds)).sum::<u32>() as usize
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

    /// Where a member is. Those of a block are compared at once.
    #[inline]
    #[allow(clippy::needless_bitwise_bool, reason = "a lazy operator is a branch")]
    fn place(&self, hash: u32) -> Option<usize> {
        let known = usize::from(self.known);
        let mut blocks = self.hashes.chunks_exact(BLOCK).take(known.div_ceil(BLOCK));
        let block = blocks.position(|block| block.iter().fold(false, |is, member| is | (*member == hash)))?;
        (block * BLOCK..known).find(|place| self.hashes[*place] == hash)
    }

    /// Where the member is that was seen longest ago.
    fn oldest(&self, at: Second) -> usize {
        let ages = self.seen.map(|seen| at.seconds_since(seen));
        let most = ages.iter().copied().fold(0, i32::max);
        ages.iter().rposition(|age| *age == most).unwrap_or(0)
    }
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
    }
}
