//! Comparing the live maps with the ban table, and putting right what differs.

use std::collections::HashSet;
use std::hash::Hash;
use std::net::IpAddr;

use guard_common::Entry;

use super::key::{Key, PLACES, Place, deadline};
use super::{Pending, Xdp, cidrs};
use crate::datapath::Table;
use crate::enforce::{Desired, Drift, EnforceError};

/// What a walk over one map came to.
struct Walk<K> {
    foreign: Vec<(K, Entry)>,
    changed: u64,
    repairs: Vec<(K, Entry)>,
    wanted: u64,
}

impl Xdp {
    /// Counts the entries of the maps that were taken over.
    pub(super) fn count_entries(&mut self) -> Result<(), EnforceError> {
        let maps = self.datapath.maps();
        self.entries = [
            size::<[u8; 4]>(&maps.hosts4)?,
            size::<[u8; 16]>(&maps.hosts6)?,
            size::<[u8; 8]>(&maps.nets6)?,
            size(&maps.prefixes4)?,
            size(&maps.prefixes6)?,
        ];
        Ok(())
    }

    /// Makes the maps equal to what is desired; the allowlist first, so that nothing allowed is dropped meanwhile.
    pub(super) fn compare(&mut self, desired: Desired<'_>) -> Result<Drift, EnforceError> {
        let mut drift = self.compare_allowed(desired)?;
        let mut expected = [0_u64; PLACES];
        for ban in desired.bans.iter() {
            expected[Place::of(ban.target).index()] += 1;
        }
        let found = [
            self.compare_table::<[u8; 4]>(0, desired, &mut drift)?,
            self.compare_table::<[u8; 16]>(1, desired, &mut drift)?,
            self.compare_table::<[u8; 8]>(2, desired, &mut drift)?,
            self.compare_table::<guard_common::Cidr4>(3, desired, &mut drift)?,
            self.compare_table::<guard_common::Cidr6>(4, desired, &mut drift)?,
        ];
        if found != expected {
            drift.missing += self.put_missing(desired)?;
        }
        let is_v4 = |address: IpAddr| address.is_ipv4();
        let maps = self.datapath.maps();
        maps.bits4.replace(desired.bans.iter().map(|ban| ban.target).filter(|t| is_v4(t.address())));
        maps.bits6.replace(desired.bans.iter().map(|ban| ban.target).filter(|t| !is_v4(t.address())));
        Ok(drift)
    }

    /// Removes what nobody wants and repairs what differs in one map. How many of its entries are wanted.
    fn compare_table<K: Key>(
        &mut self,
        place: usize,
        desired: Desired<'_>,
        drift: &mut Drift,
    ) -> Result<u64, EnforceError> {
        let mut walk = Walk { foreign: Vec::new(), changed: 0, repairs: Vec::new(), wanted: 0 };
        let table = K::table(self.datapath.maps());
        table.for_each((K::EMPTY, K::Value::default()), |key, value| {
            // A prefix whose value tells another length than its key would end the program's search too early.
            let entry = key.entry(value);
            match desired.bans.get(key.target()) {
                None => walk.foreign.push((*key, Entry::default())),
                Some(ban) => {
                    walk.wanted += 1;
                    let wanted =
                        Entry { deadline: deadline(ban.until), id: ban.id.0, ..entry.unwrap_or_default() };
                    if entry != Some(wanted) {
                        walk.changed += 1;
                        walk.repairs.push((*key, wanted));
                    }
                }
            }
        })?;
        self.entries[place] = walk.wanted + walk.foreign.len() as u64;
        drift.foreign += walk.foreign.len() as u64;
        drift.changed += walk.changed;
        self.put(&walk.repairs, place)?;
        self.take(&walk.foreign, place)?;
        self.entries[place] = walk.wanted;
        Ok(walk.wanted)
    }

    /// Writes the bans that are not in the maps; how many there were.
    fn put_missing(&mut self, desired: Desired<'_>) -> Result<u64, EnforceError> {
        let mut missing = Pending::default();
        let mut count = 0;
        for ban in desired.bans.iter() {
            let is_there = match Place::of(ban.target) {
                Place::Host4(key) => self.holds(key)?,
                Place::Host6(key) => self.holds(key)?,
                Place::Net6(key) => self.holds(key)?,
                Place::Prefix4(key) => self.holds(key)?,
                Place::Prefix6(key) => self.holds(key)?,
            };
            if !is_there {
                count += 1;
                let entry = Entry { deadline: deadline(ban.until), id: ban.id.0, ..Entry::default() };
                missing.push(ban.target, entry);
            }
        }
        self.put_pending(&missing)?;
        Ok(count)
    }

    fn holds<K: Key>(&self, key: K) -> Result<bool, EnforceError> {
        let value = K::table(self.datapath.maps()).get(&key, K::Value::default())?;
        Ok(value.is_some_and(|value| key.entry(&value).is_some()))
    }

    fn compare_allowed(&self, desired: Desired<'_>) -> Result<Drift, EnforceError> {
        let (v4, v6) = cidrs(desired.allowed);
        let maps = self.datapath.maps();
        let first = compare_trie(&maps.allow4, super::Cidr4::EMPTY, &v4, |key| key.length)?;
        let second = compare_trie(&maps.allow6, super::Cidr6::EMPTY, &v6, |key| key.length)?;
        Ok(Drift { missing: first.0 + second.0, foreign: first.1 + second.1, ..Drift::default() })
    }
}

/// Makes an allow trie equal to `wanted`; how many entries were missing and foreign.
fn compare_trie<K: aya::Pod + Eq + Hash>(
    trie: &Table<K, u32>,
    empty: K,
    wanted: &[K],
    length: impl Fn(&K) -> u32,
) -> Result<(u64, u64), EnforceError> {
    let mut missing: HashSet<K> = wanted.iter().copied().collect();
    let all = missing.clone();
    let mut foreign = Vec::new();
    trie.for_each((empty, 0), |key, value| {
        if !all.contains(key) {
            foreign.push(*key);
        } else if *value == length(key) {
            missing.remove(key);
        }
    })?;
    let missing: Vec<(K, u32)> = missing.into_iter().map(|key| (key, length(&key))).collect();
    trie.set_all(&missing)?;
    trie.remove_all(&foreign)?;
    Ok((missing.len() as u64, foreign.len() as u64))
}

fn size<K: Key>(table: &Table<K, K::Value>) -> Result<u64, EnforceError> {
    let mut count = 0;
    table.for_each((K::EMPTY, K::Value::default()), |_, _| count += 1)?;
    Ok(count)
}
