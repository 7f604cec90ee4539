//! A target without some others: what a feed lists without what must never be banned, what is allowed without what a
//! person banned all the same.

use std::net::IpAddr;

use super::Target;

/// Targets that one target may become at most. Each address that is cut out of a prefix makes as many as it is longer.
const PARTS: usize = 4096;

/// What is left of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of it.
    Whole,
    /// These, the widest that touch nothing of what is cut out.
    Parts(Vec<Target>),
    /// Nothing: something covers all of it.
    Nothing,
    /// More parts than are worth it.
    TooFine,
}

impl Cut {
    /// What is left of `target`; nothing where it would be too fine.
    pub fn targets(self, target: Target) -> Vec<Target> {
        match self {
            Self::Whole => vec![target],
            Self::Parts(parts) => parts,
            Self::Nothing | Self::TooFine => Vec::new(),
        }
    }
}

/// Cuts holes out of a target. They are in the order of targets and none of them covers another, as [`widest`] has them.
pub fn cut(target: Target, holes: &[Target]) -> Cut {
    let holes = touching(target, holes);
    match holes {
        [] => Cut::Whole,
        [wide, ..] if wide.length() <= target.length() => Cut::Nothing,
        _ => {
            let mut parts = Vec::new();
            if split(target, holes, &mut parts) { Cut::Parts(parts) } else { Cut::TooFine }
        }
    }
}

/// Whether [`cut`] leaves exactly `part` of `listed`, among others.
pub fn is_left(part: Target, listed: Target, holes: &[Target]) -> bool {
    if part == listed {
        return touching(part, holes).is_empty();
    }
    let wider = Target::prefix(part.address(), part.length().saturating_sub(1));
    part.length() > listed.length()
        && listed.covers(part.address())
        && touching(part, holes).is_empty()
        && wider.is_some_and(|wider| !touching(wider, holes).is_empty())
        && cut(listed, holes) != Cut::TooFine
}

/// Of targets in their order those that no other covers.
pub fn widest(targets: impl IntoIterator<Item = Target>) -> Vec<Target> {
    let mut widest: Vec<Target> = Vec::new();
    for target in targets {
        // Sorted by address, then length: what covers a target comes before it, with only its inside between.
        if !widest.last().is_some_and(|wide| wide.overlaps(target)) {
            widest.push(target);
        }
    }
    widest
}

/// The holes that share an address with a target.
pub fn touching(target: Target, holes: &[Target]) -> &[Target] {
    let mut from = holes.partition_point(|known| *known < target);
    let inside = holes[from..].iter().take_while(|known| known.overlaps(target)).count();
    let to = from + inside;
    if from > 0 && holes[from - 1].overlaps(target) {
        from -= 1;
    }
    &holes[from..to]
}

/// Appends the parts of a target that a hole touches; `false` if they are too many.
fn split(target: Target, holes: &[Target], parts: &mut Vec<Target>) -> bool {
    for half in halves(target).into_iter().flatten() {
        match touching(half, holes) {
            [] if parts.len() == PARTS => return false,
            [] => parts.push(half),
            [wide, ..] if wide.length() <= half.length() => {}
            inside => {
                if !split(half, inside, parts) {
                    return false;
                }
            }
        }
    }
    true
}

/// Both halves of a prefix. One that would be all IPv4-mapped addresses is none of IPv6.
fn halves(target: Target) -> [Option<Target>; 2] {
    let length = target.length() + 1;
    let low = Target::prefix(target.address(), length);
    let high = match target.address() {
        IpAddr::V4(address) => IpAddr::V4((address.to_bits() | 1 << (32 - u32::from(length))).into()),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() | 1 << (128 - u32::from(length))).into()),
    };
    [low, Target::prefix(high, length)].map(|half| half.filter(|half| half.family() == target.family()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::feed::tests::{addresses, target};

    fn targets(texts: &[&str]) -> Vec<Target> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_is_left_is_as_wide_as_can_be() {
        let listed: Target = "203.0.113.0/24".parse().unwrap();
        for (protected, left) in [
            (&["198.51.100.0/24"][..], Cut::Whole),
            (&["203.0.112.0/22"], Cut::Nothing),
            (&["203.0.113.0/24"], Cut::Nothing),
            (&["203.0.113.0/25"], Cut::Parts(targets(&["203.0.113.128/25"]))),
            (
                &["203.0.113.64/28", "203.0.113.128/25"],
                Cut::Parts(targets(&["203.0.113.0/26", "203.0.113.80/28", "203.0.113.96/27"])),
            ),
        ] {
            assert_eq!(cut(listed, &targets(protected)), left, "{protected:?}");
        }
        assert_eq!(cut("::/32".parse().unwrap(), &targets(&["::1"])).targets(listed).len(), 128 - 32);
    }

    #[test]
    fn a_prefix_full_of_holes_is_refused() {
        let protected: Vec<Target> =
            (0..=PARTS as u32).map(|n| Target::host((0x1000_0000 + n * 2).to_be_bytes().into())).collect();
        let listed = "16.0.0.0/16".parse().unwrap();
        assert_eq!(cut(listed, &protected), Cut::TooFine);
        assert!(!is_left("16.0.0.1".parse().unwrap(), listed, &protected));
    }

    proptest! {
        #[test]
        fn what_is_left_is_the_target_without_the_protected(
            listed in target(),
            protected in prop::collection::vec(target(), 0..6),
        ) {
            let protected = widest(protected.into_iter().collect::<BTreeSet<_>>());
            let left = cut(listed, &protected).targets(listed);
            for address in addresses() {
                let wanted = listed.covers(address) && !protected.iter().any(|known| known.covers(address));
                prop_assert_eq!(left.iter().filter(|part| part.covers(address)).count(), usize::from(wanted));
            }
            for part in &left {
                prop_assert!(is_left(*part, listed, &protected));
                prop_assert!(!protected.iter().any(|known| known.overlaps(*part)));
                let wider = Target::prefix(part.address(), part.length().saturating_sub(1)).unwrap();
                prop_assert_eq!(is_left(wider, listed, &protected), left.contains(&wider));
            }
        }
    }
}
