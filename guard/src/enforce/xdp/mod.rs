//! Enforcement by the XDP program.

mod compare;
mod key;
mod read;
mod room;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use guard_common::{Cidr4, Cidr6, Entry};

use self::compare::Round;
use self::key::{Key, PLACES, Place, deadline};
use super::{
    Backend, Change, Counters, Desired, Drift, EnforceError, Enforcer, EnforcerStatus, LiveEntry, Unknown,
    Verdict,
};
use crate::config::Interfaces;
use crate::datapath::{Bits, Datapath, DatapathError, Options};
use crate::target::Target;
use crate::time::Moment;

/// Share of its capacity above which a hash map grows, in percent. Fuller ones have long chains.
const FULL_PERCENT: u64 = 90;
/// A full comparison may take this part of the time.
const COMPARE_SHARE: u32 = 200;
/// How often attachments are looked at during a comparison.
const ATTACH_PAUSE: Duration = Duration::from_millis(100);

/// How the XDP enforcer is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpOptions {
    /// Folder on bpffs for the pins.
    pub bpffs: PathBuf,
    /// Which interfaces are covered.
    pub interfaces: Interfaces,
    /// Host entries the maps hold from the start; they grow on demand.
    pub capacity: u32,
    /// Count what would be dropped, and pass it.
    pub observe: bool,
}

/// Bans in XDP maps. What is pinned goes on when this is dropped.
#[derive(Debug)]
pub struct Xdp {
    datapath: Datapath,
    /// Entries in each map of bans, at least as many as there are; `None` for a large map that was taken over, until it
    /// is compared.
    entries: [Option<u64>; PLACES],
    /// Whether there were bans in the maps that were taken over.
    taken_over: bool,
    /// Whether entries were handed over as unknown, which the caller may not have kept.
    handed_over: bool,
    /// The comparison under way.
    round: Option<Round>,
    /// What comparisons have put right that no reconciliation has told of.
    drift: Drift,
    /// When the maps are next compared with the ban table as a whole.
    compare_at: Option<Instant>,
    /// When attachments are looked at again while a comparison is under way.
    attach_at: Instant,
}

impl Xdp {
    /// Takes over what is pinned, or sets it up, and attaches to the interfaces.
    pub fn open(options: XdpOptions) -> Result<Self, EnforceError> {
        let XdpOptions { bpffs, interfaces, capacity, observe } = options;
        Self::with(Datapath::open(Options { bpffs, interfaces, capacity, enforce: !observe, object: None })?)
    }

    /// The same over a kernel side that is open already.
    pub fn with(datapath: Datapath) -> Result<Self, EnforceError> {
        let entries = read::sizes(datapath.maps())?;
        let mut xdp = Self {
            datapath,
            entries,
            taken_over: entries.iter().any(|entries| *entries != Some(0)),
            handed_over: false,
            round: None,
            drift: Drift::default(),
            compare_at: None,
            attach_at: Instant::now(),
        };
        xdp.datapath.attach()?;
        Ok(xdp)
    }

    /// The kernel side.
    pub fn datapath(&self) -> &Datapath {
        &self.datapath
    }

    /// Applies changes of one kind, which are independent of each other.
    fn apply_run(&mut self, run: &[Change]) -> Result<(), EnforceError> {
        let mut pending = Pending::default();
        let mut allow = Vec::new();
        for change in run {
            match *change {
                Change::Ban { target, id, until } => {
                    let entry = Entry { deadline: deadline(until), id: id.0, ..Entry::default() };
                    pending.push(target, entry);
                }
                Change::Unban(target) => pending.push(target, Entry::default()),
                Change::Allow(target) | Change::Disallow(target) => allow.push(target),
            }
        }
        match run.first() {
            Some(Change::Ban { .. }) => self.put_pending(&pending),
            Some(Change::Unban(_)) => self.take_pending(&pending),
            Some(Change::Allow(_)) => self.allow(&allow),
            Some(Change::Disallow(_)) => self.disallow(&allow),
            None => Ok(()),
        }
    }

    fn put_pending(&mut self, pending: &Pending) -> Result<(), EnforceError> {
        self.put(&pending.hosts4, 0)?;
        self.put(&pending.hosts6, 1)?;
        self.put(&pending.nets6, 2)?;
        self.put(&pending.prefixes4, 3)?;
        self.put(&pending.prefixes6, 4)
    }

    /// Writes bans that are not in the maps. About `to_come` more will follow, likely into the same maps in the same
    /// shares, so that these need not grow again.
    fn put_absent(&mut self, pending: &Pending, to_come: u64) -> Result<(), EnforceError> {
        let to_come = to_come * 1024 / (pending.len() as u64).max(1);
        self.put_new(&pending.hosts4, 0, to_come)?;
        self.put_new(&pending.hosts6, 1, to_come)?;
        self.put_new(&pending.nets6, 2, to_come)?;
        self.put_new(&pending.prefixes4, 3, to_come)?;
        self.put_new(&pending.prefixes6, 4, to_come)
    }

    fn take_pending(&mut self, pending: &Pending) -> Result<(), EnforceError> {
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
        self.make_bits_room::<K>(keys + keys * to_come / 1024)?;
        let elements: Vec<_> = wanted.iter().map(|(key, entry)| (*key, key.value(*entry))).collect();
        self.write(&elements, place, new)
    }

    /// Writes elements, of which `new` are new, with their bits before them.
    fn write<K: Key>(
        &mut self,
        elements: &[(K, K::Value)],
        place: usize,
        new: u64,
    ) -> Result<(), EnforceError> {
        let bits = K::bits(self.datapath.maps());
        elements.iter().for_each(|(key, _)| bits.mark(key.target()));
        match K::table(self.datapath.maps()).set_all(elements) {
            Err(DatapathError::Full { .. }) if self.entries[place].is_none() => {
                let table = K::table(self.datapath.maps());
                self.entries[place] = Some(read::size::<K>(table)?);
                self.make_room::<K>(place, new, 0)?;
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
        let mut added = Vec::new();
        let mut elements = Vec::with_capacity(wanted.len());
        for (key, entry) in wanted {
            let mut entry = *entry;
            let target = key.target();
            let present = if bits.is_marked(target.address()) {
                table.get(key, K::Value::default())?.and_then(|value| key.entry(&value))
            } else {
                None
            };
            match present {
                Some(Entry { packets, bytes, .. }) => (entry.packets, entry.bytes) = (packets, bytes),
                None => added.push(target),
            }
            elements.push((*key, key.value(entry)));
        }
        let new = added.len() as u64;
        self.make_room::<K>(place, new, 0)?;
        self.make_bits_room::<K>(added.iter().map(|target| Bits::keys(*target)).sum())?;
        self.write(&elements, place, new)?;
        if let Some(round) = &mut self.round {
            added.iter().for_each(|target| round.put(*target, place));
        }
        Ok(())
    }

    fn take<K: Key>(&mut self, unwanted: &[(K, Entry)], place: usize) -> Result<(), EnforceError> {
        if unwanted.is_empty() {
            return Ok(());
        }
        let keys: Vec<K> = unwanted.iter().map(|(key, _)| *key).collect();
        let removed = K::table(self.datapath.maps()).remove_all(&keys)?;
        if let Some(entries) = &mut self.entries[place] {
            *entries = entries.saturating_sub(removed);
        }
        Ok(())
    }

    /// Grows a hash map that would become too full with `new` entries and those `to_come`; tries are not preallocated.
    fn make_room<K: Key>(&mut self, place: usize, new: u64, to_come: u64) -> Result<(), EnforceError> {
        let table = K::table(self.datapath.maps());
        let (name, capacity) = (table.name(), u64::from(table.capacity()));
        let is_hash = size_of::<K::Value>() == size_of::<Entry>();
        if !is_hash || new == 0 {
            return Ok(());
        }
        // A map that is not counted yet says itself when it is full.
        let Some(present) = self.entries[place] else { return Ok(()) };
        if (present + new) * 100 <= capacity * FULL_PERCENT {
            return Ok(());
        }
        let wanted = ((present + new + to_come) * 100 / FULL_PERCENT + 1).max(capacity * 2);
        let wanted = u32::try_from(wanted.next_power_of_two()).unwrap_or(1 << 31);
        tracing::info!(map = name, capacity, wanted, "growing");
        // The larger map has an order of its own.
        self.round = None;
        Ok(self.datapath.grow(name, wanted)?)
    }

    fn allow(&self, targets: &[Target]) -> Result<(), EnforceError> {
        let (v4, v6) = cidrs(targets);
        let maps = self.datapath.maps();
        maps.allow4.set_all(&v4.iter().map(|key| (*key, key.length)).collect::<Vec<_>>())?;
        maps.allow6.set_all(&v6.iter().map(|key| (*key, key.length)).collect::<Vec<_>>())?;
        Ok(())
    }

    fn disallow(&self, targets: &[Target]) -> Result<(), EnforceError> {
        let (v4, v6) = cidrs(targets);
        self.datapath.maps().allow4.remove_all(&v4)?;
        self.datapath.maps().allow6.remove_all(&v6)?;
        Ok(())
    }
}

impl Enforcer for Xdp {
    fn backend(&self) -> Backend {
        Backend::Xdp
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), EnforceError> {
        let same = |a: &Change, b: &Change| std::mem::discriminant(a) == std::mem::discriminant(b);
        let done = changes.chunk_by(same).try_for_each(|run| self.apply_run(run));
        if done.is_err() {
            // What was written is unknown: the next reconciliation looks at everything.
            (self.compare_at, self.round) = (None, None);
        }
        done
    }

    /// Maps that were taken over hold nearly all of it: [`Self::unknown`] finds what is missing, and reads them once
    /// instead of asking for each ban.
    fn restore(&mut self, bans: &[Change], to_come: u64) -> Result<(), EnforceError> {
        if self.taken_over {
            return Ok(());
        }
        let mut absent = Pending::default();
        for change in bans {
            if let Change::Ban { target, id, until } = *change {
                absent.push(target, Entry { deadline: deadline(until), id: id.0, ..Entry::default() });
            }
        }
        self.put_absent(&absent, to_come)
    }

    fn reconcile(&mut self, desired: Desired<'_>) -> Result<Drift, EnforceError> {
        loop {
            if let Some(drift) = self.reconcile_part(desired)? {
                return Ok(drift);
            }
        }
    }

    /// Attachments, pins and switches each time. The maps as a whole at first, after an error, and then as often as
    /// keeps the cost at half a percent of the time: each time with thousands of bans, about once a minute with a
    /// million.
    fn reconcile_part(&mut self, desired: Desired<'_>) -> Result<Option<Drift>, EnforceError> {
        let started = Instant::now();
        if self.round.is_none() || started >= self.attach_at {
            self.drift.attachments += self.datapath.attach()?;
            self.attach_at = started + ATTACH_PAUSE;
        }
        if self.round.is_some() || self.compare_at.is_none_or(|at| started >= at) {
            self.compare_at = None;
            let Some(took) = self.compare_part(desired, None)? else { return Ok(None) };
            self.compare_at = Some(started + took * COMPARE_SHARE);
        }
        Ok(Some(std::mem::take(&mut self.drift)))
    }

    fn live(&mut self) -> Result<Vec<LiveEntry>, EnforceError> {
        self.read_live(Moment::now())
    }

    /// This is a comparison as [`Self::reconcile_part`] makes it, only that what is foreign is handed over.
    fn unknown(&mut self, desired: Desired<'_>) -> Result<Unknown, EnforceError> {
        let mut entries = Vec::new();
        let took = self.compare_part(desired, Some(&mut entries))?;
        self.handed_over |= !entries.is_empty();
        if let Some(took) = took {
            // What the caller does not keep is foreign to the next comparison.
            let is_settled = !std::mem::take(&mut self.handed_over);
            self.compare_at = is_settled.then(|| Instant::now() + took * COMPARE_SHARE);
        }
        Ok(Unknown { entries, more: took.is_none() })
    }

    fn check(&mut self, address: IpAddr, now: Moment) -> Result<Verdict, EnforceError> {
        self.read_verdict(address, now)
    }

    fn status(&mut self) -> EnforcerStatus {
        self.read_status()
    }

    fn counters(&mut self) -> Result<Counters, EnforceError> {
        self.read_counters()
    }

    fn remove(&mut self) -> Result<(), EnforceError> {
        Ok(self.datapath.remove()?)
    }
}

/// Keys by map.
#[derive(Default)]
struct Pending {
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

    fn push(&mut self, target: Target, entry: Entry) {
        match Place::of(target) {
            Place::Host4(key) => self.hosts4.push((key, entry)),
            Place::Host6(key) => self.hosts6.push((key, entry)),
            Place::Net6(key) => self.nets6.push((key, entry)),
            Place::Prefix4(key) => self.prefixes4.push((key, entry)),
            Place::Prefix6(key) => self.prefixes6.push((key, entry)),
        }
    }
}

/// Targets as keys of the allow tries, which hold hosts too.
fn cidrs(targets: &[Target]) -> (Vec<Cidr4>, Vec<Cidr6>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for target in targets {
        let length = u32::from(target.length());
        match target.address() {
            IpAddr::V4(address) => v4.push(Cidr4 { length, address: address.octets() }),
            IpAddr::V6(address) => v6.push(Cidr6 { length, address: address.octets() }),
        }
    }
    (v4, v6)
}

impl From<DatapathError> for EnforceError {
    fn from(error: DatapathError) -> Self {
        match error {
            DatapathError::System { operation, source } => Self::Transient { operation, source },
            DatapathError::Permission { operation, hint } => Self::Permission { operation, hint },
            DatapathError::Full { map } => Self::Transient {
                operation: format!("writing map {map}"),
                source: std::io::Error::from_raw_os_error(libc::E2BIG),
            },
            other => Self::Unavailable { backend: Backend::Xdp.name(), reason: other.to_string() },
        }
    }
}
