//! Things in groups: what is alike is looked at one after the other, so that the processor's guesses hold, and answered in
//! the order in which it came.

use super::lines::Ends;

/// Groups that are told apart; others share one.
const GROUPS: usize = 64;
/// Instead of a place: the thing is gone.
const GONE: u16 = u16::MAX;
/// Instead of a place: the thing is looked at late.
const LATE: u16 = u16::MAX - 1;

/// What becomes of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It has led to something.
    Kept,
    /// It is to be looked at in its turn.
    Late,
    /// It means nothing.
    Gone,
}

/// As many things as lines are looked at together.
#[derive(Clone, Debug)]
pub(super) struct Groups<T> {
    things: [T; Ends::MOST],
    group: [u8; Ends::MOST],
    count: usize,
    /// For each thing, how many were kept before it was, or what became of it instead.
    places: [u16; Ends::MOST],
}

impl<T: Copy + Default> Groups<T> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            things: [T::default(); Ends::MOST],
            group: [0; Ends::MOST],
            count: 0,
            places: [GONE; Ends::MOST],
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
        self.group[self.count] = (usize::from(group) % GROUPS) as u8;
        self.count += usize::from(wanted);
    }

    /// Calls `look` for each thing, one group after the other; it answers what becomes of the thing.
    #[inline(always)]
    pub(super) fn each(&mut self, mut look: impl FnMut(&T) -> Fate) {
        let mut order = [0; Ends::MOST];
        let groups = &self.group[..self.count];
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
            let fate = look(&self.things[thing]);
            self.places[thing] = match fate {
                Fate::Kept => kept,
                Fate::Late => LATE,
                Fate::Gone => GONE,
            };
            kept += u16::from(fate == Fate::Kept);
        }
    }

    /// The things that are not gone, in the order in which they were added, and how many had been kept before each
    /// when it was; `None` for those that are late.
    #[inline(always)]
    pub(super) fn in_order(&self) -> impl Iterator<Item = (&T, Option<usize>)> {
        let all = self.things.iter().zip(&self.places[..self.count]);
        all.filter(|(_, place)| **place != GONE)
            .map(|(thing, place)| (thing, (*place != LATE).then_some(usize::from(*place))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![3 => Just(Fate::Kept), 1 => Just(Fate::Late), 1 => Just(Fate::Gone)]
    }

    proptest! {
        #[test]
        fn all_that_is_kept_comes_back_in_order(things in proptest::collection::vec((0..100u16, fate(), any::<bool>()), 0..Ends::MOST)) {
            let mut groups = Groups::new();
            for (number, (group, _, wanted)) in things.iter().enumerate() {
                groups.add(number, *group, *wanted);
            }
            let (mut kept, mut seen) = (Vec::new(), Vec::new());
            groups.each(|number| {
                let (group, fate, _) = things[*number];
                seen.push(usize::from(group) % GROUPS);
                kept.extend((fate == Fate::Kept).then_some(*number));
                fate
            });
            prop_assert!(seen.is_sorted());
            let expected = things.iter().enumerate().filter(|(_, thing)| thing.2 && thing.1 != Fate::Gone);
            let expected: Vec<_> = expected.map(|(number, thing)| (number, (thing.1 == Fate::Kept).then_some(number))).collect();
            let all: Vec<_> = groups.in_order().map(|(number, place)| (*number, place.map(|place| kept[place]))).collect();
            prop_assert_eq!(all, expected);
        }
    }
}
