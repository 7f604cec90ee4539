//! Prefixes whose hosts are banned one after the other: what many of them have in common is banned instead.
//!
//! A /24, or a /64, whose hosts were banned in number within a short time is ordered as one; a /56 follows from several
//! of its /64 and a /48 from several of its /56. IPv6 gives everybody a /64 to move in, so there it is enough that
//! twice as many addresses of one have failed, though none of them often. Nothing wider is ever ordered.

use std::net::IpAddr;
use std::time::Duration;

use super::groups::{Group, Groups};
use super::second::Second;
use crate::dense::{Chance, Key, Seed};
use crate::target::Target;
use crate::time::Moment;

/// Prefixes that are remembered.
const MOST: usize = 16_384;

/// What many bans of a prefix led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowd {
    /// The prefix.
    pub(super) prefix: Target,
    /// Different hosts, or prefixes, of it.
    pub(super) members: u32,
}

/// The prefix that an address or prefix is counted in: the next wider one that can be ordered.
pub(super) fn parent(target: Target) -> Option<Target> {
    let length = match (target.address(), target.length()) {
        (IpAddr::V4(_), 32) => 24,
        (IpAddr::V6(_), 128) => 64,
        (IpAddr::V6(_), 64) => 56,
        (IpAddr::V6(_), 56) => 48,
        _ => return None,
    };
    Target::prefix(target.address(), length)
}

/// A prefix and its members.
pub(super) type Prefix = Group<Target, ()>;

/// Members of prefixes, seen lately.
#[derive(Debug)]
pub(super) struct Prefixes {
    all: Groups<Target, ()>,
    seed: Seed,
}

impl Prefixes {
    /// None.
    pub(super) const fn new(seed: Seed, chance: Chance) -> Self {
        Self { all: Groups::new(MOST, seed, chance), seed }
    }

    /// A member was seen. Answers its prefix if that has `enough` within the time, again and again until
    /// [`Self::answered`].
    pub(super) fn see(
        &mut self,
        member: Target,
        at: Moment,
        enough: usize,
        within: Duration,
    ) -> Option<Crowd> {
        let prefix = parent(member)?;
        let now = Second::of(at);
        let hash = member.hash(self.seed) as u32;
        let members = &mut self.all.find(prefix, now, within).members;
        members.see(hash, now);
        let count = members.enough(enough, now, within)?;
        Some(Crowd { prefix, members: count as u32 })
    }

    /// The members of a prefix have led to something: it begins anew.
    pub(super) fn answered(&mut self, prefix: Target) {
        if let Some(group) = self.all.get_mut(prefix) {
            group.members.clear();
        }
    }

    /// Prefixes forgotten to make room.
    pub(super) const fn evicted(&self) -> u64 {
        self.all.evicted
    }

    /// All of them, on a timeline that is so many seconds ahead.
    pub(super) fn shifted(&self, seconds: i64) -> Vec<Prefix> {
        self.all.shifted(seconds)
    }

    /// Takes prefixes over that were kept under the same seed, on a timeline that is so many seconds ahead.
    pub(super) fn restore(&mut self, prefixes: &[Prefix], seconds: i64) {
        self.all.restore(prefixes, seconds);
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.all.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn nothing_wider_than_24_and_48_has_a_parent() {
        let parents = |text| std::iter::successors(parent(target(text)), |wider| parent(*wider));
        let all = |text| parents(text).map(|wider| wider.to_string()).collect::<Vec<_>>();
        assert_eq!(all("203.0.113.7"), ["203.0.113.0/24"]);
        assert_eq!(
            all("2001:db8:1:2345::7"),
            ["2001:db8:1:2345::/64", "2001:db8:1:2300::/56", "2001:db8:1::/48"]
        );
        assert_eq!(all("203.0.113.0/28"), [] as [&str; 0]);
    }

    #[test]
    fn enough_different_members_within_the_time_are_a_crowd_once() {
        let mut prefixes = Prefixes::new(Seed::new(1), Chance::new(1));
        let see = |prefixes: &mut Prefixes, host: u8, second: i64| {
            let member = Target::host(IpAddr::from([203, 0, 113, host]));
            prefixes.see(member, Moment(second * 1000), 3, Duration::from_secs(60))
        };
        let two = [(1, 0), (1, 1), (2, 2), (1, 3)].map(|(host, second)| see(&mut prefixes, host, second));
        assert_eq!(two, [None; 4], "two hosts");
        assert_eq!(see(&mut prefixes, 3, 63), None, "the second is too long ago");
        let prefix = target("203.0.113.0/24");
        assert_eq!(see(&mut prefixes, 4, 63), Some(Crowd { prefix, members: 3 }));
        assert_eq!(see(&mut prefixes, 5, 63), Some(Crowd { prefix, members: 4 }), "nothing came of it");
        prefixes.answered(prefix);
        assert_eq!(see(&mut prefixes, 6, 63), None, "it begins anew");
    }
}
