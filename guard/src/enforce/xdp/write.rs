//! Writing bans into the maps, which grow as they need to.

use guard_common::{Cidr4, Cidr6, Entry};

use super::key::{Key, Place};
use super::{Xdp, read};
use crate::datapath::{Bits, DatapathError};
use crate::enforce::EnforceError;
use crate::target::Target;

/// Keys by map.
#[derive(Default)]
pub(super) struct Pending {
    hosts4: Vec<([u8; 4], Entry)>,
    hosts6: Vec<([u8; 16], Entry)>,
    nets6: Vec<([u8; 8], Entry)>,
    prefixes4: Vec<(Cidr4, Entry)>,
    prefixes6: Vec<(Cidr6, Entry)>,
}

impl Pending {
    fn len(&self) -> usize {
        self.hosts4.len() + self.hosts6.len() + self.nets6.len() + self.prefixes4.len() + self.prefixes6.len()
    }

    pub(super) fn push(&mut self, target: Target, entry: Entry) {
        match Place::of(target) {
            Place::Host4(key) => self.hosts4.push((key, entry)),
            Place::Host6(key) => self.hosts6.push((key, entry)),
            Place::Net6(key) => self.nets6.push((key, entry)),
            Place::Prefix4(key) => self.prefixes4.push((key, entry)),
            Place::Prefix6(key) => self.prefixes6.push((key, entry)),
        }
    }
}

impl Xdp {
    /// Writes bans. A map that cannot take its own keeps none from the others; the first error is told.
    pub(super) fn put_pending(&mut self, pending: &Pending) -> Result<(), EnforceError> {
        let done = [
            self.put(&pending.hosts4, 0),
            self.put(&pending.hosts6, 1),
            self.put(&pending.nets6, 2),
            self.put(&pending.prefixes4, 3),
            self.put(&pending.prefixes6, 4),
        ];
        done.into_iter().collect()
    }

    /// Writes bans that are not in the maps, as [`Self::put_pending`]. About `to_come` more will follow, likely into the
    /// same maps in the same shares, so that these need not grow again.
    pub(super) fn put_absent(&mut self, pending: &Pending, to_come: u64) -> Result<(), EnforceError> {
        let to_come = to_come * 1024 / (pending.len() as u64).max(1);
        let done = [
            self.put_new(&pending.hosts4, 0, to_come),
            self.put_new(&pending.hosts6, 1, to_come),
            self.put_new(&pending.nets6, 2, to_come),
            self.put_new(&pending.prefixes4, 3, to_come),
            self.put_new(&pending.prefixes6, 4, to_come),
        ];
        done.into_iter().collect()
    }

    pub(super) fn take_pending(&mut self, pending: &Pending) -> Result<(), EnforceError> {
        self.take(&pending.hosts4, 0)?;
        self.take(&pending.hosts6, 1)?;
        self.take(&pending.nets6, 2)?;
        self.take(&pending.prefixes4, 3)?;
        self.take(&pending.prefixes6, 4)
    }

    /// `to_come` is by 1,024 of those given.
    fn put_new<K: Key>(
        &mut self,
        wanted: &[(K, Entry)],
        place: usize,
        to_come: u64,
    ) -> Result<(), EnforceError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let new = wanted.len() as u64;
        self.make_room::<K>(place, new, new * to_come / 1024)?;
        let keys: u64 = wanted.iter().map(|(key, _)| Bits::keys(key.target())).sum();
        self.make_bits_room::<K>(keys + keys * to_come / 1024);
        let elements: Vec<_> = wanted.iter().map(|(key, entry)| (*key, key.value(*entry))).collect();
        self.write(&elements, place, new)?;
        if let Some(round) = &mut self.round {
            for (key, _) in wanted {
                round.put(key.target(), place, true);
            }
        }
        Ok(())
    }

    /// Writes elements, of which `new` are new, with their bits before them.
    fn write<K: Key>(
        &mut self,
        elements: &[(K, K::Value)],
        place: usize,
        new: u64,
    ) -> Result<(), EnforceError> {
        self.will_change(elements.iter().map(|(key, _)| *key));
        let bits = K::bits(self.datapath.maps());
        for (key, _) in elements {
            bits.mark(key.target());
        }
        match K::table(self.datapath.maps()).set_all(elements) {
            Err(DatapathError::Full { .. }) if self.entries[place].is_none() => {
                let table = K::table(self.datapath.maps());
                self.entries[place] = Some(read::size::<K>(table)?);
                self.make_room::<K>(place, new, 0)?;
                self.will_change(elements.iter().map(|(key, _)| *key));
                K::table(self.datapath.maps()).set_all(elements)?;
            }
            written => written?,
        }
        if let Some(entries) = &mut self.entries[place] {
            *entries += new;
        }
        Ok(())
    }

    /// Writes bans. Those that are there already keep their counters; a clear bit tells, without a look-up, that one
    /// is not.
    fn put<K: Key>(&mut self, wanted: &[(K, Entry)], place: usize) -> Result<(), EnforceError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let maps = self.datapath.maps();
        let (table, bits) = (K::table(maps), K::bits(maps));
        let (mut new, mut new_keys) = (0, 0);
        let mut is_new = Vec::with_capacity(wanted.len());
        let mut elements = Vec::with_capacity(wanted.len());
        for (key, entry) in wanted {
            let mut entry = *entry;
            let target = key.target();
            let present = if bits.is_marked(target.address()) {
                table.get(key, K::Value::default())?.and_then(|value| key.entry(&value))
            } else {
                None
            };
            if let Some(Entry { packets, bytes, .. }) = present {
                (entry.packets, entry.bytes) = (packets, bytes);
            } else {
                new += 1;
                new_keys += Bits::keys(target);
            }
            is_new.push(present.is_none());
            elements.push((*key, key.value(entry)));
        }
        self.make_room::<K>(place, new, 0)?;
        self.make_bits_room::<K>(new_keys);
        self.write(&elements, place, new)?;
        if let Some(round) = &mut self.round {
            for ((key, _), is_new) in wanted.iter().zip(is_new) {
                round.put(key.target(), place, is_new);
            }
        }
        Ok(())
    }

    fn take<K: Key>(&mut self, unwanted: &[(K, Entry)], place: usize) -> Result<(), EnforceError> {
        if unwanted.is_empty() {
            return Ok(());
        }
        let keys: Vec<K> = unwanted.iter().map(|(key, _)| *key).collect();
        self.will_change(keys.iter().copied());
        let removed = K::table(self.datapath.maps()).remove_all(&keys)?;
        if let Some(entries) = &mut self.entries[place] {
            *entries = entries.saturating_sub(removed);
        }
        Ok(())
    }
}
