//! From the beginning of a message to the forms it can have: a tree of the heads of all forms, in which every edge
//! is compared as a whole. The cost is that of the head that fits, not of the number of forms.

use super::bytes;

/// No node.
const NONE: u16 = u16::MAX;

/// A tree over the heads of forms.
#[derive(Debug)]
pub(super) struct Heads {
    /// The root comes first.
    nodes: Vec<Node>,
    /// For nodes with several children: the child by its first byte.
    branches: Vec<[u16; 256]>,
}

#[derive(Debug)]
struct Node {
    /// What stands between the parent and this node.
    edge: Box<[u8]>,
    /// Bytes from the root to here.
    depth: u16,
    /// The forms whose head ends here: a range of the sorted forms.
    forms: (u16, u16),
    /// The nearest node above that has forms.
    shorter: u16,
    /// The only child, or none.
    child: u16,
    /// Index of `branches`, or none.
    branch: u16,
}

/// A node with forms, and where the head ends in the message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    node: u16,
}

impl Heads {
    /// A tree over no heads.
    fn empty() -> Self {
        Self { nodes: Vec::new(), branches: Vec::new() }
    }

    /// A tree over sorted heads; forms are numbered by their place among them. `None` if there are too many.
    pub(super) fn new(heads: &[&[u8]]) -> Option<Self> {
        if heads.is_empty() {
            return Some(Self::empty());
        }
        if heads.len() >= usize::from(NONE) || heads.iter().any(|head| head.len() >= usize::from(NONE)) {
            return None;
        }
        let mut tree = Self::empty();
        tree.add(heads, 0, 0, NONE)?;
        Some(tree)
    }

    /// The node for the heads from number `first` on, which agree in their first `depth` bytes and more.
    fn add(&mut self, heads: &[&[u8]], first: usize, depth: usize, above: u16) -> Option<u16> {
        let here = u16::try_from(self.nodes.len()).ok().filter(|here| *here != NONE)?;
        let (shortest, longest) = (heads.first()?, heads.last()?);
        // Sorted: what the first and the last have in common, all have.
        let common = shortest.iter().zip(*longest).take_while(|(a, b)| a == b).count();
        let common = if depth == 0 && above == NONE && self.nodes.is_empty() { 0 } else { common };
        let ending = heads.iter().take_while(|head| head.len() == common).count();
        self.nodes.push(Node {
            edge: shortest[depth..common].into(),
            depth: common as u16,
            forms: (first as u16, (first + ending) as u16),
            shorter: above,
            child: NONE,
            branch: NONE,
        });
        let above = if ending > 0 { here } else { above };
        let groups: Vec<&[&[u8]]> = heads[ending..].chunk_by(|a, b| a[common] == b[common]).collect();
        let mut at = first + ending;
        let mut table = (groups.len() > 1).then_some([NONE; 256]);
        for group in groups {
            let child = self.add(group, at, common, above)?;
            match &mut table {
                Some(table) => table[usize::from(group[0][common])] = child,
                None => self.nodes[usize::from(here)].child = child,
            }
            at += group.len();
        }
        if let Some(table) = table {
            self.nodes[usize::from(here)].branch = u16::try_from(self.branches.len()).ok()?;
            self.branches.push(table);
        }
        Some(here)
    }

    /// The longest head that the message begins with.
    #[inline]
    pub(super) fn longest(&self, message: &[u8]) -> Option<Fit> {
        let mut at = 0u16;
        let mut best = NONE;
        let mut rest = message;
        while let Some(node) = self.nodes.get(usize::from(at)) {
            match bytes::after(rest, &node.edge) {
                Some(left) => rest = left,
                None => break,
            }
            if node.forms.0 < node.forms.1 {
                best = at;
            }
            at = match (self.branches.get(usize::from(node.branch)), rest.first()) {
                (Some(table), Some(byte)) => table[usize::from(*byte)],
                (None, Some(_)) => node.child,
                (_, None) => NONE,
            };
        }
        (best != NONE).then_some(Fit { node: best })
    }

    /// The next shorter head that the message begins with.
    #[inline]
    pub(super) fn shorter(&self, fit: Fit) -> Option<Fit> {
        let node = self.nodes[usize::from(fit.node)].shorter;
        (node != NONE).then_some(Fit { node })
    }

    /// The forms of a head, and its length.
    #[inline]
    pub(super) fn forms(&self, fit: Fit) -> (std::ops::Range<usize>, usize) {
        let node = &self.nodes[usize::from(fit.node)];
        (usize::from(node.forms.0)..usize::from(node.forms.1), usize::from(node.depth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(heads: &Heads, message: &[u8]) -> Vec<usize> {
        let mut all = Vec::new();
        let mut fit = heads.longest(message);
        while let Some(this) = fit {
            all.extend(heads.forms(this).0);
            fit = heads.shorter(this);
        }
        all
    }

    proptest! {
        #[test]
        fn finds_every_head_longest_first(mut heads in proptest::collection::vec("[ab]{0,6}", 1..20), message in "[abc]{0,10}") {
            heads.sort();
            let bytes: Vec<&[u8]> = heads.iter().map(String::as_bytes).collect();
            let tree = Heads::new(&bytes).unwrap();
            let mut expected: Vec<usize> = (0..heads.len()).filter(|at| message.starts_with(&heads[*at])).collect();
            expected.sort_by_key(|at| std::cmp::Reverse(heads[*at].len()));
            prop_assert_eq!(fits(&tree, message.as_bytes()), expected);
        }
    }
}
