//! Things with members, in bounded memory: an account and the addresses that try it, a prefix and its hosts that were
//! banned. Where there is no room, the emptiest of a few drawn by lot goes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::members::Members;
use super::second::Second;
use super::sources::DRAW;
use crate::dense::{Chance, Dense, Key, Record, Seed};

/// What is remembered of a group besides its members.
pub(super) trait Note: Copy + Default {
    /// The same on a timeline that is so many seconds ahead.
    fn shifted(self, seconds: i64) -> Self;
}

/// Nothing.
impl Note for () {
    fn shifted(self, _: i64) -> Self {}
}

/// One thing with members.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Group<K, N> {
    pub(super) key: K,
    pub(super) members: Members,
    pub(super) note: N,
}

impl<K: Key, N> Record for Group<K, N> {
    type Key = K;

    fn key(&self) -> K {
        self.key
    }
}

impl<K: Copy, N: Note> Group<K, N> {
    fn shifted(&self, seconds: i64) -> Self {
        Self { key: self.key, members: self.members.shifted(seconds), note: self.note.shifted(seconds) }
    }
}

/// Groups that got a member lately.
#[derive(Debug)]
pub(super) struct Groups<K, N> {
    all: Dense<Group<K, N>>,
    most: usize,
    chance: Chance,
    /// Groups forgotten to make room although they had members lately.
    pub(super) evicted: u64,
}

impl<K: Key, N: Note> Groups<K, N> {
    /// None; there will be `most` at most.
    pub(super) const fn new(most: usize, seed: Seed, chance: Chance) -> Self {
        Self { all: Dense::new(seed), most, chance, evicted: 0 }
    }

    /// The group of a key.
    pub(super) fn get(&self, key: K) -> Option<&Group<K, N>> {
        self.all.get(key)
    }

    /// The group of a key, to be changed.
    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut Group<K, N>> {
        self.all.get_mut(key)
    }

    /// The group of a key; a new one if there is none. Members older than `within` do not keep a group from making room.
    #[inline]
    pub(super) fn find(&mut self, key: K, now: Second, within: Duration) -> &mut Group<K, N> {
        let place = match self.all.place(key) {
            Some(place) => place,
            None => self.add(key, now, within),
        };
        self.all.at_mut(place)
    }

    /// All of them, on a timeline that is so many seconds ahead.
    pub(super) fn shifted(&self, seconds: i64) -> Vec<Group<K, N>> {
        self.all.records().iter().map(|group| group.shifted(seconds)).collect()
    }

    /// Takes groups over that were kept under the same seed, on a timeline that is so many seconds ahead.
    pub(super) fn restore(&mut self, groups: &[Group<K, N>], seconds: i64) {
        for group in groups.iter().take(self.most) {
            let group = group.shifted(seconds);
            self.all.insert(Group { members: group.members.in_order(), ..group });
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.all.bytes()
    }

    #[cold]
    #[inline(never)]
    fn add(&mut self, key: K, now: Second, within: Duration) -> usize {
        if self.all.len() >= self.most {
            self.evict(now, within);
        }
        self.all.insert(Group { key, members: Members::new(), note: N::default() });
        self.all.len() - 1
    }

    fn evict(&mut self, now: Second, within: Duration) {
        let all = self.all.records();
        let draw = std::array::from_fn::<_, DRAW, _>(|_| self.chance.below(all.len() as u64) as usize);
        if let Some(place) = draw.into_iter().min_by_key(|place| all[*place].members.within(now, within)) {
            let Group { key, members, .. } = &all[place];
            self.evicted += u64::from(members.within(now, within) > 0);
            let key = *key;
            self.all.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn their_number_is_bounded_and_the_fullest_stay() {
        let (hour, now) = (Duration::from_secs(3600), Second::default());
        let mut groups = Groups::<u128, ()>::new(100, Seed::new(1), Chance::new(1));
        for member in 0..10 {
            groups.find(7, now, hour).members.see(member, now);
        }
        for key in 1000..11_000 {
            groups.find(key, now, hour).members.see(1, now);
        }
        assert_eq!(groups.shifted(0).len(), 100);
        assert_eq!(groups.get(7).map(|group| group.members.within(now, hour)), Some(10));
        assert_eq!(groups.evicted, 10_001 - 100);
        let later = Second::of(crate::time::Moment(3_601_000));
        groups.find(8, later, hour);
        assert_eq!(groups.evicted, 10_001 - 100, "of what was long ago nothing is lost");
    }
}
