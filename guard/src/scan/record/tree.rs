//! The names of fields as a tree, and what a line has there.

use super::marks::Marks;
use crate::bytes;

/// A place in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(u16);

/// Where every record begins.
pub(super) const ROOT: NodeId = NodeId(0);

/// Names of fields by their parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// All edges, those of one node together.
    edges: Vec<Edge>,
    /// Edges in the order they came, until [`Tree::finish`].
    loose: Vec<(NodeId, Edge)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    first: u16,
    last: u16,
    /// A [`bit`] for each of the names that lead on from here: most keys are nobody's.
    names: u64,
}

#[derive(Clone, Debug)]
struct Edge {
    name: Box<[u8]>,
    node: NodeId,
}

impl Tree {
    /// The place of a dotted name. With `flat`, a record may have the name, or a beginning of it, as one key with dots
    /// inside: `{"client.ip": …}` is the same as `{"client": {"ip": …}}`. Only at the root, whose keys are the
    /// program's own: a client that chooses keys (of headers) could otherwise make a name come twice.
    pub(super) fn insert(&mut self, name: &[u8], flat: bool) -> NodeId {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut node = ROOT;
        let mut at = 0;
        for part in name.split(|b| *b == b'.') {
            let parent = node;
            at += part.len();
            node = self.child_or_new(parent, part);
            if flat && parent != ROOT {
                self.link(ROOT, &name[..at], node);
            }
            at += 1;
        }
        node
    }

    fn child_or_new(&mut self, parent: NodeId, name: &[u8]) -> NodeId {
        if let Some((_, edge)) = self.loose.iter().find(|(from, edge)| *from == parent && *edge.name == *name)
        {
            return edge.node;
        }
        let node = NodeId(self.nodes.len() as u16);
        self.nodes.push(Node::default());
        self.link(parent, name, node);
        node
    }

    fn link(&mut self, from: NodeId, name: &[u8], node: NodeId) {
        if !self.loose.iter().any(|(known, edge)| *known == from && *edge.name == *name) {
            self.loose.push((from, Edge { name: name.into(), node }));
        }
    }

    /// Puts the edges in order, after the last name.
    pub(super) fn finish(&mut self) {
        let mut loose = std::mem::take(&mut self.loose);
        loose.sort_by_key(|(from, _)| from.0);
        for (from, edge) in loose {
            let at = self.edges.len() as u16;
            let node = &mut self.nodes[usize::from(from.0)];
            if node.last == node.first {
                (node.first, node.last) = (at, at);
            }
            node.last += 1;
            node.names |= bit(&edge.name);
            self.edges.push(edge);
        }
    }

    /// Whether names lead on from here.
    #[inline]
    pub(super) fn leads_on(&self, node: NodeId) -> bool {
        self.nodes[usize::from(node.0)].names != 0
    }

    /// Where a key leads to.
    #[inline]
    pub(super) fn child(&self, node: NodeId, key: &[u8]) -> Option<NodeId> {
        let node = self.nodes[usize::from(node.0)];
        if node.names & bit(key) == 0 {
            return None;
        }
        let edges = &self.edges[usize::from(node.first)..usize::from(node.last)];
        edges.iter().find(|edge| bytes::same(&edge.name, key)).map(|edge| edge.node)
    }
}

/// One bit for a name, by its length and its ends.
#[inline]
fn bit(name: &[u8]) -> u64 {
    let [first, last] = [name.first(), name.last()].map(|b| usize::from(b.copied().unwrap_or(0)));
    1 << ((name.len() + first * 5 + last * 11) % 64)
}

/// Where a value lies: in the line, or in the buffer of decoded ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// No key led here.
    const ABSENT: Self = Self { start: u32::MAX, end: 0 };
    /// A key did, and there is no text, or none yet.
    const SEEN: Self = Self { start: u32::MAX, end: 1 };
}

/// The bit of [`Span::start`] of decoded values.
const DECODED: u32 = 1 << 31;

/// What a line has at each place of a tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    spans: Vec<Span>,
    /// Values that had escapes, decoded.
    pub(super) decoded: Vec<u8>,
    pub(super) marks: Marks,
}

impl Values {
    /// Forgets the last line; `None` if this one is too long to be looked at.
    #[inline]
    pub(super) fn begin(&mut self, tree: &Tree, line: &[u8]) -> Option<()> {
        self.spans.clear();
        self.spans.resize(tree.nodes.len(), Span::ABSENT);
        self.decoded.clear();
        // A decoded value is never longer than it was in the line.
        (line.len() < DECODED as usize).then_some(())
    }

    /// A key leads to `node`; `None` if one has before.
    #[inline]
    pub(super) fn see(&mut self, node: NodeId) -> Option<()> {
        let span = &mut self.spans[usize::from(node.0)];
        if *span != Span::ABSENT {
            return None;
        }
        *span = Span::SEEN;
        Some(())
    }

    /// The value at `node` is these bytes of the line.
    #[inline]
    pub(super) fn put(&mut self, node: NodeId, start: usize, end: usize) {
        self.spans[usize::from(node.0)] = Span { start: start as u32, end: end as u32 };
    }

    /// The value at `node` is what has been decoded since the buffer was `start` long.
    #[inline]
    pub(super) fn put_decoded(&mut self, node: NodeId, start: usize) {
        let end = self.decoded.len() as u32;
        self.spans[usize::from(node.0)] = Span { start: start as u32 | DECODED, end };
    }

    /// The value at `node`.
    #[inline]
    pub(super) fn get<'a>(&'a self, node: NodeId, line: &'a [u8]) -> Option<&'a [u8]> {
        let Span { start, end } = self.spans[usize::from(node.0)];
        if start == u32::MAX {
            return None;
        }
        let text = if start & DECODED == 0 { line } else { &self.decoded };
        text.get((start & !DECODED) as usize..end as usize)
    }
}
