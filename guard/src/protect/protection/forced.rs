//! Bans that people forced: what may pass has holes there.
//!
//! The kernel asks its allowances after a ban has hit, so an allowed target is dropped only if no allowance covers it.
//! Where one is wider than the ban, what is left of it beside the ban takes its place.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::target::Target;

/// The allowed targets without what is forced; sorted, none of them overlapping another if none did before.
pub(super) fn without(allowed: Vec<Target>, forced: &BTreeSet<Target>) -> Vec<Target> {
    if forced.is_empty() {
        return allowed;
    }
    let mut left = Vec::with_capacity(allowed.len());
    for target in allowed {
        let holes: Vec<Target> = forced.iter().copied().filter(|hole| hole.overlaps(target)).collect();
        cut(target, &holes, &mut left);
    }
    left
}

/// Cuts holes, each of which overlaps the target, out of it.
fn cut(target: Target, holes: &[Target], left: &mut Vec<Target>) {
    if holes.is_empty() {
        return left.push(target);
    }
    if holes.iter().any(|hole| hole.length() <= target.length()) {
        return; // it covers all of it
    }
    for half in halves(target) {
        let inside: Vec<Target> = holes.iter().copied().filter(|hole| hole.overlaps(half)).collect();
        cut(half, &inside, left);
    }
}

/// The two halves of a prefix. Of IPv6, none that is IPv4 in another form: no packet has such a source.
fn halves(prefix: Target) -> impl Iterator<Item = Target> {
    let length = prefix.length();
    let upper = match prefix.address() {
        IpAddr::V4(address) => IpAddr::V4((address.to_bits() | 1 << (31 - length)).into()),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() | 1 << (127 - length)).into()),
    };
    let half = move |address| Target::prefix(address, length + 1);
    let same = move |half: &Target| half.address().is_ipv4() == prefix.address().is_ipv4();
    [prefix.address(), upper].into_iter().filter_map(half).filter(same)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

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
