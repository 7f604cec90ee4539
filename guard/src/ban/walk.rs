//! Going through the table in parts, between which it may change.

use std::cell::RefCell;

/// How far a walk over the table has come: what is still to be met lies before these places.
///
/// It goes from the end to the start, because a removal moves the last ban into the gap: what moves has been met
/// already or is still to come, and what is added lies behind. So every ban that is in the table from the start of the
/// walk to its end is met, and few are met twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    pub(super) hosts4: usize,
    pub(super) others: usize,
}

/// Takes the next part of at most `limit` places off the end of what is left of a walk over `length` places.
pub(super) fn part(left: &mut usize, length: usize, limit: usize) -> std::ops::Range<usize> {
    let end = (*left).min(length);
    *left = end.saturating_sub(limit);
    *left..end
}

/// One bit for each place in a list of bans: which of them a comparison has found in the kernel. The notes belong to
/// who reads the table, so they are taken through a shared reference.
#[derive(Debug, Default)]
pub(super) struct Marks(RefCell<Option<Vec<u64>>>);

impl Marks {
    /// Starts with no place marked.
    pub(super) fn begin(&self, length: usize) {
        *self.0.borrow_mut() = Some(vec![0; length.div_ceil(64)]);
    }

    /// Nobody takes notes any more.
    pub(super) fn end(&self) {
        *self.0.borrow_mut() = None;
    }

    /// Whether notes are taken.
    pub(super) fn are_taken(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Marks a place.
    pub(super) fn set(&self, place: usize) {
        if let Some(words) = &mut *self.0.borrow_mut() {
            if words.len() <= place / 64 {
                words.resize(place / 64 + 1, 0);
            }
            words[place / 64] |= 1 << (place % 64);
        }
    }

    /// Whether a place is marked; all are while no notes are taken.
    pub(super) fn is_set(&self, place: usize) -> bool {
        self.0
            .borrow()
            .as_ref()
            .is_none_or(|words| words.get(place / 64).is_some_and(|word| word & 1 << (place % 64) != 0))
    }

    /// The ban of one place has gone and the last one has moved there, unless it was the last itself.
    pub(super) fn moved(&mut self, last: usize, to: usize) {
        let is_set = self.is_set(last);
        let Some(words) = self.0.get_mut() else { return };
        // The last place is cleared last, since it may be the same.
        for (place, is_set) in [(to, is_set), (last, false)] {
            if let Some(word) = words.get_mut(place / 64) {
                *word = *word & !(1 << (place % 64)) | u64::from(is_set) << (place % 64);
            }
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.0.borrow().as_ref().map_or(0, |words| words.capacity() * 8)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::IpAddr;

    use proptest::prelude::*;

    use crate::ban::{Ban, BanId, BanTable, Origin};
    use crate::sighting::Points;
    use crate::target::Target;
    use crate::time::Moment;

    fn ban(target: Target) -> Ban {
        Ban {
            id: BanId(1),
            target,
            since: Moment(0),
            until: None,
            origin: Origin::Manual(0),
            score: Points(0),
            strike: 1,
            reason: "".into(),
        }
    }

    /// Hosts and prefixes, so that both shelves are walked.
    fn target() -> impl Strategy<Value = Target> {
        (0..200_u32, prop::sample::select(vec![32_u8, 32, 32, 28])).prop_map(|(host, length)| {
            Target::prefix(IpAddr::from((0xc000_0200 + host * 16).to_be_bytes()), length).unwrap()
        })
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// A ban comes, to table and kernel.
        Add(Target),
        /// A ban goes, from both.
        Remove(Target),
        /// The comparison goes on over so many entries or bans.
        Compare(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            target().prop_map(Step::Add),
            target().prop_map(Step::Remove),
            (1..20_usize).prop_map(Step::Compare),
        ]
    }

    proptest! {
        #[test]
        fn a_comparison_in_parts_finds_all_that_is_missing_or_foreign(
            wanted in prop::collection::vec(target(), 0..150),
            held in prop::collection::vec(target(), 0..150),
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let mut table = BanTable::new();
            for target in wanted {
                table.set(ban(target));
            }
            let mut kernel: BTreeSet<Target> = held.into_iter().collect();

            table.begin_meeting();
            let mut scanned: Option<Target> = None;
            let mut walk = None;
            let mut steps = steps.into_iter();
            loop {
                let limit = match steps.next().unwrap_or(Step::Compare(7)) {
                    Step::Add(target) => {
                        table.set(ban(target));
                        kernel.insert(target);
                        continue;
                    }
                    Step::Remove(target) => {
                        table.remove(target);
                        kernel.remove(&target);
                        continue;
                    }
                    Step::Compare(limit) => limit,
                };
                if let Some(walk) = &mut walk {
                    let Some(part) = table.part(walk, limit) else { break };
                    kernel.extend(part.filter(|(_, is_met)| !is_met).map(|(ban, _)| ban.target));
                    continue;
                }
                let part: Vec<Target> =
                    kernel.iter().copied().filter(|target| Some(*target) > scanned).take(limit).collect();
                match part.last() {
                    Some(last) => scanned = Some(*last),
                    None => walk = Some(table.walk()),
                }
                for target in part {
                    if table.meet(target).is_none() {
                        kernel.remove(&target);
                    }
                }
            }
            table.end_meeting();

            let wanted: BTreeSet<Target> = table.iter().map(|ban| ban.target).collect();
            prop_assert_eq!(kernel, wanted);
        }
    }
}
