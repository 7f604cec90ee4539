//! Who decided and why, kept once for all bans that share it.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::Origin;

/// Index of a cause.
pub(super) type CauseId = u32;

/// The causes of all bans in a table.
#[derive(Debug, Default)]
pub(super) struct Causes {
    all: Vec<Cause>,
    /// Causes no ban uses, to be used again.
    free: Vec<CauseId>,
    index: HashTable<CauseId>,
    /// Every origin seen. They are few, so they stay.
    origins: Vec<(Origin, ByFamily)>,
    hasher: RandomState,
}

/// Numbers of bans by the family of their target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByFamily {
    /// IPv4 targets.
    pub ipv4: u64,
    /// IPv6 targets.
    pub ipv6: u64,
}

impl ByFamily {
    /// The count of a family.
    pub(super) const fn of(&mut self, ipv4: bool) -> &mut u64 {
        if ipv4 { &mut self.ipv4 } else { &mut self.ipv6 }
    }
}

#[derive(Debug)]
struct Cause {
    reason: Box<str>,
    origin: u32,
    bans: u32,
}

impl Causes {
    /// The cause's index; one more ban has it.
    pub(super) fn take(&mut self, origin: &Origin, reason: &str, ipv4: bool) -> CauseId {
        let origin = self.origin(origin);
        *self.origins[origin as usize].1.of(ipv4) += 1;
        let Self { all, free, index, hasher, .. } = self;
        let hash = |cause: &Cause| hasher.hash_one((&*cause.reason, cause.origin));
        let entry = index.entry(
            hasher.hash_one((reason, origin)),
            |&id| all[id as usize].origin == origin && *all[id as usize].reason == *reason,
            |&id| hash(&all[id as usize]),
        );
        match entry {
            Entry::Occupied(entry) => {
                let id = *entry.get();
                all[id as usize].bans += 1;
                id
            }
            Entry::Vacant(entry) => {
                let cause = Cause { reason: reason.into(), origin, bans: 1 };
                let id = free.pop().unwrap_or(all.len() as CauseId);
                if let Some(unused) = all.get_mut(id as usize) {
                    *unused = cause;
                } else {
                    all.push(cause);
                }
                entry.insert(id);
                id
            }
        }
    }

    /// One ban less has this cause.
    pub(super) fn give_back(&mut self, id: CauseId, ipv4: bool) {
        let Self { all, free, index, origins, hasher } = self;
        let cause = &mut all[id as usize];
        *origins[cause.origin as usize].1.of(ipv4) -= 1;
        cause.bans -= 1;
        if cause.bans == 0 {
            let hash = hasher.hash_one((&*cause.reason, cause.origin));
            if let Ok(entry) = index.find_entry(hash, |&at| at == id) {
                entry.remove();
            }
            cause.reason = Box::default();
            free.push(id);
        }
    }

    /// Who decided.
    pub(super) fn origin_of(&self, id: CauseId) -> &Origin {
        &self.origins[self.all[id as usize].origin as usize].0
    }

    /// Why.
    pub(super) fn reason_of(&self, id: CauseId) -> &str {
        &self.all[id as usize].reason
    }

    /// Numbers of bans by who decided them.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&Origin, ByFamily)> {
        self.origins.iter().map(|(origin, count)| (origin, *count))
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let texts: usize = self.all.iter().map(|cause| cause.reason.len()).sum();
        self.all.capacity() * size_of::<Cause>() + self.index.allocation_size() + texts
    }

    fn origin(&mut self, origin: &Origin) -> u32 {
        let known = self.origins.iter().position(|(known, _)| known == origin);
        known.unwrap_or_else(|| {
            self.origins.push((origin.clone(), ByFamily::default()));
            self.origins.len() - 1
        }) as u32
    }
}
