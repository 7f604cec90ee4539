//! Comparing the live maps with the ban table, and putting right what differs, a few milliseconds at a time.
//!
//! A round reads the maps, part by part: what is found is marked in the table, what nobody wants goes, what differs is
//! written anew. Then it walks over the table: what was not found is missing. Between the parts bans come and go; maps
//! and table change together then, so whatever a later part finds is judged by what is wanted at that time.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::{Duration, Instant};

use guard_common::{Cidr4, Cidr6, Entry};

use super::key::{Key, PLACES, Place, deadline};
use super::read::live;
use super::write::Pending;
use super::{Xdp, cidrs};
use crate::ban::{BanTable, Walk};
use crate::datapath::{FreshBits, Scan, Table};
use crate::enforce::{Desired, Drift, EnforceError, Held, LiveEntry};
use crate::target::Target;

/// How long a part takes, as nearly as whole calls allow.
const PART: Duration = Duration::from_millis(2);
/// Bans of the table looked at between two looks at the clock.
const STEP: usize = 1024;
/// Entries whose bans in the table are brought near at once.
const AHEAD: usize = 64;
/// Deadlines this close are one: a stored end is read back through two clocks, each a millisecond coarse.
const ROUNDING: u64 = 10_000_000;

/// A comparison that has begun.
#[derive(Debug)]
pub(super) struct Round {
    stage: Stage,
    /// Entries by map.
    found: [u64; PLACES],
    /// Time used so far.
    spent: Duration,
}

/// What is looked at next.
#[derive(Debug)]
enum Stage {
    Allowed,
    Hosts4(Scan<[u8; 4], Entry>),
    Hosts6(Scan<[u8; 16], Entry>),
    Nets6(Scan<[u8; 8], Entry>),
    Prefixes4(Scan<Cidr4, <Cidr4 as Key>::Value>),
    Prefixes6(Scan<Cidr6, <Cidr6 as Key>::Value>),
    Table(OverTable),
}

/// The walk over the table, and the bits of what it has met.
#[derive(Debug)]
struct OverTable {
    walk: Walk,
    /// Missing bans still to come, at most.
    missing: u64,
    bits4: FreshBits,
    bits6: FreshBits,
}

impl Round {
    fn begin(bans: &BanTable) -> Self {
        bans.begin_meeting();
        Self { stage: Stage::Allowed, found: [0; PLACES], spent: Duration::ZERO }
    }

    /// A ban was written. Whether it is new to the map or not, the walk over the table may be past its place already.
    pub(super) fn put(&mut self, target: Target, place: usize, is_new: bool) {
        self.found[place] += u64::from(is_new);
        if let Stage::Table(over) = &self.stage {
            let bits = if target.address().is_ipv4() { &over.bits4 } else { &over.bits6 };
            bits.mark(target);
        }
    }
}

impl Xdp {
    /// Goes on with the round, or begins one. The time the whole round took once it is over. After an error the next
    /// call begins anew.
    ///
    /// With `unknown`, entries the table does not have, or not for as long, are put there instead of being removed or
    /// written anew.
    pub(super) fn compare_part(
        &mut self,
        desired: Desired<'_>,
        mut unknown: Option<&mut Vec<LiveEntry>>,
    ) -> Result<Option<Duration>, EnforceError> {
        let started = Instant::now();
        if self.held == Held::Unread {
            self.held = Held::BeingRead;
        }
        let mut round = self.round.take().unwrap_or_else(|| Round::begin(desired.bans));
        loop {
            let over = self.advance(&mut round, desired, unknown.as_deref_mut())?;
            let spent = started.elapsed();
            if over {
                desired.bans.end_meeting();
                self.entries = round.found.map(Some);
                self.held = Held::Known;
                return Ok(Some(round.spent + spent));
            }
            if spent >= PART {
                round.spent += spent;
                self.round = Some(round);
                return Ok(None);
            }
        }
    }

    /// One step; whether it was the last.
    fn advance(
        &mut self,
        round: &mut Round,
        desired: Desired<'_>,
        unknown: Option<&mut Vec<LiveEntry>>,
    ) -> Result<bool, EnforceError> {
        let Round { stage, found, .. } = round;
        match stage {
            // The allowlist first, so that nothing allowed is dropped meanwhile.
            Stage::Allowed => {
                let drift = self.compare_allowed(desired)?;
                self.drift.add(&drift);
                *stage = Stage::Hosts4(scan());
            }
            Stage::Hosts4(part) => {
                if self.compare_entries(part, &mut found[0], desired, unknown)? {
                    *stage = Stage::Hosts6(scan());
                }
            }
            Stage::Hosts6(part) => {
                if self.compare_entries(part, &mut found[1], desired, unknown)? {
                    *stage = Stage::Nets6(scan());
                }
            }
            Stage::Nets6(part) => {
                if self.compare_entries(part, &mut found[2], desired, unknown)? {
                    *stage = Stage::Prefixes4(scan());
                }
            }
            Stage::Prefixes4(part) => {
                if self.compare_entries(part, &mut found[3], desired, unknown)? {
                    *stage = Stage::Prefixes6(scan());
                }
            }
            Stage::Prefixes6(part) => {
                if self.compare_entries(part, &mut found[4], desired, unknown)? {
                    *stage = Stage::Table(self.over_table(desired.bans, found));
                }
            }
            Stage::Table(over) => {
                let hands_over = self.handed_over || unknown.is_some_and(|unknown| !unknown.is_empty());
                return self.compare_bans(over, found, desired, hands_over);
            }
        }
        Ok(false)
    }

    /// Looks at the next entries of a map: removes what nobody wants, or hands it over, and writes anew what differs.
    /// Whether that was the end of the map.
    fn compare_entries<K: Key>(
        &mut self,
        scan: &mut Scan<K, K::Value>,
        found: &mut u64,
        desired: Desired<'_>,
        mut unknown: Option<&mut Vec<LiveEntry>>,
    ) -> Result<bool, EnforceError> {
        let now = desired.now.boot_nanoseconds();
        let (mut foreign, mut repairs) = (Vec::new(), Vec::new());
        let table = K::table(self.datapath.maps());
        let mut look = |key: &K, value: &K::Value| {
            // A prefix whose value tells another length than its key would end the program's search too early.
            let entry = key.entry(value);
            let target = key.target();
            match (desired.bans.meet(target), entry, &mut unknown) {
                (Some(ban), entry, unknown) => {
                    *found += 1;
                    let wanted =
                        Entry { deadline: deadline(ban.until), id: ban.id.0, ..entry.unwrap_or_default() };
                    if entry.is_some_and(|entry| is_as_wanted(entry, wanted)) {
                        return;
                    }
                    let entry = entry.map(|entry| live(target, entry, now));
                    match (entry.filter(|entry| entry.outlasts(ban.until, desired.now)), unknown) {
                        (Some(entry), Some(unknown)) => unknown.push(entry),
                        _ => repairs.push((*key, key.value(wanted))),
                    }
                }
                (None, Some(entry), Some(unknown)) => unknown.push(live(target, entry, now)),
                (None, ..) => foreign.push(*key),
            }
        };
        let more = table.scan(scan, |keys, values| {
            for (keys, values) in keys.chunks(AHEAD).zip(values.chunks(AHEAD)) {
                desired.bans.expect(keys.iter().map(|key| key.target()));
                keys.iter().zip(values).for_each(|(key, value)| look(key, value));
            }
        })?;
        self.drift.foreign += foreign.len() as u64;
        self.drift.changed += repairs.len() as u64;
        self.will_change(repairs.iter().map(|(key, _)| *key).chain(foreign.iter().copied()));
        let table = K::table(self.datapath.maps());
        table.set_all(&repairs)?;
        table.remove_all(&foreign)?;
        Ok(!more)
    }

    fn over_table(&self, bans: &BanTable, found: &mut [u64; PLACES]) -> OverTable {
        let missing = (bans.len() as u64).saturating_sub(found.iter().sum());
        // Counted anew from the table.
        *found = [0; PLACES];
        let maps = self.datapath.maps();
        OverTable { walk: bans.walk(), missing, bits4: maps.bits4.fresh(), bits6: maps.bits6.fresh() }
    }

    /// Looks at the next bans of the table and writes those that are missing. Whether these were the last; then the
    /// bitmaps are exchanged for what was met, unless the round has handed entries over: these stay in force until the
    /// next round finds whether the caller has kept them.
    fn compare_bans(
        &mut self,
        over: &mut OverTable,
        found: &mut [u64; PLACES],
        desired: Desired<'_>,
        hands_over: bool,
    ) -> Result<bool, EnforceError> {
        let OverTable { walk, missing, bits4, bits6 } = over;
        let Some(bans) = desired.bans.part(walk, STEP) else {
            if !hands_over {
                let maps = self.datapath.maps();
                maps.bits4.replace(bits4);
                maps.bits6.replace(bits6);
            }
            return Ok(true);
        };
        let mut absent = Pending::default();
        let mut count = 0;
        for (ban, is_met) in bans {
            found[Place::of(ban.target).index()] += 1;
            let bits = if ban.target.address().is_ipv4() { &*bits4 } else { &*bits6 };
            bits.mark(ban.target);
            if !is_met {
                count += 1;
                let entry = Entry { deadline: deadline(ban.until), id: ban.id.0, ..Entry::default() };
                absent.push(ban.target, entry);
            }
        }
        *missing = missing.saturating_sub(count);
        self.put_absent(&absent, *missing)?;
        self.drift.missing += count;
        Ok(false)
    }

    fn compare_allowed(&self, desired: Desired<'_>) -> Result<Drift, EnforceError> {
        let (v4, v6) = cidrs(desired.allowed);
        let maps = self.datapath.maps();
        let first = compare_trie(&maps.allow4, Cidr4::EMPTY, &v4, |key| key.length)?;
        let second = compare_trie(&maps.allow6, Cidr6::EMPTY, &v6, |key| key.length)?;
        Ok(Drift { missing: first.0 + second.0, foreign: first.1 + second.1, ..Drift::default() })
    }
}

fn scan<K: Key>() -> Scan<K, K::Value> {
    Scan::new((K::EMPTY, K::Value::default()))
}

/// Whether an entry may stay as it is.
fn is_as_wanted(entry: Entry, wanted: Entry) -> bool {
    entry == wanted || entry.id == wanted.id && entry.deadline.abs_diff(wanted.deadline) <= ROUNDING
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
