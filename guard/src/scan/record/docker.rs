//! Lines that Docker's `json-file` driver keeps: what a container wrote, and when.
//!
//! ```text
//! {"log":"a line\n","stream":"stdout","time":"2026-11-20T12:00:00.000000000Z"}
//! ```
//! Docker cuts a line of more than 16 KiB, and what follows stands in a record of its own, which then begins with whatever
//! a client had put there. So nothing that is read in such a record counts.

use super::json;
use super::tree::{NodeId, Tree, Values};
use crate::scan::timestamp::Stamp;

/// Reads such lines. Holds the buffer of the line inside.
#[derive(Clone, Debug)]
pub(in crate::scan) struct Docker {
    tree: Tree,
    log: NodeId,
    time: NodeId,
    values: Values,
}

impl Docker {
    pub(in crate::scan) fn new() -> Self {
        let mut tree = Tree::default();
        let (log, time) = (tree.insert(b"log", false), tree.insert(b"time", false));
        tree.finish();
        Self { tree, log, time, values: Values::default() }
    }

    /// The line inside a record, and when Docker got it; `None` if it is no such record.
    #[inline]
    pub(in crate::scan) fn read<'a>(&'a mut self, line: &'a [u8]) -> Option<(&'a [u8], Option<Stamp<'a>>)> {
        if !line.starts_with(br#"{"log":""#) {
            return None;
        }
        json::read(line, &self.tree, &mut self.values)?;
        let time = self.values.get(self.time, line).and_then(super::whole_stamp);
        Some((self.values.get(self.log, line)?, time))
    }
}
