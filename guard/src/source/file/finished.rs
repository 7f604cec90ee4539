//! Files that rotation has moved away, that were read to their end and are closed.
//!
//! They are remembered for two reasons. None of them may be taken for one that is still to be read. And a writer may have
//! one open for as long as it likes: the children of a server that reloads, a program that nobody told of the rotation.
//! So their watches stay, and one that has grown is read on.

use std::path::PathBuf;

use super::folder::{self, Listings};
use super::identity::Identity;
use super::position::Mark;
use super::reader::Reader;
use crate::source::watch::{Watch, WatchId};

/// Files that are remembered at most.
const MOST: usize = 16;

/// Files that are remembered for nothing but what may be written to them yet: those that were written to last.
const WRITABLE: usize = 2;

/// The remembered files of one path, the one that was closed last at the end.
#[derive(Debug, Default)]
pub(super) struct Finished(Vec<One>);

#[derive(Debug)]
struct One {
    mark: Mark,
    /// Where it was when it was seen last.
    path: PathBuf,
    watch: Option<WatchId>,
    doubt: Doubt,
}

/// Whether a file may have grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    None,
    /// The kernel has told of a change: it is looked at if it is where it was.
    Stirred,
    /// Nobody has told anything for a while: it is looked for if it is not where it was.
    Suspected,
}

/// A file that has grown, open again.
pub(super) type Again = (Reader, Option<WatchId>);

impl Finished {
    /// Remembers a file that is being closed.
    pub(super) fn add(&mut self, mark: Mark, path: PathBuf, watch: Option<WatchId>) {
        self.0.push(One { mark, path, watch, doubt: Doubt::None });
    }

    /// Forgets what need not be remembered, given the files that may still have successors. A file that is not older
    /// than one of those may be taken for its successor: it was closed before, or born with it in one tick of the
    /// kernel's clock. Where births are not kept, only the time of the last write tells.
    pub(super) fn trim(&mut self, left: &[Identity], watch: &Watch) {
        let (mut kept, mut writable) = (0, 0);
        for at in (0..self.0.len()).rev() {
            let mark = &self.0[at].mark;
            let outlives =
                |one: &Identity| mark.identity != *one && one.born != 0 && mark.identity.born >= one.born;
            let is_needed = left.iter().any(outlives);
            if kept < MOST && (is_needed || writable < WRITABLE) {
                kept += 1;
                writable += usize::from(!is_needed);
            } else if let Some(id) = self.0.remove(at).watch {
                watch.remove(id);
            }
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self, watch: &Watch) {
        self.0.drain(..).filter_map(|one| one.watch).for_each(|id| watch.remove(id));
    }

    pub(super) fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.0.iter().map(|one| &one.mark)
    }

    /// A watch tells of a change. Answers whether it is of one of these files.
    pub(super) fn note(&mut self, id: WatchId) -> bool {
        let mut ours = self.0.iter_mut().filter(|one| one.watch == Some(id));
        ours.next().map(|one| one.doubt = Doubt::Stirred).is_some()
    }

    /// A watch has ended.
    pub(super) fn ended(&mut self, id: WatchId) {
        for one in self.0.iter_mut().filter(|one| one.watch == Some(id)) {
            one.watch = None;
        }
    }

    /// Any of them may have grown without a sign.
    pub(super) fn suspect(&mut self) {
        self.0.iter_mut().for_each(|one| one.doubt = Doubt::Suspected);
    }

    /// Takes out the files that have grown, to be read on; and those that have gone, and those that another has
    /// opened, who reads them on. Answers also how often other bytes stand where what was read ended.
    pub(super) fn grown(
        &mut self,
        listings: &mut Listings,
        watch: &Watch,
        is_open_elsewhere: impl Fn(Identity) -> bool,
    ) -> (Vec<Again>, u64) {
        let (mut again, mut gaps) = (Vec::new(), 0);
        self.0.retain_mut(|one| {
            let doubt = std::mem::replace(&mut one.doubt, Doubt::None);
            if doubt == Doubt::None {
                return true;
            }
            if doubt == Doubt::Suspected && one.length().is_none() && !one.find(listings) {
                one.watch.into_iter().for_each(|id| watch.remove(id));
                return false;
            }
            if one.length().is_none_or(|length| length <= one.mark.offset) {
                return true;
            }
            if is_open_elsewhere(one.mark.identity) {
                return false;
            }
            let Ok((file, meta)) = folder::open(&one.path) else { return true };
            match Reader::resume(file, &meta, &one.mark) {
                Ok(Some(reader)) => {
                    again.push((reader, one.watch));
                    false
                }
                Ok(None) => {
                    gaps += 1;
                    one.mark.offset = meta.len();
                    true
                }
                Err(_) => true,
            }
        });
        (again, gaps)
    }
}

impl One {
    /// Bytes in it, if it is at its path.
    fn length(&self) -> Option<u64> {
        let meta = folder::look(&self.path).ok()?;
        self.mark.identity.is_same(Identity::of(&meta)).then_some(meta.len())
    }

    /// Looks for it under another name in its folder.
    fn find(&mut self, listings: &mut Listings) -> bool {
        let found = self.path.parent().and_then(|folder| listings.find(folder, self.mark.identity).pop());
        found.map(|path| self.path = path).is_some()
    }
}
