//! Every element of the table, read by a thread of its own: the kernel goes through a set from its start for each part it
//! gives, so a large one takes seconds.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::live::{Element, Live};
use super::set::{Role, Set};
use crate::target::Target;
use crate::time::Moment;

/// Tries to read while nobody changes anything, ourselves included. What the last of them read is taken as it is.
const TRIES: usize = 2;

/// An element as it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) role: Role,
    /// When it ends, by the time it was read; `None`: not at all.
    pub(super) until: Option<Moment>,
    /// Whether it is one that is wanted.
    pub(super) is_met: bool,
    pub(super) element: Element,
}

/// What was read, in the order of roles and targets.
#[derive(Debug)]
pub(super) struct Elements {
    pub(super) all: Vec<Held>,
    /// Whether nothing changed meanwhile. If something did, elements may be missing here that are in the table.
    pub(super) are_whole: bool,
}

impl Elements {
    /// What was read of a target, if it was.
    pub(super) fn find(&mut self, role: Role, target: Target) -> Option<&mut Held> {
        let key = |held: &Held| (held.role, held.element.target);
        let place = self.all.binary_search_by_key(&(role, target), key).ok()?;
        self.all.get_mut(place)
    }
}

/// A thread that reads. It ends soon after this is dropped.
#[derive(Debug)]
pub(super) struct Reading {
    answer: Receiver<io::Result<Elements>>,
    is_given_up: Arc<AtomicBool>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }
}

impl Reading {
    /// Begins to read these sets of a table.
    pub(super) fn begin(table: &str, sets: &BTreeSet<Set>) -> io::Result<Self> {
        let (tell, answer) = sync_channel(1);
        let (table, sets) = (table.to_owned(), sets.clone());
        let is_given_up = Arc::new(AtomicBool::new(false));
        let given_up = Arc::clone(&is_given_up);
        thread::Builder::new().name("guard-nftables".into()).spawn(move || {
            if let Some(read) = read(&table, &sets, || !given_up.load(Ordering::Relaxed)).transpose() {
                // Nobody is left to be told where it was given up at the last moment.
                let _ = tell.send(read);
            }
        })?;
        Ok(Self { answer, is_given_up })
    }

    /// Waits for what was read, so long at most; `None` if it takes longer.
    pub(super) fn wait(&self, patience: Duration) -> Option<io::Result<Elements>> {
        match self.answer.recv_timeout(patience) {
            Ok(read) => Some(read),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                Some(Err(io::Error::other("the thread that reads the table has failed")))
            }
        }
    }
}

/// Reads as long as somebody wants it; `None` if nobody does any more.
pub(super) fn read(
    table: &str,
    sets: &BTreeSet<Set>,
    mut is_wanted: impl FnMut() -> bool,
) -> io::Result<Option<Elements>> {
    let mut live = Live::open(table)?;
    let mut elements = Elements { all: Vec::new(), are_whole: false };
    for _ in 0..TRIES {
        elements.all.clear();
        elements.are_whole = true;
        for &set in sets {
            let mut now = Moment::now();
            let mut is_over = false;
            let each = |element: Element| {
                // One message has hundreds of elements: the clock is read for some of them.
                if elements.all.len().is_multiple_of(256) {
                    now = Moment::now();
                    is_over = !is_wanted();
                }
                let until = element.left.map(|left| now + left);
                elements.all.push(Held { role: set.role, until, is_met: false, element });
                if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            match live.each_element(set, each) {
                _ if is_over => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => elements.are_whole = false,
                outcome => outcome?,
            }
        }
        if elements.are_whole {
            break;
        }
    }
    let key = |held: &Held| (held.role, held.element.target);
    elements.all.sort_unstable_by_key(key);
    elements.all.dedup_by_key(|held| key(held));
    Ok(Some(elements))
}
