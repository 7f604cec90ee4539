//! A model of the kernel: what it holds is what was applied, and it judges deadlines itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use guard::ban::BanId;
use guard::enforce::{Change, Desired, LiveEntry};
use guard::target::{Target, canonical};
use guard::time::Moment;

use crate::chance::Chance;

/// The kernel's maps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) bans: BTreeMap<Target, Entry>,
    pub(crate) allowed: BTreeSet<Target>,
    /// How many bans have each length of prefix.
    lengths: BTreeMap<u8, usize>,
    /// Until when it refuses changes.
    pub(crate) refuses_until: i64,
}

/// A ban as the kernel holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: BanId,
    pub(crate) until: Option<Moment>,
}

/// A batch was refused, perhaps after a part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused;

impl Kernel {
    /// Applies changes in order. One that refuses may have taken a part, as maps do that have no transactions.
    pub(crate) fn apply(&mut self, changes: &[Change], now: i64, chance: &mut Chance) -> Result<(), Refused> {
        if now < self.refuses_until {
            let part = chance.below(changes.len() as u64 + 1) as usize;
            // Whole or in part: nft takes all or nothing, a batch of map updates stops where it fails.
            if chance.one_in(2) {
                self.take(&changes[..part]);
            }
            return Err(Refused);
        }
        self.take(changes);
        Ok(())
    }

    /// Applies changes that nothing hinders.
    pub(crate) fn take(&mut self, changes: &[Change]) {
        for change in changes {
            match *change {
                Change::Ban { target, id, until } => self.put(target, Entry { id, until }),
                Change::Unban(target) => self.remove(target),
                Change::Allow(target) => drop(self.allowed.insert(target)),
                Change::Disallow(target) => drop(self.allowed.remove(&target)),
            }
        }
    }

    /// Takes back what the store gives at a start. What is there already stays as it is.
    pub(crate) fn restore(&mut self, bans: &[Change], now: i64) -> Result<(), Refused> {
        if now < self.refuses_until {
            return Err(Refused);
        }
        for change in bans {
            if let Change::Ban { target, id, until } = *change
                && !self.bans.contains_key(&target)
            {
                self.put(target, Entry { id, until });
            }
        }
        Ok(())
    }

    /// Makes it equal to what is desired. Answers how many entries differed.
    pub(crate) fn reconcile(&mut self, desired: Desired<'_>, now: i64) -> Result<usize, Refused> {
        if now < self.refuses_until {
            return Err(Refused);
        }
        self.allowed = desired.allowed.iter().copied().collect();
        let wanted: BTreeMap<Target, Entry> =
            desired.bans.iter().map(|ban| (ban.target, Entry { id: ban.id, until: ban.until })).collect();
        let differ = wanted.iter().filter(|(target, entry)| self.bans.get(target) != Some(entry)).count()
            + self.bans.keys().filter(|target| !wanted.contains_key(target)).count();
        self.lengths = BTreeMap::new();
        for target in wanted.keys() {
            *self.lengths.entry(target.length()).or_default() += 1;
        }
        self.bans = wanted;
        Ok(differ)
    }

    /// What it holds and the table does not, or for longer: what a start adopts.
    pub(crate) fn unknown(&self, desired: Desired<'_>, now: i64) -> Result<Vec<LiveEntry>, Refused> {
        if now < self.refuses_until {
            return Err(Refused);
        }
        let live = self.bans.iter().map(|(target, entry)| LiveEntry {
            target: *target,
            id: entry.id.0,
            seconds_left: entry.until.map(|until| until.since(desired.now).as_millis().div_ceil(1000) as u64),
            packets: None,
            bytes: None,
        });
        let is_unknown = |entry: &LiveEntry| {
            desired.bans.get(entry.target).is_none_or(|ban| entry.outlasts(ban.until, desired.now))
        };
        Ok(live.filter(is_unknown).collect())
    }

    /// Whether packets from an address are dropped.
    pub(crate) fn drops(&self, address: IpAddr, now: Moment) -> bool {
        let address = canonical(address);
        let covers = |length: &u8| {
            let target = Target::prefix(address, *length)?;
            target.covers(address).then_some(target)
        };
        let holds = |target: Target| {
            self.bans.get(&target).is_some_and(|entry| entry.until.is_none_or(|until| until > now))
        };
        let width = if address.is_ipv4() { 32 } else { 128 };
        let lengths = self.lengths.keys().filter(|length| **length <= width);
        lengths.filter_map(covers).any(holds) && !self.allowed.iter().any(|target| target.covers(address))
    }

    /// Somebody else takes entries out, or the machine boots.
    pub(crate) fn lose(&mut self, keep: impl Fn(&Target) -> bool) {
        let gone: Vec<Target> = self.bans.keys().filter(|target| !keep(target)).copied().collect();
        for target in gone {
            self.remove(target);
        }
        self.allowed.retain(keep);
    }

    fn put(&mut self, target: Target, entry: Entry) {
        if self.bans.insert(target, entry).is_none() {
            *self.lengths.entry(target.length()).or_default() += 1;
        }
    }

    fn remove(&mut self, target: Target) {
        if self.bans.remove(&target).is_some()
            && let Some(count) = self.lengths.get_mut(&target.length())
        {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&target.length());
            }
        }
    }
}
