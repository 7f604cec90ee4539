//! Bans that people forced: what may pass has holes there.
//!
//! The kernel asks its allowances after a ban has hit, so an allowed target is dropped only if no allowance covers it.
//! Where one is wider than the ban, what is left of it beside the ban takes its place.

use std::collections::BTreeSet;

use super::Protection;
use crate::target::{Cut, Target, cut, widest};
use crate::time::Moment;

/// The allowed targets without what is forced; sorted, none of them overlapping another if none did before. One that
/// would be left in too many parts stays whole: rather a forced ban does not hold than somebody is dropped who may pass.
pub(super) fn without(allowed: Vec<Target>, forced: &BTreeSet<Target>) -> Vec<Target> {
    if forced.is_empty() {
        return allowed;
    }
    let forced = widest(forced.iter().copied());
    let left = |target| match cut(target, &forced) {
        Cut::TooFine => vec![target],
        left => left.targets(target),
    };
    allowed.into_iter().flat_map(left).collect()
}

impl Protection {
    /// An allowed target inside which so much would be forced, with `target`, that a forced ban could not hold there.
    pub fn too_fine_with(&self, target: Target, now: Moment) -> Option<Target> {
        let forced = self.forced.iter().copied().chain([target]).collect();
        self.too_fine(&forced, |allowed| allowed.overlaps(target), now)
    }

    /// The first allowed target of these that stays whole because so much is forced inside it.
    pub(super) fn too_fine(
        &self,
        forced: &BTreeSet<Target>,
        is_asked: impl Fn(Target) -> bool,
        now: Moment,
    ) -> Option<Target> {
        if forced.is_empty() {
            return None;
        }
        let forced = widest(forced.iter().copied());
        let mut asked = self.allowances(now).into_iter().filter(|allowed| is_asked(*allowed));
        asked.find(|allowed| cut(*allowed, &forced) == Cut::TooFine)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_left_of_an_allowance_stays_allowed() {
        let forced = BTreeSet::from([target("10.0.0.4"), target("192.168.0.0/16"), target("fe80::1")]);
        let allowed = ["10.0.0.0/29", "192.168.7.0/24", "203.0.113.7", "fe80::/126"].map(target).to_vec();
        let left: Vec<String> = without(allowed, &forced).iter().map(Target::to_string).collect();
        let wanted = ["10.0.0.0/30", "10.0.0.5", "10.0.0.6/31", "203.0.113.7", "fe80::", "fe80::2/127"];
        assert_eq!(left, wanted);
        let all = vec![target("0.0.0.0/0"), target("::/0")];
        let left = without(all, &BTreeSet::from([target("203.0.113.7"), target("::1")]));
        assert_eq!((left.len(), left.iter().filter(|one| one.address().is_ipv4()).count()), (32 + 128, 32));
    }

    #[test]
    fn what_would_be_in_too_many_parts_stays_whole() {
        let hosts = |count: u32| (0..count).map(|n| Target::host(IpAddr::V4((0x0a00_0000 + n * 2).into())));
        let allowed = vec![target("10.0.0.0/8")];
        assert_eq!(without(allowed.clone(), &hosts(2048).collect()).len(), 2048 + 12);
        assert_eq!(without(allowed.clone(), &hosts(5000).collect()), allowed);
    }

    fn few() -> impl Strategy<Value = Target> {
        (0u32..64, 24u8..=32).prop_map(|(a, l)| Target::prefix(Ipv4Addr::from(a << 2).into(), l).unwrap())
    }

    proptest! {
        #[test]
        fn every_address_is_allowed_unless_it_is_forced(
            allowed in few(),
            forced in prop::collection::btree_set(few(), 0..6),
        ) {
            let left = without(vec![allowed], &forced);
            for address in (0u32..256).map(|a| IpAddr::V4(a.into())) {
                let wanted = allowed.covers(address) && !forced.iter().any(|hole| hole.covers(address));
                prop_assert_eq!(left.iter().filter(|one| one.covers(address)).count(), usize::from(wanted));
            }
        }
    }
}
