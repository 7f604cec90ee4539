//! Reading the live maps: verdict, status and counters.

use std::collections::BTreeMap;
use std::net::IpAddr;

use guard_common::{Cidr4, Cidr6, DropKey, Entry, FOREVER, Reason};

use super::Xdp;
use super::key::{Key, PLACES};
use crate::datapath::{Maps, Scan, Table, links};
use crate::enforce::{
    Backend, Counters, EnforceError, EnforcerStatus, InterfaceStatus, LiveEntry, MapStatus, Verdict,
};
use crate::target::{Target, canonical, network64};
use crate::time::Moment;

/// Entries that are counted at the start: a few milliseconds' worth.
const COUNTED: u64 = 50_000;
/// Name for all interfaces that are no more: what they dropped stays counted.
const GONE: &str = "(gone)";

impl Xdp {
    pub(super) fn read_verdict(&self, address: IpAddr, now: Moment) -> Result<Verdict, EnforceError> {
        let maps = self.datapath.maps();
        let now = now.boot_nanoseconds();
        let mut found: Vec<(Target, Entry)> = Vec::new();
        let allowed_by = match canonical(address) {
            IpAddr::V4(v4) => {
                let address = v4.octets();
                self.find(address, &mut found)?;
                self.find_prefixes(32, |length| Cidr4 { length, address }, &mut found)?;
                allowed(&maps.allow4, Cidr4 { length: 32, address }, v4.into())?
            }
            IpAddr::V6(v6) => {
                let address = v6.octets();
                self.find(address, &mut found)?;
                self.find(network64(v6), &mut found)?;
                self.find_prefixes(128, |length| Cidr6 { length, address }, &mut found)?;
                allowed(&maps.allow6, Cidr6 { length: 128, address }, v6.into())?
            }
        };
        found.sort_by_key(|(target, _)| std::cmp::Reverse(target.length()));
        let marked = match canonical(address) {
            address @ IpAddr::V4(_) => maps.bits4.is_marked(address),
            address @ IpAddr::V6(_) => maps.bits6.is_marked(address),
        };
        let banned = marked && found.iter().any(|(_, entry)| now < entry.deadline);
        let attachments = self.datapath.attachments();
        let covered =
            !attachments.is_empty() && attachments.iter().all(|one| one.index == 0 || one.mode != "none");
        Ok(Verdict {
            dropped: banned && allowed_by.is_none() && covered && self.datapath.enforces(),
            entries: found.into_iter().map(|(target, entry)| live(target, entry, now)).collect(),
            allowed_by,
        })
    }

    pub(super) fn read_live(&self, now: Moment) -> Result<Vec<LiveEntry>, EnforceError> {
        let mut live = Vec::new();
        self.read_table::<[u8; 4]>(now, &mut live)?;
        self.read_table::<[u8; 16]>(now, &mut live)?;
        self.read_table::<[u8; 8]>(now, &mut live)?;
        self.read_table::<Cidr4>(now, &mut live)?;
        self.read_table::<Cidr6>(now, &mut live)?;
        Ok(live)
    }

    fn read_table<K: Key>(&self, now: Moment, all: &mut Vec<LiveEntry>) -> Result<(), EnforceError> {
        let now = now.boot_nanoseconds();
        let table = K::table(self.datapath.maps());
        table.for_each((K::EMPTY, K::Value::default()), |key, value| {
            all.extend(key.entry(value).map(|entry| live(key.target(), entry, now)));
        })?;
        Ok(())
    }

    fn find<K: Key>(&self, key: K, found: &mut Vec<(Target, Entry)>) -> Result<(), EnforceError> {
        let value = K::table(self.datapath.maps()).get(&key, K::Value::default())?;
        found.extend(value.and_then(|value| key.entry(&value)).map(|entry| (key.target(), entry)));
        Ok(())
    }

    /// Every prefix that covers an address, asked for by length as the program does.
    fn find_prefixes<K: Key>(
        &self,
        longest: u32,
        key: impl Fn(u32) -> K,
        found: &mut Vec<(Target, Entry)>,
    ) -> Result<(), EnforceError> {
        for length in (0..=longest).rev() {
            let key = key(length);
            let Some(value) = K::table(self.datapath.maps()).get(&key, K::Value::default())? else { break };
            found.extend(key.entry(&value).map(|entry| (key.target(), entry)));
        }
        Ok(())
    }

    pub(super) fn read_status(&self) -> EnforcerStatus {
        let interfaces = self.datapath.attachments().iter().map(|one| InterfaceStatus {
            name: one.name.clone(),
            index: one.index,
            mode: one.mode.into(),
            reason: one.reason.clone(),
        });
        let maps = self.datapath.maps();
        let sizes = [
            (maps.hosts4.name(), maps.hosts4.capacity()),
            (maps.hosts6.name(), maps.hosts6.capacity()),
            (maps.nets6.name(), maps.nets6.capacity()),
            (maps.prefixes4.name(), maps.prefixes4.capacity()),
            (maps.prefixes6.name(), maps.prefixes6.capacity()),
        ];
        let maps = sizes.into_iter().zip(self.entries).map(|((name, capacity), entries)| MapStatus {
            name: name.into(),
            entries: entries.unwrap_or_default(),
            capacity: capacity.into(),
        });
        EnforcerStatus {
            backend: Backend::Xdp.name().into(),
            reason: String::new(),
            interfaces: interfaces.collect(),
            maps: maps.collect(),
        }
    }

    pub(super) fn read_counters(&self) -> Result<Counters, EnforceError> {
        let maps = self.datapath.maps();
        let mut counters = Counters::default();
        for reason in Reason::ALL {
            let tally = maps.reasons.total(&(reason as u32))?;
            counters.reasons.push((reason.name().into(), tally.packets, tally.bytes));
        }
        let interfaces = links::list()?;
        let mut drops = BTreeMap::new();
        for key in maps.drops.keys(DropKey { ifindex: 0, reason: 0 })? {
            let tally = maps.drops.total(&key)?;
            let name = interfaces.iter().find(|one| one.index == key.ifindex).map(|one| one.name.clone());
            let reason = Reason::ALL.get(key.reason as usize).map_or("unknown", |reason| reason.name());
            let name = name.unwrap_or_else(|| GONE.into());
            let sum: &mut (u64, u64) = drops.entry((name, reason)).or_default();
            *sum = (sum.0 + tally.packets, sum.1 + tally.bytes);
        }
        let drop =
            |((name, reason), (packets, bytes)): ((String, &str), _)| (name, reason.into(), packets, bytes);
        counters.drops = drops.into_iter().map(drop).collect();
        Ok(counters)
    }
}

/// The allowance that covers an address. The value of an allow trie is the length of its prefix.
fn allowed<K: aya::Pod>(
    trie: &Table<K, u32>,
    key: K,
    address: IpAddr,
) -> Result<Option<Target>, EnforceError> {
    let length = trie.get(&key, 0)?;
    Ok(length.map(|length| Target::prefix(address, length as u8).unwrap_or(Target::host(address))))
}

/// An entry as people and a start see it, at a time in nanoseconds since boot.
pub(super) fn live(target: Target, entry: Entry, now: u64) -> LiveEntry {
    LiveEntry {
        target,
        id: entry.id,
        seconds_left: (entry.deadline != FOREVER)
            .then(|| entry.deadline.saturating_sub(now).div_ceil(1_000_000_000)),
        packets: Some(entry.packets),
        bytes: Some(entry.bytes),
    }
}

/// Entries in each map of bans. A map larger than [`COUNTED`] is not counted unless it is empty: that would hold up a
/// start.
pub(super) fn sizes(maps: &Maps) -> Result<[Option<u64>; PLACES], EnforceError> {
    Ok([
        size_if_small(&maps.hosts4)?,
        size_if_small(&maps.hosts6)?,
        size_if_small(&maps.nets6)?,
        size_if_small(&maps.prefixes4)?,
        size_if_small(&maps.prefixes6)?,
    ])
}

fn size_if_small<K: Key>(table: &Table<K, K::Value>) -> Result<Option<u64>, EnforceError> {
    let mut scan = Scan::new((K::EMPTY, K::Value::default()));
    let mut count = 0;
    while table.scan(&mut scan, |keys, _| count += keys.len() as u64)? {
        if count > COUNTED {
            return Ok(None);
        }
    }
    Ok(Some(count))
}

/// Entries in a map.
pub(super) fn size<K: Key>(table: &Table<K, K::Value>) -> Result<u64, EnforceError> {
    let mut count = 0;
    table.for_each((K::EMPTY, K::Value::default()), |_, _| count += 1)?;
    Ok(count)
}
