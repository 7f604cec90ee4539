//! Ranges that may overlap, each with a rule: those around one value are found in logarithmic time and one step for each.

/// Ranges in the order of their beginnings, seen as a balanced tree whose root is in the middle.
#[derive(Debug)]
pub(super) struct Intervals<T> {
    all: Box<[Interval<T>]>,
}

#[derive(Clone, Copy, Debug)]
struct Interval<T> {
    first: T,
    last: T,
    /// The greatest `last` of the tree below, this one included.
    reach: T,
    rule: u32,
}

impl<T> Default for Intervals<T> {
    fn default() -> Self {
        Self { all: Box::default() }
    }
}

impl<T: Copy + Ord> Intervals<T> {
    /// Ranges by their first and last values.
    pub(super) fn new(mut ranges: Vec<(T, T, u32)>) -> Self {
        ranges.sort_unstable();
        let interval = |(first, last, rule)| Interval { first, last, reach: last, rule };
        let mut all: Box<[_]> = ranges.into_iter().map(interval).collect();
        reach(&mut all);
        Self { all }
    }

    /// The rules of all ranges around a value. One with several may come several times.
    pub(super) fn at(&self, value: T, mut tell: impl FnMut(u32)) {
        search(&self.all, value, &mut tell);
    }
}

/// Sets how far each tree reaches; answers it for the whole.
fn reach<T: Copy + Ord>(tree: &mut [Interval<T>]) -> Option<T> {
    let middle = tree.len() / 2;
    let (left, rest) = tree.split_at_mut(middle);
    let (root, right) = rest.split_first_mut()?;
    root.reach = [reach(left), reach(right)].into_iter().flatten().fold(root.last, T::max);
    Some(root.reach)
}

/// Depth: the logarithm of the number of ranges.
fn search<T: Copy + Ord>(tree: &[Interval<T>], value: T, tell: &mut impl FnMut(u32)) {
    let (left, rest) = tree.split_at(tree.len() / 2);
    let Some((root, right)) = rest.split_first().filter(|(root, _)| root.reach >= value) else { return };
    search(left, value, tell);
    if root.first <= value {
        if value <= root.last {
            tell(root.rule);
        }
        search(right, value, tell);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_a_walk_over_all_ranges(ranges in prop::collection::vec((0u32..40, 0u32..20), 0..40)) {
            let ranges: Vec<_> =
                ranges.iter().zip(0..).map(|(&(first, more), rule)| (first, first + more, rule)).collect();
            let tree = Intervals::new(ranges.clone());
            for value in 0..64 {
                let mut found = Vec::new();
                tree.at(value, |rule| found.push(rule));
                found.sort_unstable();
                let around = |(first, last, _): &&(u32, u32, u32)| (*first..=*last).contains(&value);
                let wanted: Vec<u32> = ranges.iter().filter(around).map(|(_, _, rule)| *rule).collect();
                prop_assert_eq!(found, wanted);
            }
        }
    }

    #[test]
    fn what_is_elsewhere_is_not_looked_at() {
        let apart = Intervals::new((0..1u32 << 20).map(|n| (n * 16, n * 16 + 7, n)).collect());
        let begin = std::time::Instant::now();
        let mut found = Vec::new();
        for value in 0..10_000 {
            apart.at(value * 1600, |rule| found.push(rule));
        }
        assert_eq!(found.len(), 10_000);
        assert!(begin.elapsed().as_secs() < 2, "{:?} for 10,000 of a million ranges", begin.elapsed());
    }
}
