//! From the beginning of a message to the forms it can have: a tree of the heads of all forms, in which every edge
//! is compared as a whole. The cost is that of the head that fits, not of the number of forms.

use super::literal::Literal;
use super::openings::{OPENING, Opening, Openings};

/// Heads of a tree that are compared one by one instead of walking down, at most.
const FEW: usize = 4;
/// No node.
const NONE: u16 = u16::MAX;

/// A tree over the heads of forms.
#[derive(Debug)]
pub(super) struct Heads {
    /// The root comes first.
    nodes: Vec<Node>,
    /// For nodes with several children: the child by its first byte.
    branches: Vec<[u16; 256]>,
    /// If there are [`FEW`] heads: each with its node, the longest first. Otherwise none.
    few: Box<[(Literal, u16)]>,
    /// Where the first bytes of a message lead.
    openings: Openings<Start>,
}

/// A place in the tree to begin at: a node, before whose edge everything has been compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    node: u16,
    /// The first node that leads anywhere. Nodes above another have lower numbers.
    first: u16,
}

#[derive(Debug)]
struct Node {
    /// What stands between the parent and this node.
    edge: Literal,
    /// Bytes from the root to where the edge begins, and to here.
    begin: u16,
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

impl Start {
    /// Where any message may begin.
    pub(super) const ROOT: Self = Self { node: 0, first: 0 };

    /// The same, if no head fits that ends above.
    pub(super) fn alone(self) -> Self {
        Self { first: self.node, ..self }
    }

    /// The node, if it leads anywhere; otherwise none.
    #[inline(always)]
    fn reach(self, node: u16) -> u16 {
        if node >= self.first { node } else { NONE }
    }

    /// A number that messages of one form have in common.
    #[inline(always)]
    pub(super) fn number(self) -> u16 {
        self.node
    }
}

/// A node with forms, whose head the message begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit<'t>(&'t Node);

impl Heads {
    /// A tree over no heads.
    pub(super) fn empty() -> Self {
        let openings = Openings::new(&[], |_| Start::default());
        Self { nodes: Vec::new(), branches: Vec::new(), few: Box::default(), openings }
    }

    /// A tree over sorted heads; forms are numbered by their place among them. `None` if there are too many.
    pub(super) fn new(heads: &[&[u8]]) -> Option<Self> {
        if heads.len() >= usize::from(NONE) || heads.iter().any(|head| head.len() >= usize::from(NONE)) {
            return None;
        }
        let mut tree = Self::empty();
        if !heads.is_empty() {
            tree.add(heads, 0, 0, NONE)?;
        }
        let mut few = heads.to_vec();
        few.dedup();
        if few.len() <= FEW {
            few.sort_by_key(|head| std::cmp::Reverse(head.len()));
            tree.few = few.iter().map(|head| (Literal::forwards(head), tree.walk(head).node)).collect();
        }
        Some(tree)
    }

    /// The same, which can tell from the opening of a message where to begin, or that it means nothing. A message that
    /// begins like one of `others` may mean something as well.
    pub(super) fn beside(heads: &[&[u8]], others: &[&[u8]]) -> Option<Self> {
        let mut tree = Self::new(heads)?;
        let openings = Openings::new(&[heads, others].concat(), |front| {
            let meant = others.iter().any(|other| other.starts_with(front));
            if meant { Start::default() } else { tree.walk(front) }
        });
        tree.openings = openings;
        Some(tree)
    }

    /// Where the first bytes of some head end.
    fn walk(&self, front: &[u8]) -> Start {
        let mut at = 0u16;
        while let Some(node) = self.nodes.get(usize::from(at)) {
            let depth = usize::from(node.depth);
            if depth >= front.len() {
                return Start { node: at, first: 0 };
            }
            at = self.child(node, front[depth]);
        }
        Start::default()
    }

    /// The child of a node for messages that go on with this byte, or none.
    #[inline(always)]
    fn child(&self, node: &Node, next: u8) -> u16 {
        match self.branches.get(usize::from(node.branch)) {
            Some(table) => table[usize::from(next)],
            None => node.child,
        }
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
            edge: Literal::forwards(&shortest[depth..common]),
            begin: depth as u16,
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

    /// Where a message with this opening is to be compared; `None` if it means nothing, whatever follows.
    pub(super) fn start(&self, opening: &[u8; OPENING]) -> Option<Start> {
        match self.openings.find(opening) {
            Opening::None => None,
            Opening::At(start) => Some(self.further(start, opening)),
            Opening::Any => Some(self.further(Start::default(), opening)),
        }
    }

    /// From a start as far down the tree as an opening leads.
    fn further(&self, start: Start, opening: &[u8; OPENING]) -> Start {
        let mut at = start;
        while let Some(node) = self.nodes.get(usize::from(at.node))
            && let Some(next) = opening.get(usize::from(node.depth))
            && opening[usize::from(node.begin)..].starts_with(node.edge.bytes())
        {
            match self.child(node, *next) {
                NONE => break,
                child => at.node = child,
            }
        }
        at
    }

    /// The longest head that a message begins with whose opening led to `start`; any opening leads to the default.
    #[inline(always)]
    pub(super) fn longest(&self, start: Start, message: &[u8]) -> Option<Fit<'_>> {
        if start == Start::ROOT && !self.few.is_empty() {
            let (_, node) = self.few.iter().find(|(head, _)| head.after(message).is_some())?;
            return self.fit(*node);
        }
        let mut at = start.node;
        let mut node = self.nodes.get(usize::from(at))?;
        let mut rest = message;
        if let Some(behind) = message.get(usize::from(node.begin)..) {
            rest = behind;
        } else {
            // What was taken for its opening is longer than the message.
            (at, node) = (0, self.nodes.first()?);
        }
        let mut best = start.reach(node.shorter);
        while let Some(behind) = node.edge.after(rest) {
            rest = behind;
            if node.forms.0 < node.forms.1 {
                best = at;
            }
            let Some(next) = rest.first() else { break };
            at = self.child(node, *next);
            let Some(child) = self.nodes.get(usize::from(at)) else { break };
            node = child;
        }
        self.fit(best)
    }

    #[inline(always)]
    fn fit(&self, node: u16) -> Option<Fit<'_>> {
        self.nodes.get(usize::from(node)).map(Fit)
    }

    /// Whether some head is longer than this text and begins with it.
    pub(super) fn is_cut(&self, text: &[u8]) -> bool {
        let (mut at, mut rest) = (0u16, text);
        while let Some(node) = self.nodes.get(usize::from(at)) {
            let edge = node.edge.bytes();
            if rest.len() < edge.len() {
                return edge.starts_with(rest);
            }
            let Some(left) = rest.strip_prefix(edge) else { return false };
            let Some(first) = left.first() else { return node.child != NONE || node.branch != NONE };
            rest = left;
            at = self.child(node, *first);
        }
        false
    }

    /// The next shorter head that a message begins with whose opening led to `start`.
    #[inline(always)]
    pub(super) fn shorter(&self, fit: Fit<'_>, start: Start) -> Option<Fit<'_>> {
        self.fit(start.reach(fit.0.shorter))
    }

    /// The longest head that ends above a start.
    pub(super) fn above(&self, start: Start) -> Option<Fit<'_>> {
        self.fit(self.nodes.get(usize::from(start.node))?.shorter)
    }
}

impl Fit<'_> {
    /// The forms of the head, and its length.
    #[inline(always)]
    pub(super) fn forms(self) -> (std::ops::Range<usize>, usize) {
        let Node { forms, depth, .. } = self.0;
        (usize::from(forms.0)..usize::from(forms.1), usize::from(*depth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(heads: &Heads, longest: Option<Fit<'_>>) -> Vec<usize> {
        let mut all = Vec::new();
        let mut fit = longest;
        while let Some(this) = fit {
            all.extend(this.forms().0);
            fit = heads.shorter(this, Start::default());
        }
        all
    }

    fn expected(heads: &[String], message: &str) -> Vec<usize> {
        let mut expected: Vec<usize> =
            (0..heads.len()).filter(|at| message.starts_with(&heads[*at])).collect();
        expected.sort_by_key(|at| std::cmp::Reverse(heads[*at].len()));
        expected
    }

    fn tree(heads: &[String], others: &[&[u8]]) -> Heads {
        let heads: Vec<&[u8]> = heads.iter().map(String::as_bytes).collect();
        Heads::beside(&heads, others).unwrap()
    }

    proptest! {
        #[test]
        fn finds_every_head_longest_first(mut heads in proptest::collection::vec("[ab]{0,6}", 1..20), message in "[abc]{0,10}") {
            heads.sort();
            let tree = tree(&heads, &[]);
            prop_assert_eq!(fits(&tree, tree.longest(Start::default(), message.as_bytes())), expected(&heads, &message));
        }

        #[test]
        fn an_opening_hides_no_head(mut heads in proptest::collection::vec("[ab]{0,3}[abx]{3,20}", 1..20), message in "[ab]{0,6}[abx]{0,20}", behind in "[ab\n]{16}", which: prop::sample::Index) {
            heads.sort();
            let tree = tree(&heads, &[b"abbaab"]);
            // Half of the messages begin with a head.
            let message = if message.len() % 2 == 0 { format!("{}{message}", which.get(&heads)) } else { message };
            let opening = *format!("{message}{behind}").as_bytes().first_chunk().unwrap();
            let longest = tree.start(&opening).and_then(|start| tree.longest(start, message.as_bytes()));
            prop_assert_eq!(fits(&tree, longest), expected(&heads, &message));
            if message.starts_with("abbaab") {
                prop_assert!(tree.start(&opening).is_some());
            }
        }
    }
}
