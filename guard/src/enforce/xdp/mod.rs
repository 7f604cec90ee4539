//! Enforcement by the XDP program.

mod compare;
mod key;
mod read;
mod room;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use guard_common::{Cidr4, Cidr6, Entry};

use self::key::{Key, PLACES, Place, deadline};
use super::{
    Backend, Change, Counters, Desired, Drift, EnforceError, Enforcer, EnforcerStatus, LiveEntry, Verdict,
};
use crate::config::Interfaces;
use crate::datapath::{Bits, Datapath, DatapathError, Options};
use crate::target::Target;
use crate::time::Moment;

/// Share of its capacity above which a hash map grows, in percent. Fuller ones have long chains.
const FULL_PERCENT: u64 = 90;
/// A full comparison may take this part of the time.
const COMPARE_SHARE: u32 = 200;

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
    /// Entries in each map of bans; at least as many as there are.
    entries: [u64; PLACES],
    /// When the maps are next compared with the ban table as a whole.
    compare_at: Option<Instant>,
}

impl Xdp {
    /// Takes over what is pinned, or sets it up, and attaches to the interfaces.
    pub fn open(options: XdpOptions) -> Result<Self, EnforceError> {
        let XdpOptions { bpffs, interfaces, capacity, observe } = options;
        Self::with(Datapath::open(Options { bpffs, interfaces, capacity, enforce: !observe, object: None })?)
    }

    /// The same over a kernel side that is open already.
    pub fn with(datapath: Datapath) -> Result<Self, EnforceError> {
        let mut xdp = Self { datapath, entries: [0; PLACES], compare_at: None };
        xdp.count_entries()?;
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

    fn take_pending(&mut self, pending: &Pending) -> Result<(), EnforceError> {
        self.take(&pending.hosts4, 0)?;
        self.take(&pending.hosts6, 1)?;
        self.take(&pending.nets6, 2)?;
        self.take(&pending.prefixes4, 3)?;
        self.take(&pending.prefixes6, 4)
    }

    /// Writes bans. Those that are there already keep their counters; a clear bit tells, without a look-up, that one
    /// is not.
    fn put<K: Key>(&mut self, wanted: &[(K, Entry)], place: usize) -> Result<(), EnforceError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let maps = self.datapath.maps();
        let (table, bits) = (K::table(maps), K::bits(maps));
        let (mut new, mut keys) = (0, 0);
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
                keys += Bits::keys(target);
            }
            elements.push((*key, key.value(entry)));
        }
        self.make_room::<K>(place, new)?;
        self.make_bits_room::<K>(keys)?;
        let maps = self.datapath.maps();
        for (key, _) in &elements {
            K::bits(maps).mark(key.target());
        }
        K::table(maps).set_all(&elements)?;
        self.entries[place] += new;
        Ok(())
    }

    fn take<K: Key>(&mut self, unwanted: &[(K, Entry)], place: usize) -> Result<(), EnforceError> {
        if unwanted.is_empty() {
            return Ok(());
        }
        let keys: Vec<K> = unwanted.iter().map(|(key, _)| *key).collect();
        let removed = K::table(self.datapath.maps()).remove_all(&keys)?;
        self.entries[place] = self.entries[place].saturating_sub(removed);
        Ok(())
    }

    /// Grows a hash map that would become too full; tries are not preallocated.
    fn make_room<K: Key>(&mut self, place: usize, new: u64) -> Result<(), EnforceError> {
        let table = K::table(self.datapath.maps());
        let (name, capacity) = (table.name(), u64::from(table.capacity()));
        let needed = self.entries[place] + new;
        let is_hash = size_of::<K::Value>() == size_of::<Entry>();
        if !is_hash || needed * 100 <= capacity * FULL_PERCENT {
            return Ok(());
        }
        let wanted = (needed * 100 / FULL_PERCENT + 1).max(capacity * 2).next_power_of_two();
        let wanted = u32::try_from(wanted).unwrap_or(1 << 31);
        tracing::info!(map = name, capacity, wanted, "growing");
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
            self.compare_at = None;
        }
        done
    }

    /// Attachments, pins and switches each time. The maps as a whole at first, after an error, and then as often as
    /// keeps the cost at half a percent of the time: each time with thousands of bans, about once a minute with a
    /// million.
    fn reconcile(&mut self, desired: Desired<'_>) -> Result<Drift, EnforceError> {
        let attachments = self.datapath.attach()?;
        let started = Instant::now();
        if self.compare_at.is_some_and(|at| started < at) {
            return Ok(Drift { attachments, ..Drift::default() });
        }
        self.compare_at = None;
        let drift = self.compare(desired)?;
        let took: Duration = started.elapsed();
        self.compare_at = Some(started + took * COMPARE_SHARE);
        Ok(Drift { attachments, ..drift })
    }

    fn live(&mut self) -> Result<Vec<LiveEntry>, EnforceError> {
        self.read_live(Moment::now())
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
