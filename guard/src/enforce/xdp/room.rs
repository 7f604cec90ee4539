//! Room in the maps: larger ones before a hash map is full, or so many bits of a bitmap are set that they no longer tell.
//!
//! A thread makes and fills the larger map ([`Growth`]). Bans come and go meanwhile: which keys did is remembered, and
//! what the present map holds of them then is written into the larger one, before that takes its place. Whoever bans
//! waits for it only if the present map has no room left at all.

use std::time::{Duration, Instant};

use guard_common::{Cidr4, Cidr6, Entry, map};

use super::Xdp;
use super::key::{Key, Place};
use crate::datapath::{Bits, DatapathError, Growth, Larger, Maps};
use crate::enforce::EnforceError;
use crate::target::Target;

/// Share of its capacity above which a hash map grows, in percent. Fuller ones have long chains.
const FULL_PERCENT: u64 = 90;
/// Changes that are written into the larger map at once, if not more come: a millisecond or two.
const CATCH_UP: usize = 1024;
/// How long after a growth that failed the next one begins, unless there is no room left.
const GROW_AGAIN: Duration = Duration::from_secs(1);

/// A map that is growing.
#[derive(Debug)]
pub(super) struct Growing {
    growth: Option<Growth>,
    /// What the thread has made.
    larger: Option<Larger>,
    name: &'static str,
    /// Targets whose entries have changed since it began, and that the larger map does not have so.
    changed: Vec<Target>,
    /// How many of them were left when they were last written.
    left: usize,
}

impl Growing {
    fn new(growth: Growth) -> Self {
        Self { name: growth.name(), growth: Some(growth), larger: None, changed: Vec::new(), left: 0 }
    }

    fn is_bits(&self) -> bool {
        self.name == map::BITS4 || self.name == map::BITS6
    }
}

impl Xdp {
    /// Makes room in a hash map for `new` entries. If it is full above a share then, a larger one is begun, with room
    /// for those `to_come` as well; tries are not preallocated.
    pub(super) fn make_room<K: Key>(
        &mut self,
        place: usize,
        new: u64,
        to_come: u64,
    ) -> Result<(), EnforceError> {
        let is_hash = size_of::<K::Value>() == size_of::<Entry>();
        if !is_hash || new == 0 {
            return Ok(());
        }
        loop {
            let table = K::table(self.datapath.maps());
            let (name, capacity) = (table.name(), u64::from(table.capacity()));
            // A map that is not counted yet says itself when it is full.
            let Some(present) = self.entries[place] else { return Ok(()) };
            if (present + new) * 100 <= capacity * FULL_PERCENT {
                return Ok(());
            }
            let has_room = present + new <= capacity;
            if has_room && (self.growing.is_some() || self.grow_at > Instant::now()) {
                return Ok(());
            }
            if self.growing.is_none() {
                let wanted = ((present + new + to_come) * 100 / FULL_PERCENT + 1).max(capacity * 2);
                let wanted = u32::try_from(wanted.next_power_of_two()).unwrap_or(1 << 31);
                tracing::info!(map = name, capacity, wanted, "growing");
                let begun = self.datapath.begin_growth(name, wanted);
                self.begun(begun);
            }
            if has_room {
                return Ok(());
            }
            if let Some(error) = self.ungrown.take() {
                return Err(error);
            }
            // Another map may have been growing.
            self.grow(true)?;
        }
    }

    /// Begins to give the bitmap before a map more words if this many new keys ask for them. Until they are there, more
    /// sources are looked up in vain.
    pub(super) fn make_bits_room<K: Key>(&mut self, keys: u64) {
        let bits = K::bits(self.datapath.maps());
        let Some(words) = bits.wanted(keys) else { return };
        if self.growing.is_some() || self.grow_at > Instant::now() {
            return;
        }
        let name = bits.name();
        tracing::info!(map = name, words = bits.words(), wanted = words, "growing");
        let mark_all = if name == map::BITS4 { mark4 } else { mark6 };
        let begun = self.datapath.begin_growth_of_bits(name, words, mark_all);
        self.begun(begun);
    }

    /// A growth was begun. That it could not be is told by the next reconciliation: there is room as yet.
    fn begun(&mut self, begun: Result<Growth, DatapathError>) {
        match begun {
            Ok(growth) => self.growing = Some(Growing::new(growth)),
            Err(error) => {
                self.ungrown = Some(error.into());
                self.grow_at = Instant::now() + GROW_AGAIN;
            }
        }
    }

    /// Remembers that entries of a map are about to change, if the larger map has to learn of it.
    pub(super) fn will_change<K: Key>(&mut self, keys: impl Iterator<Item = K>) {
        let maps = self.datapath.maps();
        let names = [K::table(maps).name(), K::bits(maps).name()];
        if let Some(growing) = self.growing.as_mut().filter(|growing| names.contains(&growing.name)) {
            growing.changed.extend(keys.map(Key::target));
        }
    }

    /// Whether so many more entries fit into every hash map without waiting for one that grows.
    pub(super) fn has_room_for(&self, new: u64) -> bool {
        let maps = self.datapath.maps();
        let capacities = [maps.hosts4.capacity(), maps.hosts6.capacity(), maps.nets6.capacity()];
        self.growing.is_none()
            || self
                .entries
                .iter()
                .zip(capacities)
                .all(|(present, capacity)| present.is_none_or(|present| present + new <= u64::from(capacity)))
    }

    /// Whether a map is growing.
    pub(super) const fn is_growing(&self) -> bool {
        self.growing.is_some()
    }

    /// Whether a larger map is filled, and what has changed meanwhile is not all in it.
    pub(super) fn is_catching_up(&self) -> bool {
        self.growing.as_ref().is_some_and(|growing| growing.larger.is_some())
    }

    /// Goes on with growing, if it has come to an end with `wait`. After an error the map stays as it is.
    pub(super) fn grow(&mut self, wait: bool) -> Result<(), EnforceError> {
        let Some(growing) = self.growing.take() else { return Ok(()) };
        let grown = self.grow_part(growing, wait);
        if grown.is_err() {
            self.grow_at = Instant::now() + GROW_AGAIN;
        }
        Ok(grown?)
    }

    fn grow_part(&mut self, mut growing: Growing, wait: bool) -> Result<(), DatapathError> {
        if let Some(growth) = growing.growth.take_if(|growth| wait || growth.is_done()) {
            growing.larger = Some(growth.wait()?);
            growing.left = growing.changed.len();
        }
        let Some(larger) = growing.larger.take() else {
            self.growing = Some(growing);
            return Ok(());
        };
        loop {
            // More than came since the last time, so that it comes to an end.
            let all = growing.changed.len();
            let part = CATCH_UP.max(2 * (all - growing.left));
            let part = growing.changed.split_off(all.saturating_sub(part));
            catch_up(growing.name, self.datapath.maps(), larger.maps(), &part)?;
            growing.left = growing.changed.len();
            if growing.left == 0 {
                break;
            }
            if !wait {
                growing.larger = Some(larger);
                self.growing = Some(growing);
                return Ok(());
            }
        }
        if !growing.is_bits() {
            // The larger map has an order of its own.
            self.round = None;
        }
        self.datapath.take_larger(larger)
    }
}

/// Brings what a larger map holds of these targets up to date.
fn catch_up(name: &str, present: &Maps, larger: &Maps, targets: &[Target]) -> Result<(), DatapathError> {
    match name {
        map::BITS4 => targets.iter().for_each(|target| larger.bits4.mark(*target)),
        map::BITS6 => targets.iter().for_each(|target| larger.bits6.mark(*target)),
        map::HOSTS4 => carry(present, larger, targets, |place| match place {
            Place::Host4(key) => Some(key),
            _ => None,
        })?,
        map::HOSTS6 => carry(present, larger, targets, |place| match place {
            Place::Host6(key) => Some(key),
            _ => None,
        })?,
        _ => carry(present, larger, targets, |place| match place {
            Place::Net6(key) => Some(key),
            _ => None,
        })?,
    }
    Ok(())
}

/// Writes what the present map holds under the keys of these targets into the larger one.
fn carry<K: Key>(
    present: &Maps,
    larger: &Maps,
    targets: &[Target],
    key: impl Fn(Place) -> Option<K>,
) -> Result<(), DatapathError> {
    let (mut held, mut gone) = (Vec::new(), Vec::new());
    for key in targets.iter().filter_map(|target| key(Place::of(*target))) {
        match K::table(present).get(&key, K::Value::default())? {
            Some(value) => held.push((key, value)),
            None => gone.push(key),
        }
    }
    let larger = K::table(larger);
    larger.set_all(&held)?;
    larger.remove_all(&gone).map(drop)
}

fn mark4(maps: &Maps, bits: &Bits) -> Result<(), DatapathError> {
    mark_all::<[u8; 4]>(maps, bits)?;
    mark_all::<Cidr4>(maps, bits)
}

fn mark6(maps: &Maps, bits: &Bits) -> Result<(), DatapathError> {
    mark_all::<[u8; 16]>(maps, bits)?;
    mark_all::<[u8; 8]>(maps, bits)?;
    mark_all::<Cidr6>(maps, bits)
}

/// Marks every ban of a map.
fn mark_all<K: Key>(maps: &Maps, bits: &Bits) -> Result<(), DatapathError> {
    K::table(maps).for_each((K::EMPTY, K::Value::default()), |key, _| bits.mark(key.target()))
}
