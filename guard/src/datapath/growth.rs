//! A larger map in the place of another: a thread makes and fills it, so that whoever writes bans does not wait.
//!
//! The thread loads a program over the present maps and the larger one, and copies what the smaller one holds. What is
//! written meanwhile the writer writes once more, into both; then the program takes its place in every link.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use guard_common::{Entry, map};

use super::Scan;
use super::bits::Bits;
use super::error::DatapathError;
use super::load::Program;
use super::maps::{Maps, Table};
use super::open::Options;
use super::pin::Pins;

/// Marks every ban that is in the maps.
pub(super) type MarkAll = fn(&Maps, &Bits) -> Result<(), DatapathError>;

/// How a larger map is filled.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fill {
    /// A hash map, with the entries of the present one.
    Entries,
    /// A bitmap, with the bits of every ban.
    Bits(MarkAll),
}

/// A larger map that is being made and filled. Dropped before it is done, it leaves nothing.
#[derive(Debug)]
pub struct Growth {
    name: &'static str,
    pins: Pins,
    thread: Option<JoinHandle<Result<Larger, DatapathError>>>,
    is_cancelled: Arc<AtomicBool>,
}

/// The maps as they will be, one of them larger and filled with what the present one held, and a program over them.
#[derive(Debug)]
pub struct Larger {
    pub(super) name: &'static str,
    pub(super) program: Program,
    pub(super) maps: Maps,
}

impl Growth {
    /// Begins to make the map of this name anew, for so many entries.
    pub(super) fn begin(
        options: Options,
        pins: Pins,
        name: &'static str,
        capacity: u32,
        fill: Fill,
    ) -> Result<Self, DatapathError> {
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let (cancelled, of_thread) = (Arc::clone(&is_cancelled), pins.clone());
        let work = move || make(&options, &of_thread, name, capacity, fill, &cancelled);
        let thread = std::thread::Builder::new().name("guard-grow".into()).spawn(work);
        let thread = thread.map_err(DatapathError::system(format!("growing map {name}")))?;
        Ok(Self { name, pins, thread: Some(thread), is_cancelled })
    }

    /// The map's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether [`Self::wait`] does not.
    pub fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until it is done.
    pub fn wait(mut self) -> Result<Larger, DatapathError> {
        let ended = self.thread.take().map(JoinHandle::join);
        let reason = || format!("the thread that filled a larger map {} has failed", self.name);
        ended.and_then(Result::ok).unwrap_or_else(|| Err(DatapathError::Load { reason: reason() }))
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it made, or why it could not, is not needed any more.
            let _ = thread.join();
            // A pin that stays is taken away before the next growth.
            let _ = self.pins.forget_grown();
        }
    }
}

impl Larger {
    /// The maps, one of them larger.
    pub fn maps(&self) -> &Maps {
        &self.maps
    }
}

fn make(
    options: &Options,
    pins: &Pins,
    name: &'static str,
    capacity: u32,
    fill: Fill,
    cancelled: &AtomicBool,
) -> Result<Larger, DatapathError> {
    let program = Program::load(options.object()?, pins, options.capacity.max(1), Some((name, capacity)))?;
    let present = Maps::open(pins)?;
    let maps = Maps::open_grown(pins, name)?;
    match (fill, name) {
        (Fill::Entries, map::HOSTS4) => copy(&present.hosts4, &maps.hosts4, [0; 4], cancelled)?,
        (Fill::Entries, map::HOSTS6) => copy(&present.hosts6, &maps.hosts6, [0; 16], cancelled)?,
        (Fill::Entries, _) => copy(&present.nets6, &maps.nets6, [0; 8], cancelled)?,
        (Fill::Bits(mark_all), map::BITS4) => mark_all(&present, &maps.bits4)?,
        (Fill::Bits(mark_all), _) => mark_all(&present, &maps.bits6)?,
    }
    Ok(Larger { name, program, maps })
}

/// Writes what one map holds into another.
fn copy<K: aya::Pod>(
    from: &Table<K, Entry>,
    to: &Table<K, Entry>,
    empty: K,
    cancelled: &AtomicBool,
) -> Result<(), DatapathError> {
    let mut scan = Scan::new((empty, Entry::default()));
    let mut part = Vec::new();
    loop {
        let more = from.scan(&mut scan, |keys, entries| {
            part.extend(keys.iter().copied().zip(entries.iter().copied()));
        })?;
        to.set_all(&part)?;
        part.clear();
        if !more || cancelled.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
}
