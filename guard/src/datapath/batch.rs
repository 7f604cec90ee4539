//! Many elements in one system call, as far as the kernel has it for the map's type; else one by one.
#![allow(unsafe_code, reason = "the bpf call takes addresses of keys and values")]

use std::io;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use aya::Pod;

use super::sys::{self, Batch, Command, ENOTSUPP, Element};

/// Elements in one call: large enough to make the call's cost vanish, small enough for the cache.
const CHUNK: usize = 4096;
/// Elements read in one call: a part of a walk has to be short.
const SCAN: usize = 2048;
/// Tries of an update that found no memory: 20 ms in all. Maps without preallocation refill theirs from an interrupt
/// right after it ran low; whatever takes longer is the caller's to repeat, who has other things to do meanwhile.
const MEMORY_TRIES: u32 = 28;
/// Tries of a read that kept meeting changes.
const READ_TRIES: u32 = 16;
/// The largest cursor: a whole key (`trie` maps), or a bucket number.
const CURSOR: usize = 32;

/// Writes elements, in order. After an error a part of them may have been written.
pub(super) fn update<K: Pod, V: Pod>(map: BorrowedFd<'_>, elements: &[(K, V)]) -> io::Result<()> {
    for chunk in elements.chunks(CHUNK) {
        let (keys, values): (Vec<K>, Vec<V>) = chunk.iter().copied().unzip();
        update_chunk(map, &keys, &values)?;
    }
    Ok(())
}

fn update_chunk<K: Pod, V: Pod>(map: BorrowedFd<'_>, keys: &[K], values: &[V]) -> io::Result<()> {
    let mut done = 0;
    let mut tries = 0;
    while done < keys.len() {
        let (keys, values) = (&keys[done..], &values[done..]);
        let mut batch = Batch {
            keys: keys.as_ptr() as u64,
            values: values.as_ptr() as u64,
            count: keys.len() as u32,
            map: sys::raw(map),
            ..Batch::default()
        };
        // SAFETY: both slices hold `count` elements of the map's key and value size, which `Table` has checked.
        let answer = unsafe { sys::bpf(Command::UpdateBatch, &mut batch) };
        match answer {
            Ok(_) => return Ok(()),
            Err(error) if is_unsupported(&error) => {
                return keys.iter().zip(values).try_for_each(|(key, value)| update_one(map, key, value));
            }
            Err(error) => {
                done += written(keys.len(), batch.count);
                wait_for_memory(error, &mut tries)?;
            }
        }
    }
    Ok(())
}

/// How many of the elements asked for a failed command has written. Where it failed before it began, the kernel has left the
/// number as it was asked for.
fn written(asked: usize, told: u32) -> usize {
    let told = told as usize;
    if told < asked { told } else { 0 }
}

/// Writes one element, waiting for memory if need be.
pub(super) fn update_one<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    let mut tries = 0;
    loop {
        let mut element = element(map, key, std::ptr::from_ref(value) as u64);
        // SAFETY: key and value have the map's sizes, which `Table` has checked.
        match unsafe { sys::bpf(Command::Update, &mut element) } {
            Ok(_) => return Ok(()),
            Err(error) => wait_for_memory(error, &mut tries)?,
        }
    }
}

/// Removes elements; how many were there.
pub(super) fn delete<K: Pod>(map: BorrowedFd<'_>, keys: &[K]) -> io::Result<u64> {
    let mut removed = 0;
    let mut keys = keys;
    while !keys.is_empty() {
        let mut batch = Batch {
            keys: keys.as_ptr() as u64,
            count: keys.len().min(CHUNK) as u32,
            map: sys::raw(map),
            ..Batch::default()
        };
        let asked = batch.count as usize;
        // SAFETY: the slice holds `count` keys of the map's size, which `Table` has checked.
        match unsafe { sys::bpf(Command::DeleteBatch, &mut batch) } {
            Ok(_) => {
                removed += asked as u64;
                keys = &keys[asked..];
            }
            Err(error) if is_unsupported(&error) => {
                for key in keys {
                    removed += u64::from(delete_one(map, key)?);
                }
                return Ok(removed);
            }
            // The batch stopped at a key that is not there: go on behind it.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                removed += u64::from(batch.count);
                keys = &keys[(batch.count as usize + 1).min(keys.len())..];
            }
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// Removes one element; whether it was there.
pub(super) fn delete_one<K: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<bool> {
    let mut element = element(map, key, 0);
    // SAFETY: the key has the map's size, which `Table` has checked.
    found(unsafe { sys::bpf(Command::Delete, &mut element) }).map(|answer| answer.is_some())
}

/// Reads one element into `value`, a slice as long as the kernel's answer; whether it was there.
pub(super) fn lookup<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K, value: &mut [V]) -> io::Result<bool> {
    let mut element = element(map, key, value.as_mut_ptr() as u64);
    // SAFETY: the key has the map's size and the slice the length of its answer, which `Table` has checked.
    found(unsafe { sys::bpf(Command::Lookup, &mut element) }).map(|answer| answer.is_some())
}

/// The key after `key` in the map's own order; the first key for `None` or a key that is gone.
pub(super) fn next_key<K: Pod>(map: BorrowedFd<'_>, key: Option<&K>, next: &mut K) -> io::Result<bool> {
    let mut element = Element {
        map: sys::raw(map),
        key: key.map_or(0, |key| std::ptr::from_ref(key) as u64),
        value: std::ptr::from_mut(next) as u64,
        ..Element::default()
    };
    // SAFETY: both keys have the map's size, which `Table` has checked.
    found(unsafe { sys::bpf(Command::NextKey, &mut element) }).map(|answer| answer.is_some())
}

/// Reads every element, in chunks. An element that is added or removed meanwhile may be seen or not.
pub(super) fn dump<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    empty: (K, V),
    mut visit: impl FnMut(&K, &V),
) -> io::Result<()> {
    let mut scan = Scan::new(empty);
    let mut each =
        |keys: &[K], values: &[V]| keys.iter().zip(values).for_each(|(key, value)| visit(key, value));
    while scan.next(map, &mut each)? {}
    Ok(())
}

/// A walk over a map in parts, between which the map may change: every element that is in it from the start to the
/// end is met. In a trie that may be twice, if the element where a part ended is removed.
#[derive(Debug)]
pub struct Scan<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
    at: At<K>,
}

/// Where a walk goes on.
#[derive(Clone, Copy, Debug)]
enum At<K> {
    Start,
    /// Behind what the kernel's cursor says.
    Cursor([u8; CURSOR]),
    /// Behind a key: the kernel has no batches for this map.
    Key(Option<K>),
    End,
}

impl<K: Pod, V: Pod> Scan<K, V> {
    /// A walk from the start; `empty` is any key and value.
    pub fn new(empty: (K, V)) -> Self {
        Self { keys: vec![empty.0; SCAN], values: vec![empty.1; SCAN], at: At::Start }
    }

    /// Reads the next part, whose keys and values `visit` gets side by side; whether there may be more.
    pub(super) fn next(&mut self, map: BorrowedFd<'_>, visit: impl FnMut(&[K], &[V])) -> io::Result<bool> {
        match self.at {
            At::Start => self.batch(map, None, visit),
            At::Cursor(cursor) => self.batch(map, Some(cursor), visit),
            At::Key(key) => self.singly(map, key, visit),
            At::End => Ok(false),
        }
    }

    fn batch(
        &mut self,
        map: BorrowedFd<'_>,
        cursor: Option<[u8; CURSOR]>,
        mut visit: impl FnMut(&[K], &[V]),
    ) -> io::Result<bool> {
        let mut tries = 0;
        loop {
            let room = self.keys.len();
            let mut next = [0_u8; CURSOR];
            let mut batch = Batch {
                from: cursor.as_ref().map_or(0, |cursor| cursor.as_ptr() as u64),
                next: next.as_mut_ptr() as u64,
                keys: self.keys.as_mut_ptr() as u64,
                values: self.values.as_mut_ptr() as u64,
                count: room as u32,
                map: sys::raw(map),
                ..Batch::default()
            };
            // SAFETY: keys and values have room for `count` elements of the map's sizes; the cursors are larger than
            // any.
            let error = unsafe { sys::bpf(Command::LookupBatch, &mut batch) }.err();
            if cursor.is_none() && error.as_ref().is_some_and(is_unsupported) {
                self.at = At::Key(None);
                return self.singly(map, None, visit);
            }
            let code = error.as_ref().and_then(io::Error::raw_os_error);
            match (code, error) {
                // A bucket holds more than there is room for; nothing of it was read.
                (Some(libc::ENOSPC), _) => {
                    let empty = (self.keys[0], self.values[0]);
                    self.keys.resize(room * 2, empty.0);
                    self.values.resize(room * 2, empty.1);
                    continue;
                }
                (Some(libc::EINTR | libc::EAGAIN), Some(error)) => {
                    tries += 1;
                    if tries > READ_TRIES {
                        return Err(error);
                    }
                    if batch.count == 0 {
                        continue;
                    }
                }
                (Some(libc::ENOENT), _) | (_, None) => {}
                (_, Some(error)) => return Err(error),
            }
            let read = (batch.count as usize).min(room);
            visit(&self.keys[..read], &self.values[..read]);
            let is_end = code == Some(libc::ENOENT);
            self.at = if is_end { At::End } else { At::Cursor(next) };
            return Ok(!is_end);
        }
    }

    fn singly(
        &mut self,
        map: BorrowedFd<'_>,
        mut key: Option<K>,
        mut visit: impl FnMut(&[K], &[V]),
    ) -> io::Result<bool> {
        for _ in 0..self.keys.len() {
            let next = &mut self.keys[0];
            if !next_key(map, key.as_ref(), next)? {
                self.at = At::End;
                return Ok(false);
            }
            let next = *next;
            if lookup(map, &next, &mut self.values[..1])? {
                visit(&[next], &self.values[..1]);
            }
            key = Some(next);
        }
        self.at = At::Key(key);
        Ok(true)
    }
}

fn element<K: Pod>(map: BorrowedFd<'_>, key: &K, value: u64) -> Element {
    Element { map: sys::raw(map), key: std::ptr::from_ref(key) as u64, value, ..Element::default() }
}

/// `None` where the element is not there.
fn found(answer: io::Result<i64>) -> io::Result<Option<i64>> {
    match answer {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        answer => answer.map(Some),
    }
}

/// Whether the map's type has no batch operation. `EINVAL` is what kernels without the command answer; the single
/// operations then tell whether something else was wrong.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENOTSUPP | libc::EOPNOTSUPP | libc::EINVAL))
}

/// Lets the kernel refill its memory, for a bounded time.
fn wait_for_memory(error: io::Error, tries: &mut u32) -> io::Result<()> {
    let retry = matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EAGAIN | libc::EINTR | libc::EBUSY));
    if !retry || *tries >= MEMORY_TRIES {
        return Err(error);
    }
    *tries += 1;
    thread::sleep(Duration::from_micros(u64::from(*tries) * 50));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd as _, OwnedFd};

    use super::*;

    /// `BPF_MAP_TYPE_HASH` of `enum bpf_map_type`.
    const HASH: u32 = 1;
    /// `BPF_MAP_TYPE_DEVMAP_HASH`, which has no batches. Its values are indexes of interfaces.
    const DEVMAP_HASH: u32 = 25;
    const LOOPBACK: u32 = 1;

    /// A map that nothing uses, or why there is none here.
    fn map(kind: u32, max_entries: u32) -> Option<OwnedFd> {
        sys::map_create(kind, 4, 4, max_entries)
            .map_err(|error| harness::skip(&format!("a map cannot be made: {error}")))
            .ok()
    }

    fn all(map: BorrowedFd<'_>) -> Vec<(u32, u32)> {
        let mut all = Vec::new();
        dump(map, (0u32, 0u32), |key, value| all.push((*key, *value))).unwrap();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_batch_that_does_not_fit_says_so_and_leaves_no_more_than_its_beginning() {
        let Some(map) = map(HASH, 8) else { return };
        let elements: Vec<(u32, u32)> = (0..20).map(|n| (n, n)).collect();
        let error = update(map.as_fd(), &elements).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::E2BIG));
        assert_eq!(all(map.as_fd()), elements[..8]);
        // The same again, as after a repair: what is there is written, and no room is needed for it.
        update(map.as_fd(), &elements[..8]).unwrap();
        assert_eq!(delete(map.as_fd(), &[3, 99, 4]).unwrap(), 2, "one of the keys is not there");
        update(map.as_fd(), &elements[8..10]).unwrap();
        let left: Vec<u32> = all(map.as_fd()).into_iter().map(|(key, _)| key).collect();
        assert_eq!(left, [0, 1, 2, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_map_without_batches_is_written_and_read_one_by_one() {
        let Some(map) = map(DEVMAP_HASH, 8) else { return };
        let elements: Vec<(u32, u32)> = (0..6).map(|n| (n, LOOPBACK)).collect();
        let mut batch = Batch { map: sys::raw(map.as_fd()), count: 1, ..Batch::default() };
        // SAFETY: the kernel refuses the command for this type before it looks at the missing keys.
        let refused = unsafe { sys::bpf(Command::UpdateBatch, &mut batch) }.unwrap_err();
        assert!(is_unsupported(&refused), "{refused}: the test needs another type of map");
        update(map.as_fd(), &elements).unwrap();
        assert_eq!(all(map.as_fd()), elements);
        assert_eq!(delete(map.as_fd(), &[1, 9, 2]).unwrap(), 2);
        assert_eq!(all(map.as_fd()), [elements[0], elements[3], elements[4], elements[5]]);
    }

    #[test]
    fn what_failed_before_it_began_has_written_nothing() {
        assert_eq!([0, 3, 10, 11].map(|told| written(10, told)), [0, 3, 0, 0]);
    }

    #[test]
    fn memory_is_waited_for_and_nothing_else() {
        let error = |code| io::Error::from_raw_os_error(code);
        let mut tries = 0;
        for code in [libc::ENOMEM, libc::EAGAIN, libc::EINTR, libc::EBUSY] {
            assert!(wait_for_memory(error(code), &mut tries).is_ok());
        }
        assert_eq!(tries, 4);
        assert!(wait_for_memory(error(libc::E2BIG), &mut tries).is_err());
        assert!(
            wait_for_memory(error(libc::ENOMEM), &mut { MEMORY_TRIES }).is_err(),
            "it does not wait for ever"
        );
    }
}
