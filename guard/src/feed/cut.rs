//! A listed target without what must never be banned: invariant 5 holds for feeds as for any other ban.

use crate::target::Target;

/// Targets that one listed target may become at most. Each protected address in a prefix makes as many as it is longer.
const PARTS: usize = 4096;

/// What is left of a listed target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of it.
    Whole,
    /// These, the widest that touch nothing protected.
    Parts(Vec<Target>),
    /// Nothing: it lies in what is protected.
    Nothing,
    /// More parts than are worth it: the whole of it is refused.
    TooFine,
}

impl Cut {
    /// What is to be banned of `target`.
    pub fn targets(self, target: Target) -> Vec<Target> {
        match self {
            Self::Whole => vec![target],
            Self::Parts(parts) => parts,
            Self::Nothing | Self::TooFine => Vec::new(),
        }
    }
}

/// Cuts what is protected out of a target. `protected` is in the order of targets and none of it covers another, as
/// [`Protection::targets`](crate::protect::Protection::targets) has it.
pub fn cut(target: Target, protected: &[Target]) -> Cut {
    let protected = touching(target, protected);
    match protected {
        [] => Cut::Whole,
        [wide, ..] if wide.length() <= target.length() => Cut::Nothing,
        _ => {
            let mut parts = Vec::new();
            if split(target, protected, &mut parts) { Cut::Parts(parts) } else { Cut::TooFine }
        }
    }
}

/// Whether [`cut`] leaves exactly `part` of `listed`, among others.
pub fn is_left(part: Target, listed: Target, protected: &[Target]) -> bool {
    if part == listed {
        return touching(part, protected).is_empty();
    }
    let wider = Target::prefix(part.address(), part.length().saturating_sub(1));
    part.length() > listed.length()
        && listed.covers(part.address())
        && touching(part, protected).is_empty()
        && wider.is_some_and(|wider| !touching(wider, protected).is_empty())
        && cut(listed, protected) != Cut::TooFine
}

/// The protected targets that share an address with one.
fn touching(target: Target, protected: &[Target]) -> &[Target] {
    let mut from = protected.partition_point(|known| *known < target);
    let inside = protected[from..].iter().take_while(|known| known.overlaps(target)).count();
    let to = from + inside;
    if from > 0 && protected[from - 1].overlaps(target) {
        from -= 1;
    }
    &protected[from..to]
}

/// Appends the parts of a target that is touched; `false` if they are too many.
fn split(target: Target, protected: &[Target], parts: &mut Vec<Target>) -> bool {
    for half in halves(target).into_iter().flatten() {
        match touching(half, protected) {
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
        std::net::IpAddr::V4(address) => {
            let bit = 1 << (32 - u32::from(length));
            Target::prefix(std::net::Ipv4Addr::from_bits(address.to_bits() | bit).into(), length)
        }
        std::net::IpAddr::V6(address) => {
            let bit = 1 << (128 - u32::from(length));
            Target::prefix(std::net::Ipv6Addr::from_bits(address.to_bits() | bit).into(), length)
        }
    };
    [low, high].map(|half| half.filter(|half| half.family() == target.family()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::List;
    use super::super::tests::{addresses, target};
    use super::*;

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
            let protected: Vec<Target> = protected.into_iter().collect::<List>().iter().collect();
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
