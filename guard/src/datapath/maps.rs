//! The maps by name and type. A pinned map is checked against its layout before it is used.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use aya::Pod;
use guard_common::bitmap::{FIRST_WORD, LEAST_WORDS, MOST_WORDS};
use guard_common::{Cidr4, Cidr6, DropKey, Entry, PrefixEntry, Settings, Tally, map};

use super::batch::{self, Scan};
use super::bits::Bits;
use super::error::DatapathError;
use super::pin::{Pins, Repair};
use super::sys;

/// Kinds of maps, `enum bpf_map_type` in `include/uapi/linux/bpf.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Layout {
    /// Preallocated hash.
    Hash = 1,
    /// Array.
    Array = 2,
    /// Hash with a value for each processor.
    PerCpuHash = 5,
    /// Array with values for each processor.
    PerCpuArray = 6,
    /// Longest-prefix-match trie.
    Trie = 11,
}

/// A map with keys `K` and values `V`.
#[derive(Debug)]
pub struct Table<K, V> {
    name: &'static str,
    fd: OwnedFd,
    capacity: u32,
    types: PhantomData<fn(K) -> V>,
}

/// Every map.
#[derive(Debug)]
pub struct Maps {
    /// Switches.
    pub settings: Table<u32, Settings>,
    /// Bits over IPv4 sources.
    pub bits4: Bits,
    /// Bits over IPv6 sources.
    pub bits6: Bits,
    /// IPv4 hosts.
    pub hosts4: Table<[u8; 4], Entry>,
    /// IPv6 hosts.
    pub hosts6: Table<[u8; 16], Entry>,
    /// IPv6 /64 networks.
    pub nets6: Table<[u8; 8], Entry>,
    /// IPv4 prefixes.
    pub prefixes4: Table<Cidr4, PrefixEntry>,
    /// IPv6 prefixes.
    pub prefixes6: Table<Cidr6, PrefixEntry>,
    /// IPv4 allowlist.
    pub allow4: Table<Cidr4, u32>,
    /// IPv6 allowlist.
    pub allow6: Table<Cidr6, u32>,
    /// Packets by reason.
    pub reasons: Table<u32, Tally>,
    /// Drops by interface and reason.
    pub drops: Table<DropKey, Tally>,
}

impl Maps {
    /// Opens every map by its pin.
    pub(super) fn open(pins: &Pins) -> Result<Self, DatapathError> {
        Self::open_by(|name| pins.map(name))
    }

    /// The same with the larger map that stands beside one.
    pub(super) fn open_grown(pins: &Pins, grown: &str) -> Result<Self, DatapathError> {
        Self::open_by(|name| if name == grown { pins.grown(name) } else { pins.map(name) })
    }

    fn open_by(path: impl Fn(&str) -> PathBuf) -> Result<Self, DatapathError> {
        use Layout::{Array, Hash, PerCpuArray, PerCpuHash, Trie};
        Ok(Self {
            settings: Table::open(&path(map::SETTINGS), map::SETTINGS, Array)?,
            bits4: open_bits(&path(map::BITS4), map::BITS4)?,
            bits6: open_bits(&path(map::BITS6), map::BITS6)?,
            hosts4: Table::open(&path(map::HOSTS4), map::HOSTS4, Hash)?,
            hosts6: Table::open(&path(map::HOSTS6), map::HOSTS6, Hash)?,
            nets6: Table::open(&path(map::NETS6), map::NETS6, Hash)?,
            prefixes4: Table::open(&path(map::PREFIXES4), map::PREFIXES4, Trie)?,
            prefixes6: Table::open(&path(map::PREFIXES6), map::PREFIXES6, Trie)?,
            allow4: Table::open(&path(map::ALLOW4), map::ALLOW4, Trie)?,
            allow6: Table::open(&path(map::ALLOW6), map::ALLOW6, Trie)?,
            reasons: Table::open(&path(map::REASONS), map::REASONS, PerCpuArray)?,
            drops: Table::open(&path(map::DROPS), map::DROPS, PerCpuHash)?,
        })
    }

    /// Exchanges the map of this name for that of others, which is larger.
    pub(super) fn exchange(&mut self, name: &str, others: &mut Self) {
        match name {
            map::HOSTS4 => std::mem::swap(&mut self.hosts4, &mut others.hosts4),
            map::HOSTS6 => std::mem::swap(&mut self.hosts6, &mut others.hosts6),
            map::NETS6 => std::mem::swap(&mut self.nets6, &mut others.nets6),
            map::BITS4 => std::mem::swap(&mut self.bits4, &mut others.bits4),
            _ => std::mem::swap(&mut self.bits6, &mut others.bits6),
        }
    }

    /// Pins again what somebody unpinned, so that it outlives the daemon.
    pub(super) fn ensure_pins(&self, pins: &Pins, repair: &mut Repair) {
        let looked = [
            self.settings.ensure_pin(pins),
            self.hosts4.ensure_pin(pins),
            self.hosts6.ensure_pin(pins),
            self.nets6.ensure_pin(pins),
            self.prefixes4.ensure_pin(pins),
            self.prefixes6.ensure_pin(pins),
            self.allow4.ensure_pin(pins),
            self.allow6.ensure_pin(pins),
            self.reasons.ensure_pin(pins),
            self.drops.ensure_pin(pins),
            self.bits4.ensure_pin(pins),
            self.bits6.ensure_pin(pins),
        ];
        for looked in looked {
            repair.add(looked);
        }
    }
}

/// Opens a pinned bitmap of any size.
fn open_bits(path: &Path, name: &'static str) -> Result<Bits, DatapathError> {
    let table: Table<u32, u64> = Table::open(path, name, Layout::Array)?;
    let words = words(table.capacity).ok_or_else(|| DatapathError::Layout { path: path.to_owned() })?;
    Bits::open(name, table.fd, words).map_err(DatapathError::system(format!("mapping {name} into memory")))
}

/// Words for hosts and nets in the pinned bitmap, or in the one that is made where none is pinned.
pub(super) fn pinned_words(pins: &Pins, name: &'static str) -> Result<u32, DatapathError> {
    let path = pins.map(name);
    if !path.exists() {
        return Ok(LEAST_WORDS);
    }
    let table: Table<u32, u64> = Table::open(&path, name, Layout::Array)?;
    words(table.capacity).ok_or(DatapathError::Layout { path })
}

/// Words for hosts and nets in a bitmap of that many words.
fn words(capacity: u32) -> Option<u32> {
    capacity.checked_sub(FIRST_WORD).filter(|words| (LEAST_WORDS..=MOST_WORDS).contains(words))
}

impl<K: Pod, V: Pod> Table<K, V> {
    /// Opens a pinned map and checks that it is what its name says.
    fn open(path: &Path, name: &'static str, layout: Layout) -> Result<Self, DatapathError> {
        let system = || DatapathError::system(format!("opening map {name}"));
        let fd = sys::open_pinned(path).map_err(system())?;
        let info = sys::map_info(fd.as_fd()).map_err(system())?;
        let expected = (layout as u32, size_of::<K>() as u32, size_of::<V>() as u32);
        if (info.kind, info.key_size, info.value_size) != expected {
            return Err(DatapathError::Layout { path: path.to_owned() });
        }
        Ok(Self { name, fd, capacity: info.max_entries, types: PhantomData })
    }

    /// The map's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Entries it can take.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The value of a key; of a trie, the value of the longest prefix that covers it.
    pub fn get(&self, key: &K, empty: V) -> Result<Option<V>, DatapathError> {
        let mut value = [empty];
        let found = batch::lookup(self.fd.as_fd(), key, &mut value).map_err(self.failed("reading"))?;
        Ok(found.then_some(value[0]))
    }

    /// Writes one element.
    pub fn set(&self, key: &K, value: &V) -> Result<(), DatapathError> {
        batch::update_one(self.fd.as_fd(), key, value).map_err(self.failed("writing"))
    }

    /// Writes elements, in order, in batches. After an error a part of them may have been written.
    pub fn set_all(&self, elements: &[(K, V)]) -> Result<(), DatapathError> {
        batch::update(self.fd.as_fd(), elements).map_err(self.failed("writing"))
    }

    /// Removes keys in batches; how many were there.
    pub fn remove_all(&self, keys: &[K]) -> Result<u64, DatapathError> {
        batch::delete(self.fd.as_fd(), keys).map_err(self.failed("changing"))
    }

    /// Reads every element, in batches.
    pub fn for_each(&self, empty: (K, V), visit: impl FnMut(&K, &V)) -> Result<(), DatapathError> {
        batch::dump(self.fd.as_fd(), empty, visit).map_err(self.failed("reading"))
    }

    /// Reads the next part of a walk over this map, its keys and its values; whether there may be more.
    pub fn scan(&self, scan: &mut Scan<K, V>, visit: impl FnMut(&[K], &[V])) -> Result<bool, DatapathError> {
        scan.next(self.fd.as_fd(), visit).map_err(self.failed("reading"))
    }

    /// Pins the map again if somebody took the pin away; whether that was so.
    pub(super) fn ensure_pin(&self, pins: &Pins) -> Result<bool, DatapathError> {
        Pins::ensure(&pins.map(self.name), self.fd.as_fd())
    }

    fn failed(&self, doing: &str) -> impl FnOnce(io::Error) -> DatapathError + use<'_, K, V> {
        let operation = format!("{doing} map {}", self.name);
        move |error| match error.raw_os_error() {
            Some(libc::E2BIG | libc::ENOSPC) => DatapathError::Full { map: self.name.into() },
            _ => DatapathError::system(operation)(error),
        }
    }
}

impl<K: Pod> Table<K, Tally> {
    /// The sum over all processors.
    pub fn total(&self, key: &K) -> Result<Tally, DatapathError> {
        let processors = aya::util::nr_cpus()
            .map_err(|(path, error)| DatapathError::system(format!("reading {path}"))(error))?;
        let mut values = vec![Tally::default(); processors];
        batch::lookup(self.fd.as_fd(), key, &mut values).map_err(self.failed("reading"))?;
        Ok(values.iter().fold(Tally::default(), |sum, value| Tally {
            packets: sum.packets + value.packets,
            bytes: sum.bytes + value.bytes,
        }))
    }

    /// Every key.
    pub fn keys(&self, empty: K) -> Result<Vec<K>, DatapathError> {
        let mut keys = Vec::new();
        let mut next = empty;
        while batch::next_key(self.fd.as_fd(), keys.last(), &mut next).map_err(self.failed("reading"))? {
            keys.push(next);
            if keys.len() > self.capacity as usize {
                break; // the map changes under the walk
            }
        }
        Ok(keys)
    }
}
