//! Things in groups: what is alike is looked at one after the other, so that the processor's guesses hold, and answered in
//! the order in which it came.

use super::lines::Ends;

/// Groups that are told apart; others share one.
const GROUPS: usize = 64;
/// No place.
const NONE: u16 = u16::MAX;

/// As many things as lines are looked at together.
#[derive(Clone, Debug)]
pub(super) struct Groups<T> {
    things: [T; Ends::MOST],
    groups: [u8; Ends::MOST],
    count: usize,
    /// For each thing, the how many-eth it was that was kept.
    places: [u16; Ends::MOST],
}

impl<T: Copy + Default> Groups<T> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            things: [T::default(); Ends::MOST],
            groups: [0; Ends::MOST],
            count: 0,
            places: [NONE; Ends::MOST],
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// Adds a thing if it is `wanted`, without a branch on that. There is room for [`Ends::MOST`].
    #[inline(always)]
    pub(super) fn add(&mut self, thing: T, group: u16, wanted: bool) {
        self.things[self.count] = thing;
        self.groups[self.count] = (usize::from(group) % GROUPS) as u8;
        self.count += usize::from(wanted);
    }

    /// Calls `keep` for each thing, one group after the other; it answers whether the thing is kept.
    #[inline(always)]
    pub(super) fn each(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let mut order = [0; Ends::MOST];
        let groups = &self.groups[..self.count];
        let mut next = [0u16; GROUPS];
        for group in groups {
            next[usize::from(*group)] += 1;
        }
        let mut sum = 0;
        for count in &mut next {
            (*count, sum) = (sum, sum + *count);
        }
        for (thing, group) in groups.iter().enumerate() {
            let place = &mut next[usize::from(*group)];
            order[usize::from(*place)] = thing as u16;
            *place += 1;
        }
        let mut kept = 0;
        for thing in &order[..self.count] {
            let thing = usize::from(*thing);
            let keeps = keep(&self.things[thing]);
            self.places[thing] = if keeps { kept } else { NONE };
            kept += u16::from(keeps);
        }
    }

    /// For each thing that was kept, in the order in which they were added, the how many-eth it was.
    pub(super) fn kept(&self) -> impl Iterator<Item = usize> {
        self.places[..self.count].iter().filter(|place| **place != NONE).map(|place| usize::from(*place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_that_is_kept_comes_back_in_order(things in proptest::collection::vec((0..1000u16, 0..100u16, any::<bool>(), any::<bool>()), 0..Ends::MOST)) {
            let mut groups = Groups::new();
            for (thing, group, wanted, kept) in &things {
                groups.add((*thing, *group, *kept), *group, *wanted);
            }
            let (mut kept, mut seen) = (Vec::new(), Vec::new());
            groups.each(|(thing, group, keep)| {
                seen.push(usize::from(*group) % GROUPS);
                kept.extend(keep.then_some(*thing));
                *keep
            });
            prop_assert!(seen.is_sorted());
            let expected: Vec<u16> = things.iter().filter(|t| t.2 && t.3).map(|t| t.0).collect();
            prop_assert_eq!(groups.kept().map(|place| kept[place]).collect::<Vec<_>>(), expected);
        }
    }
}
